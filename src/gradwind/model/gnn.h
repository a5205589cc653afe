// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Graph network layers: messages along edges, updates at nodes (spec §3).
#pragma once
#include "gradwind/model/components.h"

namespace gradwind::model
{

struct GnnOptions {
    int64_t channels = 0;
    int64_t edge_width = 0;   ///< columns of the edge features
    int64_t extra_layers = 0; ///< `mlp_extra_layers`
    double hidden_ratio = 1;  ///< `mlp_hidden_ratio`
    MlpKind mlp_kind = MlpKind::Mlp;
    LayerKernels kernels;
    int64_t num_chunks = 1;
    ops::Intermediates intermediates = ops::Intermediates::Recompute;
};

/// One message-passing layer: e' = edge_mlp([x_dst, x_src, e]) + e, x' = node_mlp([x, sum e']) + x (spec §3.2, §3.3).
class GnnBlock : public torch::nn::Module
{
public:
    enum class EdgeEmbedding { None, Own };
    GnnBlock(const GnnOptions& options, EdgeEmbedding embedding);

    struct Result {
        at::Tensor dst;  ///< [n_dst, channels]
        at::Tensor edge; ///< [n_edges, channels]
    };
    /// @param sources [n_src, channels], whose halo may still be on its way where the model is sharded
    /// @param e [n_edges, channels], edges sorted by destination
    [[nodiscard]] Result forward(const parallel::HaloExchange::Arrival& sources, const at::Tensor& x_dst,
                                 const at::Tensor& e, const std::vector<ops::EdgeIndex>& chunks) const;
    /// node_mlp([x, x]) + x: what an encoder does to its source nodes.
    [[nodiscard]] at::Tensor update_source(const at::Tensor& x_src) const;
    /// Edge features [n, edge_width] to [copies * n, channels]. Only with an embedding of its own.
    [[nodiscard]] at::Tensor embed_edges(const at::Tensor& features, int64_t copies) const;
    /// Whether both perceptrons go by ops::row_mlp for tensors of the type and device of `like`.
    [[nodiscard]] bool by_rows(const at::Tensor& like) const;
    void draw(UniformStream& stream);
    void draw_embedding(UniformStream& stream);

private:
    /// node_mlp([x, sums]) + x.
    [[nodiscard]] at::Tensor update_nodes(const at::Tensor& x, const at::Tensor& sums) const;
    int64_t channels_;
    std::shared_ptr<Mlp> emb_edges_;
    std::shared_ptr<Mlp> node_mlp_;
    std::shared_ptr<Mlp> edge_mlp_;
};

class GnnForwardMapper : public Mapper
{
public:
    GnnForwardMapper(const GnnOptions& options, int64_t src_width, int64_t dst_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return options_.num_chunks; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& /*nodes*/, const at::Tensor& /*like*/) const override
    {
        return {.columns = options_.channels, .layers = 1};
    }
    void draw(UniformStream& stream) override;

private:
    GnnOptions options_;
    std::shared_ptr<Mlp> emb_edges_, emb_nodes_src_, emb_nodes_dst_;
    std::shared_ptr<GnnBlock> block_;
};

class GnnBackwardMapper : public Mapper
{
public:
    GnnBackwardMapper(const GnnOptions& options, int64_t out_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return options_.num_chunks; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& /*nodes*/, const at::Tensor& /*like*/) const override
    {
        return {.columns = options_.channels, .layers = 1};
    }
    void draw(UniformStream& stream) override;

private:
    GnnOptions options_;
    std::shared_ptr<Mlp> emb_edges_, node_data_extractor_;
    std::shared_ptr<GnnBlock> block_;
};

class GnnProcessor : public Processor
{
public:
    /// @param options `num_chunks` groups of layers are recomputed at a time; it must divide `num_layers`
    GnnProcessor(const GnnOptions& options, int64_t num_layers);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) override;
    [[nodiscard]] SharedWork shared_work(const NodeSharing& /*nodes*/, const at::Tensor& /*like*/) const override
    {
        return {.columns = options_.channels, .layers = int64_t(blocks_.size())};
    }
    void draw(UniformStream& stream) override;

private:
    [[nodiscard]] std::vector<at::Tensor> run_layers(int64_t first, int64_t last, const EdgeInputs& edges,
                                                     std::vector<at::Tensor> state) const;
    GnnOptions options_;
    std::vector<std::shared_ptr<GnnBlock>> blocks_;
};

} // namespace gradwind::model
