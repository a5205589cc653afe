// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a network's output is added to (spec §2.4).
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/model/matrices.h"
#include "gradwind/model/shared_projection.h"
#include "gradwind/parallel/sharding.h"

#include <ATen/core/Tensor.h>

#include <memory>

namespace gradwind::model
{

/// Made of the network's input; prognostic columns of the output are added to those of its result.
class Residual
{
public:
    virtual ~Residual() = default;
    /// @param x [batch, n_step_input, ensemble, n_nodes, n_input], of the nodes that this rank owns
    /// @return [batch, 1, ensemble, n_nodes, n_input], the same for every output step
    /// @collective where it needs nodes of other ranks: forward, and backward where x needs a gradient
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x) = 0;
};

/// One of the input steps.
class SkipConnection : public Residual
{
public:
    /// @param step counts from the end if negative
    explicit SkipConnection(int64_t step) : step_(step) {}
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) override;

private:
    int64_t step_;
};

/// The last input step, taken to a coarse grid and back. Each point of the coarse grid is worked out by the rank that
/// owns most of the nodes that it is made of.
class TruncatedConnection : public Residual
{
public:
    /// @param group, nodes  the processes that share the model, and who owns which data nodes
    TruncatedConnection(const grid::SparseMatrix& down, const grid::SparseMatrix& up, const parallel::Group& group,
                        const parallel::Partition& nodes);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x) override;

private:
    SharedProjection down_, up_;
};

/// @param section of the residual; nothing: the last input step
/// @param group, nodes  the processes that share the model, and who owns which data nodes
/// @throws ConfigError naming the key that cannot be
[[nodiscard]] std::unique_ptr<Residual> build_residual(const std::optional<Config>& section, int64_t n_step_input,
                                                       const parallel::Group& group, const parallel::Partition& nodes,
                                                       const MatrixSources& sources);

/// The exchanges of such a residual, one after the other: its fields with all their input columns, in their type, and
/// backward the gradients of those that are predictions. None for one that is local.
[[nodiscard]] std::vector<parallel::HaloCount> residual_exchanges(const std::optional<Config>& section,
                                                                  const parallel::Partition& nodes,
                                                                  const MatrixSources& sources);

} // namespace gradwind::model
