// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The noise that tells the members of an ensemble apart (spec §6.2).
#pragma once
#include "gradwind/model/layers.h"
#include "gradwind/model/matrices.h"
#include "gradwind/model/noise_source.h"
#include "gradwind/ops/checkpoint.h"
#include "gradwind/parallel/sharding.h"

namespace gradwind::model
{

struct NoiseOptions {
    double standard_deviation = 1;
    int64_t channels = 4;
    int64_t hidden = 32;
    LayerKernels kernels;
    std::optional<grid::SparseMatrix> projection; ///< from the nodes where noise is drawn to the hidden nodes
    int64_t n_hidden = 0;                         ///< hidden nodes, over all ranks of a model group
    parallel::RowSet own_nodes = {};              ///< those of this rank; the noise of all is drawn
};

/// Makes something of noise and the latent state before the processor.
class NoiseInjector : public torch::nn::Module
{
public:
    struct Result {
        at::Tensor latent; ///< what the processor gets
        at::Tensor cond;   ///< what conditions its normalisations; undefined: nothing does
    };
    /// @param latent [batch * members * n_hidden, channels]
    /// @param request  nodes and channels are set here
    [[nodiscard]] virtual Result forward(const at::Tensor& latent, NoiseRequest request, const NoiseSource* source) = 0;
    /// Columns of the condition; 0 where nothing is conditioned.
    [[nodiscard]] virtual int64_t condition_width() const = 0;
    virtual void draw(UniformStream& stream) = 0;
};

/// Noise through a perceptron, as a condition.
class NoiseConditioning : public NoiseInjector
{
public:
    explicit NoiseConditioning(NoiseOptions options);
    /// @throws InternalError without a source
    [[nodiscard]] Result forward(const at::Tensor& latent, NoiseRequest request, const NoiseSource* source) override;
    [[nodiscard]] int64_t condition_width() const override { return options_.channels; }
    void draw(UniformStream& stream) override;

private:
    NoiseOptions options_;
    std::optional<ops::Projection> projection_;
    std::shared_ptr<Mlp> noise_mlp_;
};

/// The same noise mixed into the latent state by a linear map, with nothing conditioned.
class LatentNoise : public NoiseInjector
{
public:
    LatentNoise(NoiseOptions options, int64_t latent_channels);
    [[nodiscard]] Result forward(const at::Tensor& latent, NoiseRequest request, const NoiseSource* source) override;
    [[nodiscard]] int64_t condition_width() const override { return 0; }
    void draw(UniformStream& stream) override;

private:
    std::shared_ptr<NoiseConditioning> conditioning_;
    std::shared_ptr<Linear> projection_;
};

/// The injector that a `noise_injector` section describes; null for NoOpNoiseInjector.
/// @throws ConfigError naming the key that cannot be
/// @param own_nodes hidden nodes of this rank
[[nodiscard]] std::shared_ptr<NoiseInjector> build_noise_injector(const Config& root, int64_t n_hidden,
                                                                  int64_t latent_channels,
                                                                  const parallel::RowSet& own_nodes,
                                                                  const MatrixSources& sources);

} // namespace gradwind::model
