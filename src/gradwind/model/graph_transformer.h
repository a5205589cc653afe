// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Graph transformer layers: attention along edges, then a perceptron at nodes (spec §4).
#pragma once
#include "gradwind/model/components.h"
#include "gradwind/model/head_sharing.h"

namespace gradwind::model
{

struct GraphTransformerOptions {
    int64_t channels = 0;
    int64_t attention_channels = 0; ///< `attn_channels`; a multiple of `heads`
    int64_t heads = 1;
    int64_t edge_width = 0;  ///< columns of the edge features
    double hidden_ratio = 4; ///< `mlp_hidden_ratio`
    MlpKind mlp_kind = MlpKind::Mlp;
    enum class QkNorm { None, PerHead } qk_norm = QkNorm::None;
    enum class EdgePreMlp { None, Layer } edge_pre_mlp = EdgePreMlp::None;
    ShardStrategy shard_strategy = ShardStrategy::Edges;
    LayerKernels kernels;
    int64_t num_chunks = 1;
    ops::Intermediates intermediates = ops::Intermediates::Recompute;

    /// What `layers` layers exchange: normalised rows before they become keys and values, or by heads these, queries
    /// and results.
    [[nodiscard]] SharedWork shared_work(int64_t layers, const NodeSharing& nodes, ops::Intermediates mode) const
    {
        if (shard_strategy == ShardStrategy::Heads)
            return work_by_heads(heads, attention_channels, layers, nodes, mode);
        return {.columns = channels, .layers = layers};
    }
};

/// One layer: y = projection(attention + lin_self) + x, x' = node_dst_mlp(LN(y)) + y (spec §4.2, §4.3).
///
/// What attention sees of the nodes is normalised: `normalise_sources` and `normalise_destinations`, one module for
/// both in a processor. Normalised rows are what other processes send before they become keys and values.
class GraphTransformerBlock : public torch::nn::Module
{
public:
    /// Whether sources and destinations are one node set (a processor) or two (a mapper).
    enum class Nodes { OneSet, TwoSets };
    GraphTransformerBlock(const GraphTransformerOptions& options, Nodes nodes);

    /// @param x [n, channels] @param cond what conditions the normalisation; undefined where nothing does
    [[nodiscard]] at::Tensor normalise_sources(const at::Tensor& x, const at::Tensor& cond = {}) const;
    [[nodiscard]] at::Tensor normalise_destinations(const at::Tensor& x, const at::Tensor& cond = {}) const;

    /// What attention takes of the destinations; it needs no sources, so they may still be on their way.
    struct Queries {
        at::Tensor query; ///< [n_dst, heads, depth]
        at::Tensor self;  ///< [n_dst, attention channels]
    };
    /// @param destinations [n_dst, channels], normalised
    [[nodiscard]] Queries queries(const at::Tensor& destinations) const;

    /// @param sources      [n_src, channels], normalised
    /// @param queries      of the destinations
    /// @param x            [n_dst, channels], the destinations before their normalisation
    /// @param features     [n_edges, edge_width]
    /// @param heads        where ranks share by heads: nodes are this rank's then, edges and features all there are;
    ///                     null where this process has all heads
    /// @param cond         of the destinations, for the normalisation before the perceptron
    /// @return [n_dst, channels]
    [[nodiscard]] at::Tensor forward(const at::Tensor& sources, const Queries& queries, const at::Tensor& x,
                                     const at::Tensor& features, const ops::EdgeIndex& edges,
                                     const HeadSharing::Exchanges* heads, const at::Tensor& cond = {}) const;
    /// Whether so little is kept for tensors like this one that a layer need not be computed again in backward.
    [[nodiscard]] bool by_rows(const at::Tensor& like) const { return node_dst_mlp_->by_rows(like); }
    void draw(UniformStream& stream);
    /// The parameters of normalise_sources, and all others.
    [[nodiscard]] std::vector<at::Tensor> source_parameters() const { return norm_sources_->parameters(); }
    [[nodiscard]] std::vector<at::Tensor> other_parameters() const;

private:
    [[nodiscard]] at::Tensor edge_features(const at::Tensor& features) const;
    [[nodiscard]] at::Tensor by_heads(const at::Tensor& x) const;
    [[nodiscard]] at::Tensor attend(const at::Tensor& sources, const Queries& queries, const at::Tensor& features,
                                    const ops::EdgeIndex& edges, const HeadSharing::Exchanges* heads) const;
    int64_t heads_;
    LayerKernels kernels_;
    std::shared_ptr<Linear> lin_key_, lin_query_, lin_value_, lin_self_, lin_edge_, projection_, edge_pre_;
    std::shared_ptr<LayerNorm> q_norm_, k_norm_;
    std::shared_ptr<Norm> norm_sources_, norm_destinations_, norm_mlp_;
    std::shared_ptr<Mlp> node_dst_mlp_;
};

/// Edges cut by destinations, made once for each index that comes along.
class DestinationSlices
{
public:
    explicit DestinationSlices(int64_t n_slices) : n_slices_(n_slices) {}
    [[nodiscard]] const std::vector<ops::DestinationSlice>& of(const ops::EdgeIndex& edges);

private:
    int64_t n_slices_;
    std::vector<std::pair<ops::EdgeIndex, std::vector<ops::DestinationSlice>>> known_;
};

class GraphTransformerForwardMapper : public Mapper
{
public:
    GraphTransformerForwardMapper(const GraphTransformerOptions& options, int64_t src_width, int64_t dst_width);
    /// Result::src are the source rows as they came.
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    /// Destinations are cut into `num_chunks` ranges here; the edges come whole.
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    GraphTransformerOptions options_;
    DestinationSlices slices_;
    HeadSharing heads_;
    std::shared_ptr<GraphTransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_, emb_nodes_src_;
};

class GraphTransformerBackwardMapper : public Mapper
{
public:
    /// @param src_width columns of the latent, which are embedded where they are not `channels`
    GraphTransformerBackwardMapper(const GraphTransformerOptions& options, int64_t src_width, int64_t dst_width,
                                   int64_t out_width, OutputWeights output_weights);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    GraphTransformerOptions options_;
    OutputWeights output_weights_;
    DestinationSlices slices_;
    HeadSharing heads_;
    std::shared_ptr<GraphTransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_, emb_nodes_src_, extract_; ///< emb_nodes_src_ may be null
    std::shared_ptr<LayerNorm> extract_norm_;
};

class GraphTransformerProcessor : public Processor
{
public:
    /// @param options `num_chunks` groups of layers are recomputed at a time; it must divide `num_layers`
    GraphTransformerProcessor(const GraphTransformerOptions& options, int64_t num_layers);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) override;
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& like) const override;
    void draw(UniformStream& stream) override;

private:
    /// @param state latent, edge features and, where there is one, the condition
    [[nodiscard]] std::vector<at::Tensor> run_layers(int64_t first, int64_t last, const EdgeInputs& edges,
                                                     const std::shared_ptr<const HeadSharing::Exchanges>& heads,
                                                     std::vector<at::Tensor> state) const;
    GraphTransformerOptions options_;
    HeadSharing heads_;
    std::vector<std::shared_ptr<GraphTransformerBlock>> blocks_;
};

} // namespace gradwind::model
