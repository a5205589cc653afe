// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/graph_transformer.h"
#include "gradwind/ops/edge_attention.h"
#include "gradwind/ops/linear.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

/// Two maps of the same rows, [rows, channels] each.
std::vector<at::Tensor> both(const Linear& first, const Linear& second, const at::Tensor& x)
{
    return ops::linear(x, {{first.weight, first.bias}, {second.weight, second.bias}});
}

} // namespace

GraphTransformerBlock::GraphTransformerBlock(const GraphTransformerOptions& options, Nodes nodes)
    : heads_(options.heads), kernels_(options.kernels)
{
    const auto c = options.channels, a = options.attention_channels;
    const auto linear = [this](const char* name, int64_t in, int64_t out) {
        return register_module(name, std::make_shared<Linear>(in, out));
    };
    const auto norm = [&](const char* name) { return register_module(name, make_norm(options.kernels, c)); };
    lin_key_ = linear("lin_key", c, a);
    lin_query_ = linear("lin_query", c, a);
    lin_value_ = linear("lin_value", c, a);
    lin_self_ = linear("lin_self", c, a);
    lin_edge_ = linear("lin_edge", options.edge_width, a);
    projection_ = linear("projection", a, c);
    if (options.qk_norm == GraphTransformerOptions::QkNorm::PerHead) {
        const auto of_heads = [&](const LayerKernels::NormForm& form) {
            return std::make_shared<LayerNorm>(a / heads_, form);
        };
        q_norm_ = register_module("q_norm", of_heads(options.kernels.query_norm));
        k_norm_ = register_module("k_norm", of_heads(options.kernels.key_norm));
    }
    norm_destinations_ = norm("layer_norm_attention");
    norm_sources_ = nodes == Nodes::TwoSets ? norm("layer_norm_attention_src") : norm_destinations_;
    norm_mlp_ = norm("layer_norm_mlp_dst");
    node_dst_mlp_ = register_module(
        "node_dst_mlp", std::make_shared<Mlp>(MlpOptions{.in = c,
                                                         .hidden = int64_t(double(c) * options.hidden_ratio + 0.5),
                                                         .out = c,
                                                         .extra_layers = 0,
                                                         .kind = options.mlp_kind,
                                                         .norm = MlpOptions::Norm::None,
                                                         .kernels = options.kernels}));
    if (options.edge_pre_mlp == GraphTransformerOptions::EdgePreMlp::Layer)
        edge_pre_ = register_module("edge_pre_mlp", std::make_shared<Group>())
                        ->register_module("0", std::make_shared<Linear>(options.edge_width, options.edge_width));
}

at::Tensor GraphTransformerBlock::normalise_sources(const at::Tensor& x, const at::Tensor& cond) const
{
    return norm_sources_->forward(x, cond);
}

at::Tensor GraphTransformerBlock::normalise_destinations(const at::Tensor& x, const at::Tensor& cond) const
{
    return norm_destinations_->forward(x, cond);
}

at::Tensor GraphTransformerBlock::edge_features(const at::Tensor& features) const
{
    return edge_pre_ ? ops::activate(edge_pre_->forward(features), kernels_.activation) : features;
}

at::Tensor GraphTransformerBlock::by_heads(const at::Tensor& x) const
{
    return x.view({x.size(0), heads_, x.size(1) / heads_});
}

GraphTransformerBlock::Queries GraphTransformerBlock::queries(const at::Tensor& destinations) const
{
    const auto of_destinations = both(*lin_query_, *lin_self_, destinations);
    const auto query = by_heads(of_destinations[0]);
    return {q_norm_ ? q_norm_->forward(query) : query, of_destinations[1]};
}

at::Tensor GraphTransformerBlock::attend(const at::Tensor& sources, const Queries& queries, const at::Tensor& features,
                                         const ops::EdgeIndex& edges, const HeadSharing::Exchanges* heads) const
{
    const auto of_sources = both(*lin_key_, *lin_value_, sources);
    const auto& q = queries.query;
    auto k = by_heads(of_sources[0]);
    if (k_norm_)
        k = k_norm_->forward(k);
    const auto v = by_heads(of_sources[1]);
    ops::EdgeTerm term{edge_features(features), lin_edge_->weight, lin_edge_->bias};
    if (!heads)
        return ops::edge_attention(q, k, v, term, edges) + queries.self;
    const auto depth = q.size(2);
    const auto own = heads->sources.own_heads();
    const auto own_heads = [&](const at::Tensor& x) { return x.view({-1, own.size, depth}); };
    const auto of_keys = heads->sources.to_heads({k.flatten(1), v.flatten(1)});
    term.weight = term.weight.narrow(0, own.begin * depth, own.size * depth);
    term.bias = term.bias.narrow(0, own.begin * depth, own.size * depth);
    const auto sums = ops::edge_attention(own_heads(heads->destinations.to_heads(q.flatten(1))), own_heads(of_keys[0]),
                                          own_heads(of_keys[1]), term, edges);
    return heads->destinations.to_rows(sums) + queries.self;
}

at::Tensor GraphTransformerBlock::forward(const at::Tensor& sources, const Queries& queries, const at::Tensor& x,
                                          const at::Tensor& features, const ops::EdgeIndex& edges,
                                          const HeadSharing::Exchanges* heads, const at::Tensor& cond) const
{
    const auto y = projection_->forward(attend(sources, queries, features, edges, heads)) + x;
    return node_dst_mlp_->forward(norm_mlp_->forward(y, cond)) + y;
}

std::vector<at::Tensor> GraphTransformerBlock::other_parameters() const
{
    const auto apart = source_parameters();
    std::vector<at::Tensor> result;
    for (const auto& parameter : parameters())
        if (norm_sources_ == norm_destinations_ ||
            std::none_of(apart.begin(), apart.end(), [&](const auto& other) { return other.is_same(parameter); }))
            result.push_back(parameter);
    return result;
}

void GraphTransformerBlock::draw(UniformStream& stream)
{
    for (const auto& linear : {lin_key_, lin_query_, lin_value_, lin_self_, lin_edge_, projection_})
        linear->draw(stream);
    norm_destinations_->draw(stream);
    if (norm_sources_ != norm_destinations_)
        norm_sources_->draw(stream);
    norm_mlp_->draw(stream);
    for (const auto& norm : {q_norm_, k_norm_})
        if (norm)
            norm->reset();
    node_dst_mlp_->draw(stream);
    if (edge_pre_)
        edge_pre_->draw(stream);
}

} // namespace gradwind::model
