// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Transformer layers: attention between nodes in the order in which they are stored (spec §5).
#pragma once
#include "gradwind/model/components.h"
#include "gradwind/model/head_sharing.h"
#include "gradwind/model/window_sharing.h"
#include "gradwind/ops/window_attention.h"

namespace gradwind::model
{

struct TransformerOptions {
    int64_t channels = 0;
    int64_t attention_channels = 0;
    int64_t heads = 1;
    int64_t mlp_hidden = 0; ///< width inside the perceptrons
    MlpKind mlp_kind = MlpKind::Mlp;
    int64_t window = -1; ///< nodes on either side that a node sees; all if negative
    /// The original's scaled_dot_product_attention takes a window of -1 for one as wide as there are source nodes:
    /// where the destination has more nodes, its last ones do not see the first sources.
    enum class Unlimited { AllNodes, SourceCount } unlimited = Unlimited::AllNodes;
    double softcap = 0; ///< 0: none
    enum class Distance { Ignored, Alibi } distance = Distance::Ignored;
    enum class HeadNorms { None, QueryAndKey } head_norms = HeadNorms::None;
    /// How processes that share the model share the attention; with Edges, which these layers have not, by sequence
    /// where there is a window and the nodes of every process are consecutive, else by heads.
    ShardStrategy shard_strategy = ShardStrategy::Edges;
    LayerKernels kernels;
    int64_t num_chunks = 1;
    ops::Intermediates intermediates = ops::Intermediates::Recompute;

    /// Heads or Sequence. @throws ConfigError for Sequence without a window
    [[nodiscard]] ShardStrategy strategy_for(const NodeSharing& nodes) const;
    /// What `layers` layers exchange. @throws ConfigError where they cannot be shared so
    [[nodiscard]] SharedWork shared_work(int64_t layers, const NodeSharing& nodes) const;
};

/// The nodes between which attention goes in a forward pass, and what it exchanges where processes share it.
struct AttentionNodes {
    int64_t copies = 1;
    std::shared_ptr<const HeadSharing::Exchanges> heads;       ///< by heads; null: not
    std::shared_ptr<const WindowSharing::Exchange> neighbours; ///< by sequence; null: not

    /// The same for a part that ops::region runs in that mode: what it receives from neighbours in its first run serves
    /// the second. The part calls begin_run() first.
    [[nodiscard]] AttentionNodes for_region(ops::Intermediates mode) const;
    void begin_run() const;
};

/// Makes the exchanges of a part, once for every number of copies.
class AttentionSharing
{
public:
    explicit AttentionSharing(const TransformerOptions& options);
    [[nodiscard]] AttentionNodes of(const EdgeInputs& edges, at::Device device);

private:
    TransformerOptions options_;
    HeadSharing heads_;
    WindowSharing windows_;
};

/// Attention by heads: softmax(q k^T / sqrt(width)) v of linear maps without bias, and a projection (spec §5).
class NodeAttention : public torch::nn::Module
{
public:
    explicit NodeAttention(const TransformerOptions& options);
    /// @param src [copies * n_src, channels], keys and values @param dst [copies * n_dst, channels], queries
    /// @return [copies * n_dst, channels]
    [[nodiscard]] at::Tensor forward(const at::Tensor& src, const at::Tensor& dst, const AttentionNodes& nodes) const;
    void draw(UniformStream& stream);

private:
    struct Operands {
        at::Tensor q, k, v;
        enum class Sets { One, Two } sets = Sets::Two; ///< whether queries and keys are of the same nodes
    };
    /// Queries, keys and values of all rows, of this rank's heads.
    static void exchange_heads(const HeadSharing::Exchanges& heads, ops::WindowAttentionOptions& options,
                               Operands& operands);
    [[nodiscard]] at::Tensor normalise_heads(const at::Tensor& rows, const LayerNorm* norm) const;
    ops::WindowAttentionOptions attention_;
    TransformerOptions::Unlimited unlimited_;
    std::shared_ptr<Linear> lin_q_, lin_k_, lin_v_, projection_;
    std::shared_ptr<LayerNorm> q_norm_, k_norm_;
};

/// x' = x + attention(norm(x)), x'' = x' + mlp(norm(x')) within one node set. From one to another the first x is the
/// normalised destination.
class TransformerBlock : public torch::nn::Module
{
public:
    /// A mapper's block holds the norms of a processor's too, without use, as the original does.
    enum class Place { Processor, Mapper };
    TransformerBlock(const TransformerOptions& options, Place place);
    /// @param cond of the norms; undefined without @return [copies * n_dst, channels]
    [[nodiscard]] at::Tensor forward(const at::Tensor& src, const at::Tensor& dst, const AttentionNodes& nodes,
                                     const at::Tensor& cond) const;
    void draw(UniformStream& stream);

private:
    Place place_;
    std::shared_ptr<Norm> norm_attention_, norm_mlp_;         ///< of a processor's block
    std::shared_ptr<Norm> norm_src_, norm_dst_, norm_behind_; ///< of a mapper's block
    std::shared_ptr<NodeAttention> attention_;
    std::shared_ptr<Mlp> mlp_;
};

class TransformerProcessor : public Processor
{
public:
    /// @param options `num_chunks` groups of layers are recomputed at a time; it must divide `num_layers`
    TransformerProcessor(const TransformerOptions& options, int64_t num_layers);
    [[nodiscard]] at::Tensor forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond) override;
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& /*like*/) const override
    {
        return options_.shared_work(int64_t(blocks_.size()), nodes);
    }
    void draw(UniformStream& stream) override;

private:
    [[nodiscard]] at::Tensor run_layers(int64_t first, int64_t last, const AttentionNodes& nodes, const at::Tensor& x,
                                        const at::Tensor& cond) const;
    TransformerOptions options_;
    AttentionSharing sharing_;
    std::vector<std::shared_ptr<TransformerBlock>> blocks_;
};

class TransformerForwardMapper : public Mapper
{
public:
    TransformerForwardMapper(const TransformerOptions& options, int64_t src_width, int64_t dst_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& /*like*/) const override
    {
        return options_.shared_work(1, nodes);
    }
    void draw(UniformStream& stream) override;

private:
    TransformerOptions options_;
    AttentionSharing sharing_;
    std::shared_ptr<TransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_, emb_nodes_src_;
};

class TransformerBackwardMapper : public Mapper
{
public:
    TransformerBackwardMapper(const TransformerOptions& options, int64_t dst_width, int64_t out_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    [[nodiscard]] SharedWork shared_work(const NodeSharing& nodes, const at::Tensor& /*like*/) const override
    {
        return options_.shared_work(1, nodes);
    }
    void draw(UniformStream& stream) override;

private:
    TransformerOptions options_;
    AttentionSharing sharing_;
    std::shared_ptr<TransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_;
    std::shared_ptr<DataExtractor> node_data_extractor_;
};

} // namespace gradwind::model
