// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Layers that work on every node by itself: no edges, and the hidden nodes may be the data nodes.
#pragma once
#include "gradwind/model/components.h"

namespace gradwind::model
{

struct PointWiseOptions {
    int64_t channels = 0;
    int64_t hidden = 0; ///< width inside a block; a block of the network's width has no second map
    LayerKernels kernels;
    int64_t num_chunks = 1;
    ops::Intermediates intermediates = ops::Intermediates::Recompute;
};

/// activation(norm(x W^T + b)), and a map back to the network's width where the block has another. No residual.
class PointWiseBlock : public torch::nn::Module
{
public:
    explicit PointWiseBlock(const PointWiseOptions& options);
    /// @param x [rows, channels] @param cond of the norm; undefined without @return as x
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const at::Tensor& cond) const;
    void draw(UniformStream& stream);

private:
    ops::Activation activation_;
    std::shared_ptr<Linear> in_, out_;
    std::shared_ptr<Norm> norm_;
};

class PointWiseProcessor : public Processor
{
public:
    /// @param options `num_chunks` groups of layers are recomputed at a time; it must divide `num_layers`
    PointWiseProcessor(const PointWiseOptions& options, int64_t num_layers);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) override;
    /// Nodes do not see each other.
    [[nodiscard]] SharedWork shared_work(const NodeSharing& /*nodes*/, const at::Tensor& /*like*/) const override
    {
        return {};
    }
    void draw(UniformStream& stream) override;

private:
    PointWiseOptions options_;
    std::vector<std::shared_ptr<PointWiseBlock>> blocks_;
};

/// One linear map from data to latent, node by node.
class PointWiseForwardMapper : public Mapper
{
public:
    PointWiseForwardMapper(int64_t src_width, int64_t channels);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    /// Nodes do not see each other. @throws ConfigError unless each process owns the same rows of both node sets
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    std::shared_ptr<Linear> emb_nodes_src_;
};

/// Normalisation and a linear map from latent to output columns, node by node.
class PointWiseBackwardMapper : public Mapper
{
public:
    PointWiseBackwardMapper(const PointWiseOptions& options, int64_t out_width, OutputWeights output_weights);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    /// Nodes do not see each other. @throws ConfigError unless each process owns the same rows of both node sets
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    OutputWeights output_weights_;
    std::shared_ptr<DataExtractor> node_data_extractor_;
};

} // namespace gradwind::model
