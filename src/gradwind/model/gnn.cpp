// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/gnn.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/segment.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

using TensorList = std::vector<at::Tensor>;
using At = ops::RowMlpOperand::At;

enum class Hidden { Scaled, AsChannels };

MlpOptions mlp_options(const GnnOptions& options, int64_t in, int64_t out, Hidden hidden,
                       MlpOptions::Norm norm = MlpOptions::Norm::Last)
{
    const auto scaled = int64_t(double(options.channels) * options.hidden_ratio + 0.5);
    return {.in = in,
            .hidden = hidden == Hidden::Scaled ? scaled : options.channels,
            .out = out,
            .extra_layers = options.extra_layers + 1,
            .kind = options.mlp_kind,
            .norm = norm,
            .kernels = options.kernels};
}

at::Tensor embed(const Mlp& mlp, const at::Tensor& features, int64_t copies)
{
    // Every copy has the same edges, so they are embedded once.
    const auto e = mlp.forward(features);
    return copies == 1 ? e : e.repeat({copies, 1});
}

std::shared_ptr<Mlp> edge_embedding(const GnnOptions& options)
{
    return std::make_shared<Mlp>(mlp_options(options, options.edge_width, options.channels, Hidden::Scaled));
}

/// Perceptrons by rows keep so little that there is nothing to gain from computing whole layers again.
ops::Intermediates intermediates(const GnnOptions& options, const GnnBlock& block, const at::Tensor& like)
{
    return block.by_rows(like) ? ops::Intermediates::Keep : options.intermediates;
}

} // namespace

GnnBlock::GnnBlock(const GnnOptions& options, EdgeEmbedding embedding) : channels_(options.channels)
{
    const auto c = channels_;
    if (embedding == EdgeEmbedding::Own)
        emb_edges_ = register_module("emb_edges", edge_embedding(options));
    node_mlp_ = register_module("node_mlp", std::make_shared<Mlp>(mlp_options(options, 2 * c, c, Hidden::Scaled)));
    const auto conv = register_module("conv", std::make_shared<Group>());
    edge_mlp_ =
        conv->register_module("edge_mlp", std::make_shared<Mlp>(mlp_options(options, 3 * c, c, Hidden::AsChannels)));
}

GnnBlock::Result GnnBlock::forward(const parallel::HaloExchange::Arrival& sources, const at::Tensor& x_dst,
                                   const at::Tensor& e, const std::vector<ops::EdgeIndex>& chunks) const
{
    const bool by_rows = edge_mlp_->by_rows(e);
    const auto x_src = sources.rows();
    if (!by_rows)
        sources.finish();
    // The first product is that of the destinations, which needs no halo.
    const auto arrive = sources.is_identity() ? std::function<void()>() : [&sources] { sources.finish(); };
    at::Tensor sums;
    std::vector<at::Tensor> updated;
    int64_t begin = 0;
    const auto add = [&](const at::Tensor& rows, const at::Tensor& partial) {
        updated.push_back(rows);
        sums = sums.defined() ? sums + partial : partial;
    };
    for (const auto& edges : chunks) {
        const auto own = e.narrow(0, begin, edges.n_edges());
        begin += edges.n_edges();
        if (by_rows) {
            const auto message =
                ops::row_mlp(edge_mlp_->row_weights(), {{x_dst, At::Destination}, {x_src, At::Source}, {own}},
                             {.edges = &edges,
                              .residual = 2,
                              .sums = ops::RowMlpOptions::Sums::AtDestination,
                              .before_sources = arrive});
            add(message.rows, message.sums);
            continue;
        }
        const auto message = edge_mlp_->forward_split(
            {{x_dst, 0, [&](const at::Tensor& rows) { return ops::gather_destination(rows, edges); }},
             {x_src, channels_, [&](const at::Tensor& rows) { return ops::gather_source(rows, edges); }},
             {own, 2 * channels_}});
        const auto rows = message + own;
        add(rows, ops::sum_at_destination(rows, edges));
    }
    return {update_nodes(x_dst, sums), updated.size() == 1 ? updated.front() : at::cat(updated)};
}

bool GnnBlock::by_rows(const at::Tensor& like) const
{
    return edge_mlp_->by_rows(like) && node_mlp_->by_rows(like);
}

at::Tensor GnnBlock::update_nodes(const at::Tensor& x, const at::Tensor& sums) const
{
    if (node_mlp_->by_rows(x))
        return ops::row_mlp(node_mlp_->row_weights(), {{x}, {sums}}, {.residual = 0}).rows;
    return node_mlp_->forward_split({{x, 0}, {sums, channels_}}) + x;
}

at::Tensor GnnBlock::update_source(const at::Tensor& x_src) const
{
    return update_nodes(x_src, x_src);
}

at::Tensor GnnBlock::embed_edges(const at::Tensor& features, int64_t copies) const
{
    GRADWIND_ASSERT(emb_edges_ != nullptr);
    return embed(*emb_edges_, features, copies);
}

void GnnBlock::draw(UniformStream& stream)
{
    node_mlp_->draw(stream);
    edge_mlp_->draw(stream);
}

void GnnBlock::draw_embedding(UniformStream& stream)
{
    emb_edges_->draw(stream);
}

GnnForwardMapper::GnnForwardMapper(const GnnOptions& options, int64_t src_width, int64_t dst_width) : options_(options)
{
    const auto c = options.channels;
    emb_edges_ = register_module("emb_edges", edge_embedding(options));
    block_ = register_module("proc", std::make_shared<GnnBlock>(options, GnnBlock::EdgeEmbedding::None));
    emb_nodes_src_ =
        register_module("emb_nodes_src", std::make_shared<Mlp>(mlp_options(options, src_width, c, Hidden::Scaled)));
    emb_nodes_dst_ =
        register_module("emb_nodes_dst", std::make_shared<Mlp>(mlp_options(options, dst_width, c, Hidden::Scaled)));
}

Mapper::Result GnnForwardMapper::forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges)
{
    const auto mode = intermediates(options_, *block_, dst);
    const auto run = [this, own = edges.for_region(mode)](const TensorList& inputs) -> TensorList {
        own.sources.begin_run();
        const auto arrival = own.sources.start(emb_nodes_src_->forward(inputs[0]));
        // What needs no halo, while it travels.
        const auto e = embed(*emb_edges_, inputs[2], own.copies);
        const auto x_dst = emb_nodes_dst_->forward(inputs[1]);
        const auto updated = block_->update_source(arrival.own());
        return {updated, block_->forward(arrival, x_dst, e, own.chunks).dst};
    };
    const auto out = ops::region(mode, run, {src, dst, edges.features}, parameters());
    return {out[0], out[1]};
}

void GnnForwardMapper::draw(UniformStream& stream)
{
    emb_edges_->draw(stream);
    block_->draw(stream);
    emb_nodes_src_->draw(stream);
    emb_nodes_dst_->draw(stream);
}

GnnBackwardMapper::GnnBackwardMapper(const GnnOptions& options, int64_t out_width) : options_(options)
{
    emb_edges_ = register_module("emb_edges", edge_embedding(options));
    block_ = register_module("proc", std::make_shared<GnnBlock>(options, GnnBlock::EdgeEmbedding::None));
    node_data_extractor_ = register_module("node_data_extractor",
                                           std::make_shared<Mlp>(mlp_options(options, options.channels, out_width,
                                                                             Hidden::Scaled, MlpOptions::Norm::None)));
}

Mapper::Result GnnBackwardMapper::forward(const at::Tensor& src, const at::Tensor& dst, const EdgeInputs& edges)
{
    const auto mode = intermediates(options_, *block_, dst);
    const auto run = [this, own = edges.for_region(mode)](const TensorList& inputs) -> TensorList {
        own.sources.begin_run();
        const auto arrival = own.sources.start(inputs[0]);
        const auto e = embed(*emb_edges_, inputs[2], own.copies);
        return {node_data_extractor_->forward(block_->forward(arrival, inputs[1], e, own.chunks).dst)};
    };
    const auto out = ops::region(mode, run, {src, dst, edges.features}, parameters());
    return {{}, out[0]};
}

void GnnBackwardMapper::draw(UniformStream& stream)
{
    emb_edges_->draw(stream);
    block_->draw(stream);
    // The original takes initialise_data_extractor_zero here without effect.
    node_data_extractor_->draw(stream);
}

GnnProcessor::GnnProcessor(const GnnOptions& options, int64_t num_layers) : options_(options)
{
    const auto layers = register_module("proc", std::make_shared<Group>());
    for (int64_t i = 0; i < num_layers; ++i) {
        const auto embedding = i == 0 ? GnnBlock::EdgeEmbedding::Own : GnnBlock::EdgeEmbedding::None;
        blocks_.push_back(layers->register_module(std::to_string(i), std::make_shared<GnnBlock>(options, embedding)));
    }
}

at::Tensor GnnProcessor::forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& /*cond*/)
{
    TensorList state = {x, edges.features};
    const auto n_layers = int64_t(blocks_.size());
    if (intermediates(options_, *blocks_.front(), x) == ops::Intermediates::Keep)
        return run_layers(0, n_layers, edges, state)[0];
    const auto per_group = n_layers / options_.num_chunks;
    for (int64_t first = 0; first < n_layers; first += per_group) {
        TensorList parameters;
        for (int64_t i = first; i < first + per_group; ++i)
            for (const auto& parameter : blocks_[size_t(i)]->parameters())
                parameters.push_back(parameter);
        constexpr auto mode = ops::Intermediates::Recompute;
        const auto run = [this, first, per_group, own = edges.for_region(mode)](const TensorList& in) {
            own.sources.begin_run();
            return run_layers(first, first + per_group, own, in);
        };
        state = ops::region(mode, run, state, parameters);
    }
    return state[0];
}

std::vector<at::Tensor> GnnProcessor::run_layers(int64_t first, int64_t last, const EdgeInputs& edges,
                                                 TensorList state) const
{
    // A layer is a region of its own in either mode: its gradients are ready when its backward ends, and sums of
    // gradients have the same order with and without recomputation.
    for (int64_t i = first; i < last; ++i) {
        const auto run = [block = blocks_[size_t(i)], i, edges](const TensorList& in) -> TensorList {
            const auto arrival = edges.sources.start(in[0]);
            const auto edge = i == 0 ? block->embed_edges(in[1], edges.copies) : in[1];
            const auto next = block->forward(arrival, arrival.own(), edge, edges.chunks);
            return {next.dst, next.edge};
        };
        state = ops::region(ops::Intermediates::Keep, run, state, blocks_[size_t(i)]->parameters());
    }
    return state;
}

void GnnProcessor::draw(UniformStream& stream)
{
    // The original makes all layers alike and then layer 0 once more with its edge embedding; the draws of the first
    // layer 0 are lost.
    for (const auto& block : blocks_)
        block->draw(stream);
    blocks_[0]->draw_embedding(stream);
    blocks_[0]->draw(stream);
}

} // namespace gradwind::model
