// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Transformer layers: attention between nodes in the order in which they are stored (spec §5).
#pragma once
#include "gradwind/model/components.h"
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
    LayerKernels kernels;
    int64_t num_chunks = 1;
    ops::Intermediates intermediates = ops::Intermediates::Recompute;
};

/// Attention by heads: softmax(q k^T / sqrt(width)) v of linear maps without bias, and a projection (spec §5).
class NodeAttention : public torch::nn::Module
{
public:
    explicit NodeAttention(const TransformerOptions& options);
    /// @param src [copies * n_src, channels], keys and values @param dst [copies * n_dst, channels], queries
    /// @return [copies * n_dst, channels]
    [[nodiscard]] at::Tensor forward(const at::Tensor& src, const at::Tensor& dst, int64_t copies) const;
    void draw(UniformStream& stream);

private:
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
    [[nodiscard]] at::Tensor forward(const at::Tensor& src, const at::Tensor& dst, int64_t copies,
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
    void draw(UniformStream& stream) override;

private:
    [[nodiscard]] at::Tensor run_layers(int64_t first, int64_t last, int64_t copies, const at::Tensor& x,
                                        const at::Tensor& cond) const;
    TransformerOptions options_;
    std::vector<std::shared_ptr<TransformerBlock>> blocks_;
};

class TransformerForwardMapper : public Mapper
{
public:
    TransformerForwardMapper(const TransformerOptions& options, int64_t src_width, int64_t dst_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    void draw(UniformStream& stream) override;

private:
    TransformerOptions options_;
    std::shared_ptr<TransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_, emb_nodes_src_;
};

class TransformerBackwardMapper : public Mapper
{
public:
    TransformerBackwardMapper(const TransformerOptions& options, int64_t dst_width, int64_t out_width);
    [[nodiscard]] Result forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges) override;
    [[nodiscard]] int64_t num_chunks() const override { return 1; }
    void draw(UniformStream& stream) override;

private:
    TransformerOptions options_;
    std::shared_ptr<TransformerBlock> block_;
    std::shared_ptr<Linear> emb_nodes_dst_;
    std::shared_ptr<DataExtractor> node_data_extractor_;
};

} // namespace gradwind::model
