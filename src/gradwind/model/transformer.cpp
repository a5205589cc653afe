// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/transformer.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/window_plan.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

using TensorList = std::vector<at::Tensor>;

/// The inputs of a region: undefined ones are left out.
TensorList operands(const at::Tensor& x, const at::Tensor& cond)
{
    return cond.defined() ? TensorList{x, cond} : TensorList{x};
}

at::Tensor condition_of(const TensorList& inputs)
{
    return inputs.size() > 1 ? inputs[1] : at::Tensor();
}

} // namespace

ShardStrategy TransformerOptions::strategy_for(const NodeSharing& nodes) const
{
    GRADWIND_CHECK(
        shard_strategy != ShardStrategy::Sequence || window >= 0, ConfigError,
        "[model] shard_strategy=sequence needs a window_size of 0 or more: where every node sees all others, "
        "attention can be shared by heads only; use shard_strategy=heads");
    if (shard_strategy != ShardStrategy::Edges)
        return shard_strategy;
    return window >= 0 && parallel::has_ranges(nodes.destinations) ? ShardStrategy::Sequence : ShardStrategy::Heads;
}

SharedWork TransformerOptions::shared_work(int64_t layers, const NodeSharing& nodes) const
{
    if (strategy_for(nodes) == ShardStrategy::Heads)
        return work_by_heads(heads, attention_channels, layers, nodes, intermediates);
    GRADWIND_CHECK(parallel::has_ranges(nodes.destinations), ConfigError,
                   "[model] shard_strategy=sequence needs consecutive nodes on every process; use "
                   "training.strategy.partition=contiguous, or shard_strategy=heads");
    return {.strategy = ShardStrategy::Sequence, .columns = channels, .layers = layers, .window = window};
}

AttentionNodes AttentionNodes::for_region(ops::Intermediates mode) const
{
    auto result = *this;
    if (mode == ops::Intermediates::Recompute && neighbours) {
        auto own = *neighbours;
        own.sources = neighbours->sources.remembering();
        result.neighbours = std::make_shared<const WindowSharing::Exchange>(std::move(own));
    }
    return result;
}

void AttentionNodes::begin_run() const
{
    if (neighbours)
        neighbours->sources.begin_run();
}

AttentionSharing::AttentionSharing(const TransformerOptions& options)
    : options_(options), heads_(options.heads), windows_(options.window)
{
}

AttentionNodes AttentionSharing::of(const EdgeInputs& edges, at::Device device)
{
    AttentionNodes result{.copies = edges.copies, .heads = nullptr, .neighbours = nullptr};
    if (!edges.sharing)
        return result;
    if (options_.strategy_for(*edges.sharing) == ShardStrategy::Heads)
        result.heads = heads_.of(edges, device);
    else
        result.neighbours = windows_.of(edges, device);
    return result;
}

NodeAttention::NodeAttention(const TransformerOptions& options) : unlimited_(options.unlimited)
{
    GRADWIND_ASSERT(options.attention_channels % options.heads == 0);
    attention_.heads = options.heads;
    attention_.window = options.window;
    attention_.softcap = options.softcap;
    if (options.distance == TransformerOptions::Distance::Alibi)
        attention_.slopes = ops::alibi_slopes(options.heads);
    const auto c = options.channels, a = options.attention_channels;
    lin_q_ = register_module("lin_q", std::make_shared<Linear>(c, a, Bias::No));
    lin_k_ = register_module("lin_k", std::make_shared<Linear>(c, a, Bias::No));
    lin_v_ = register_module("lin_v", std::make_shared<Linear>(c, a, Bias::No));
    projection_ = register_module("projection", std::make_shared<Linear>(a, c));
    if (options.head_norms == TransformerOptions::HeadNorms::None)
        return;
    const auto norm = [&](const char* name, const LayerKernels::NormForm& form) {
        return register_module(name, std::make_shared<LayerNorm>(a / options.heads, form));
    };
    q_norm_ = norm("q_norm", options.kernels.query_norm);
    k_norm_ = norm("k_norm", options.kernels.key_norm);
}

at::Tensor NodeAttention::normalise_heads(const at::Tensor& rows, const LayerNorm* norm) const
{
    if (norm == nullptr)
        return rows;
    return norm->forward(rows.reshape({-1, rows.size(1) / attention_.heads})).reshape(rows.sizes());
}

void NodeAttention::exchange_heads(const HeadSharing::Exchanges& heads, ops::WindowAttentionOptions& options,
                                   Operands& operands)
{
    const auto own = heads.sources.own_heads();
    options.heads = own.size;
    if (!options.slopes.empty())
        options.slopes = {options.slopes.begin() + own.begin, options.slopes.begin() + own.end()};
    auto& [q, k, v, sets] = operands;
    if (sets == Operands::Sets::One) {
        const auto all = heads.sources.to_heads({q, k, v});
        q = all[0];
        k = all[1];
        v = all[2];
        return;
    }
    q = heads.destinations.to_heads(q);
    const auto of_sources = heads.sources.to_heads({k, v});
    k = of_sources[0];
    v = of_sources[1];
}

at::Tensor NodeAttention::forward(const at::Tensor& src, const at::Tensor& dst, const AttentionNodes& nodes) const
{
    auto options = attention_;
    options.copies = nodes.copies;
    Operands operands;
    auto& [q, k, v, sets] = operands;
    sets = src.is_same(dst) ? Operands::Sets::One : Operands::Sets::Two;
    auto seen = src;
    if (nodes.neighbours) {
        const auto arrival = nodes.neighbours->sources.start(src);
        q = lin_q_->forward(dst); // while rows of the neighbours travel
        seen = arrival.wait().index_select(0, nodes.neighbours->seen);
        options.query_position = nodes.neighbours->query_position;
    } else {
        q = lin_q_->forward(dst);
    }
    q = normalise_heads(q, q_norm_.get());
    k = normalise_heads(lin_k_->forward(seen), k_norm_.get());
    v = lin_v_->forward(seen);
    if (nodes.heads)
        exchange_heads(*nodes.heads, options, operands);
    if (options.window < 0 && unlimited_ == TransformerOptions::Unlimited::SourceCount)
        options.window = k.size(0) / nodes.copies;
    const auto result = ops::window_attention(q, k, v, options);
    return projection_->forward(nodes.heads ? nodes.heads->destinations.to_rows(result) : result);
}

void NodeAttention::draw(UniformStream& stream)
{
    for (const auto& linear : {lin_q_, lin_k_, lin_v_, projection_})
        linear->draw(stream);
    for (const auto& norm : {q_norm_, k_norm_})
        if (norm)
            norm->reset();
}

TransformerBlock::TransformerBlock(const TransformerOptions& options, Place place) : place_(place)
{
    const auto c = options.channels;
    const auto norm = [&](const char* name) { return register_module(name, make_norm(options.kernels, c)); };
    norm_attention_ = norm("layer_norm_attention");
    norm_mlp_ = norm("layer_norm_mlp");
    attention_ = register_module("attention", std::make_shared<NodeAttention>(options));
    mlp_ = register_module("mlp", std::make_shared<Mlp>(MlpOptions{.in = c,
                                                                   .hidden = options.mlp_hidden,
                                                                   .out = c,
                                                                   .kind = options.mlp_kind,
                                                                   .norm = MlpOptions::Norm::None,
                                                                   .kernels = options.kernels}));
    if (place == Place::Processor)
        return;
    // A mapper's block has them without use: no gradient reaches them, and the optimiser must not let them decay.
    for (const auto& unused : {norm_attention_, norm_mlp_})
        for (auto& parameter : unused->parameters())
            parameter.set_requires_grad(false);
    norm_src_ = norm("layer_norm_attention_src");
    norm_dst_ = norm("layer_norm_attention_dst");
    norm_behind_ = norm("layer_norm_mpl");
}

at::Tensor TransformerBlock::forward(const at::Tensor& src, const at::Tensor& dst, const AttentionNodes& nodes,
                                     const at::Tensor& cond) const
{
    if (place_ == Place::Processor) {
        const auto unit = norm_attention_->forward(dst, cond);
        const auto x = dst + attention_->forward(unit, unit, nodes);
        return x + mlp_->forward(norm_mlp_->forward(x, cond));
    }
    // As in the original, the normalised destination is what the attention is added to.
    const auto unit = norm_dst_->forward(dst);
    const auto x = unit + attention_->forward(norm_src_->forward(src), unit, nodes);
    return x + mlp_->forward(norm_behind_->forward(x));
}

void TransformerBlock::draw(UniformStream& stream)
{
    norm_attention_->draw(stream);
    norm_mlp_->draw(stream);
    attention_->draw(stream);
    mlp_->draw(stream);
    if (place_ == Place::Processor)
        return;
    // The original's mapper block makes its attention a second time; the draws of the first are lost.
    attention_->draw(stream);
    for (const auto& norm : {norm_src_, norm_dst_, norm_behind_})
        norm->draw(stream);
}

TransformerProcessor::TransformerProcessor(const TransformerOptions& options, int64_t num_layers)
    : options_(options), sharing_(options)
{
    const auto layers = register_module("proc", std::make_shared<Group>());
    for (int64_t i = 0; i < num_layers; ++i)
        blocks_.push_back(layers->register_module(
            std::to_string(i), std::make_shared<TransformerBlock>(options, TransformerBlock::Place::Processor)));
}

at::Tensor TransformerProcessor::forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond)
{
    const auto n_layers = int64_t(blocks_.size());
    const auto nodes = sharing_.of(edges, x.device());
    if (options_.intermediates == ops::Intermediates::Keep)
        return run_layers(0, n_layers, nodes, x, cond);
    auto state = x;
    const auto per_group = n_layers / options_.num_chunks;
    for (int64_t first = 0; first < n_layers; first += per_group) {
        TensorList parameters;
        for (int64_t i = first; i < first + per_group; ++i)
            for (const auto& parameter : blocks_[size_t(i)]->parameters())
                parameters.push_back(parameter);
        constexpr auto mode = ops::Intermediates::Recompute;
        const auto run = [this, first, per_group, own = nodes.for_region(mode)](const TensorList& in) -> TensorList {
            own.begin_run();
            return {run_layers(first, first + per_group, own, in[0], condition_of(in))};
        };
        state = ops::region(mode, run, operands(state, cond), parameters)[0];
    }
    return state;
}

at::Tensor TransformerProcessor::run_layers(int64_t first, int64_t last, const AttentionNodes& nodes,
                                            const at::Tensor& x, const at::Tensor& cond) const
{
    // A layer is a region of its own in either mode: sums of gradients have the same order with and without
    // recomputation.
    auto state = x;
    for (int64_t i = first; i < last; ++i) {
        const auto run = [block = blocks_[size_t(i)], nodes](const TensorList& in) -> TensorList {
            return {block->forward(in[0], in[0], nodes, condition_of(in))};
        };
        state =
            ops::region(ops::Intermediates::Keep, run, operands(state, cond), blocks_[size_t(i)]->parameters()).front();
    }
    return state;
}

void TransformerProcessor::draw(UniformStream& stream)
{
    for (const auto& block : blocks_)
        block->draw(stream);
}

TransformerForwardMapper::TransformerForwardMapper(const TransformerOptions& options, int64_t src_width,
                                                   int64_t dst_width)
    : options_(options), sharing_(options)
{
    block_ = register_module("proc", std::make_shared<TransformerBlock>(options, TransformerBlock::Place::Mapper));
    emb_nodes_dst_ = register_module("emb_nodes_dst", std::make_shared<Linear>(dst_width, options.channels));
    emb_nodes_src_ = register_module("emb_nodes_src", std::make_shared<Linear>(src_width, options.channels));
}

Mapper::Result TransformerForwardMapper::forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges)
{
    const auto nodes = sharing_.of(edges, dst.device()).for_region(options_.intermediates);
    const auto run = [this, nodes](const TensorList& in) -> TensorList {
        nodes.begin_run();
        return {block_->forward(emb_nodes_src_->forward(in[0]), emb_nodes_dst_->forward(in[1]), nodes, {})};
    };
    return {src, ops::region(options_.intermediates, run, {src, dst}, parameters()).front()};
}

void TransformerForwardMapper::draw(UniformStream& stream)
{
    block_->draw(stream);
    emb_nodes_dst_->draw(stream);
    emb_nodes_src_->draw(stream);
}

TransformerBackwardMapper::TransformerBackwardMapper(const TransformerOptions& options, int64_t dst_width,
                                                     int64_t out_width)
    : options_(options), sharing_(options)
{
    block_ = register_module("proc", std::make_shared<TransformerBlock>(options, TransformerBlock::Place::Mapper));
    emb_nodes_dst_ = register_module("emb_nodes_dst", std::make_shared<Linear>(dst_width, options.channels));
    node_data_extractor_ = register_module(
        "node_data_extractor", std::make_shared<DataExtractor>(options.channels, out_width, kExtractorNorm));
}

Mapper::Result TransformerBackwardMapper::forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges)
{
    const auto nodes = sharing_.of(edges, dst.device()).for_region(options_.intermediates);
    const auto run = [this, nodes](const TensorList& in) -> TensorList {
        nodes.begin_run();
        return {node_data_extractor_->forward(block_->forward(in[0], emb_nodes_dst_->forward(in[1]), nodes, {}))};
    };
    return {{}, ops::region(options_.intermediates, run, {src, dst}, parameters()).front()};
}

void TransformerBackwardMapper::draw(UniformStream& stream)
{
    block_->draw(stream);
    emb_nodes_dst_->draw(stream);
    // The original takes initialise_data_extractor_zero here without effect.
    node_data_extractor_->draw(stream, OutputWeights::Drawn);
}

} // namespace gradwind::model
