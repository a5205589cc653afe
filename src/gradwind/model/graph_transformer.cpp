// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/graph_transformer.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/segment.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

using TensorList = std::vector<at::Tensor>;
using Nodes = GraphTransformerBlock::Nodes;

/// The rows that the edges' sources are: those that were normalised here and, of a shared model, those of others.
at::Tensor source_rows(const at::Tensor& normalised, const EdgeInputs& edges)
{
    GRADWIND_ASSERT(edges.chunks.size() == 1);
    return edges.sources(normalised);
}

/// One row for every edge of every copy.
at::Tensor edge_rows(const EdgeInputs& edges)
{
    return edges.copies == 1 ? edges.features : edges.features.repeat({edges.copies, 1});
}

/// Layers whose perceptrons go by rows keep a few tensors of the nodes; computing them again gains little memory.
ops::Intermediates intermediates(const GraphTransformerOptions& options, const GraphTransformerBlock& block,
                                 const at::Tensor& like)
{
    return block.by_rows(like) ? ops::Intermediates::Keep : options.intermediates;
}

/// The same for mappers, whose data nodes are many: what they would keep decides how much of a GPU's memory a step
/// takes.
ops::Intermediates mapper_intermediates(const GraphTransformerOptions& options, const GraphTransformerBlock& block,
                                        const at::Tensor& like)
{
    return like.is_cuda() ? options.intermediates : intermediates(options, block, like);
}

TensorList joined(TensorList first, const TensorList& second)
{
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

/// The exchanges of a part that is shared by heads; null for one that is not.
std::shared_ptr<const HeadSharing::Exchanges> exchanges(const GraphTransformerOptions& options, HeadSharing& heads,
                                                        const EdgeInputs& edges, const at::Tensor& like)
{
    return options.shard_strategy == ShardStrategy::Heads ? heads.of(edges, like.device()) : nullptr;
}

/// Runs `layer(sources, dst, features, edges)` once as a region: where heads are shared every rank has all edges of its
/// own rows and of others, which cannot be cut by its destinations.
template <class Layer>
at::Tensor whole(const ops::EdgeIndex& edges, ops::Intermediates mode, const TensorList& inputs,
                 const TensorList& parameters, const Layer& layer)
{
    const auto run = [layer, edges](const TensorList& in) -> TensorList { return {layer(in[0], in[1], in[2], edges)}; };
    return ops::region(mode, run, inputs, parameters).front();
}

/// Runs `layer(sources, dst, features, edges)` for every slice of the destinations as a region of its own.
template <class Layer>
at::Tensor for_each_slice(const std::vector<ops::DestinationSlice>& slices, ops::Intermediates mode,
                          const TensorList& inputs, const TensorList& parameters, const Layer& layer)
{
    std::vector<int64_t> n_dst, n_edges;
    for (const auto& slice : slices) {
        n_dst.push_back(slice.edges.n_dst);
        n_edges.push_back(slice.edges.n_edges());
    }
    // Split once: a slice taken inside its region would have a gradient as large as all of them.
    const auto destinations = inputs[1].split_with_sizes(n_dst), features = inputs[2].split_with_sizes(n_edges);
    TensorList results;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto run = [layer, slice = slices[i]](const TensorList& in) -> TensorList {
            const auto sources = slice.src_rows.defined() ? ops::pick_rows(in[0], slice.src_rows) : in[0];
            return {layer(sources, in[1], in[2], slice.edges)};
        };
        results.push_back(ops::region(mode, run, {inputs[0], destinations[i], features[i]}, parameters).front());
    }
    return results.size() == 1 ? results.front() : at::cat(results);
}

} // namespace

const std::vector<ops::DestinationSlice>& DestinationSlices::of(const ops::EdgeIndex& edges)
{
    for (const auto& [index, slices] : known_)
        if (index.src.is_same(edges.src) && index.dst.is_same(edges.dst))
            return slices;
    return known_.emplace_back(edges, ops::slice_destinations(edges, n_slices_)).second;
}

GraphTransformerForwardMapper::GraphTransformerForwardMapper(const GraphTransformerOptions& options, int64_t src_width,
                                                             int64_t dst_width)
    : options_(options), slices_(options.num_chunks), heads_(options.heads)
{
    block_ = register_module("proc", std::make_shared<GraphTransformerBlock>(options, Nodes::TwoSets));
    emb_nodes_dst_ = register_module("emb_nodes_dst", std::make_shared<Linear>(dst_width, options.channels));
    emb_nodes_src_ = register_module("emb_nodes_src", std::make_shared<Linear>(src_width, options.channels));
}

Mapper::Result GraphTransformerForwardMapper::forward(const at::Tensor& src, const at::Tensor& dst,
                                                      const EdgeInputs& edges)
{
    const auto mode = mapper_intermediates(options_, *block_, dst);
    const auto embed_sources = [this](const TensorList& in) -> TensorList {
        return {block_->normalise_sources(emb_nodes_src_->forward(in[0]))};
    };
    const auto own =
        ops::region(mode, embed_sources, {src}, joined(emb_nodes_src_->parameters(), block_->source_parameters()));
    const auto heads = exchanges(options_, heads_, edges, dst);
    const auto layer = [this, heads](const at::Tensor& sources, const at::Tensor& rows, const at::Tensor& features,
                                     const ops::EdgeIndex& index) {
        const auto x = emb_nodes_dst_->forward(rows);
        return block_->forward(sources, block_->queries(block_->normalise_destinations(x)), x, features, index,
                               heads.get());
    };
    const auto parameters = joined(emb_nodes_dst_->parameters(), block_->other_parameters());
    const TensorList inputs = {source_rows(own.front(), edges), dst, edge_rows(edges)};
    const auto& all = edges.chunks.front();
    return {src, heads ? whole(all, mode, inputs, parameters, layer)
                       : for_each_slice(slices_.of(all), mode, inputs, parameters, layer)};
}

SharedWork GraphTransformerForwardMapper::shared_work(const NodeSharing& nodes, const at::Tensor& like) const
{
    return options_.shared_work(1, nodes, mapper_intermediates(options_, *block_, like));
}

void GraphTransformerForwardMapper::draw(UniformStream& stream)
{
    block_->draw(stream);
    emb_nodes_dst_->draw(stream);
    emb_nodes_src_->draw(stream);
}

GraphTransformerBackwardMapper::GraphTransformerBackwardMapper(const GraphTransformerOptions& options,
                                                               int64_t src_width, int64_t dst_width, int64_t out_width,
                                                               OutputWeights output_weights)
    : options_(options), output_weights_(output_weights), slices_(options.num_chunks), heads_(options.heads)
{
    block_ = register_module("proc", std::make_shared<GraphTransformerBlock>(options, Nodes::TwoSets));
    emb_nodes_dst_ = register_module("emb_nodes_dst", std::make_shared<Linear>(dst_width, options.channels));
    if (src_width != options.channels)
        emb_nodes_src_ = register_module("emb_nodes_src", std::make_shared<Linear>(src_width, options.channels));
    const auto extractor = register_module("node_data_extractor", std::make_shared<Group>());
    extract_norm_ = extractor->register_module("0", std::make_shared<LayerNorm>(options.channels, kExtractorNorm));
    extract_ = extractor->register_module("1", std::make_shared<Linear>(options.channels, out_width));
}

Mapper::Result GraphTransformerBackwardMapper::forward(const at::Tensor& src, const at::Tensor& dst,
                                                       const EdgeInputs& edges)
{
    const auto mode = mapper_intermediates(options_, *block_, dst);
    const auto normalise = [this](const TensorList& in) -> TensorList {
        return {block_->normalise_sources(emb_nodes_src_ ? emb_nodes_src_->forward(in[0]) : in[0])};
    };
    auto source_parameters = block_->source_parameters();
    if (emb_nodes_src_)
        source_parameters = joined(emb_nodes_src_->parameters(), source_parameters);
    const auto own = ops::region(mode, normalise, {src}, source_parameters);
    const auto heads = exchanges(options_, heads_, edges, dst);
    const auto layer = [this, heads](const at::Tensor& sources, const at::Tensor& rows, const at::Tensor& features,
                                     const ops::EdgeIndex& index) {
        const auto x = emb_nodes_dst_->forward(rows);
        const auto y = block_->forward(sources, block_->queries(block_->normalise_destinations(x)), x, features, index,
                                       heads.get());
        return extract_->forward(extract_norm_->forward(y));
    };
    const auto parameters = joined(joined(emb_nodes_dst_->parameters(), block_->other_parameters()),
                                   joined(extract_norm_->parameters(), extract_->parameters()));
    const TensorList inputs = {source_rows(own.front(), edges), dst, edge_rows(edges)};
    const auto& all = edges.chunks.front();
    return {{},
            heads ? whole(all, mode, inputs, parameters, layer)
                  : for_each_slice(slices_.of(all), mode, inputs, parameters, layer)};
}

SharedWork GraphTransformerBackwardMapper::shared_work(const NodeSharing& nodes, const at::Tensor& like) const
{
    return options_.shared_work(1, nodes, mapper_intermediates(options_, *block_, like));
}

void GraphTransformerBackwardMapper::draw(UniformStream& stream)
{
    block_->draw(stream);
    emb_nodes_dst_->draw(stream);
    if (emb_nodes_src_)
        emb_nodes_src_->draw(stream);
    extract_norm_->reset();
    extract_->draw(stream);
    if (output_weights_ == OutputWeights::Zero)
        extract_->set_zero();
}

GraphTransformerProcessor::GraphTransformerProcessor(const GraphTransformerOptions& options, int64_t num_layers)
    : options_(options), heads_(options.heads)
{
    const auto layers = register_module("proc", std::make_shared<Group>());
    for (int64_t i = 0; i < num_layers; ++i)
        blocks_.push_back(layers->register_module(std::to_string(i),
                                                  std::make_shared<GraphTransformerBlock>(options, Nodes::OneSet)));
}

at::Tensor GraphTransformerProcessor::forward(const at::Tensor& x, const EdgeInputs& edges, const at::Tensor& cond)
{
    // The condition is an operand of every layer, undefined or not.
    TensorList state = {x, edge_rows(edges)};
    if (cond.defined())
        state.push_back(cond);
    const auto n_layers = int64_t(blocks_.size());
    const auto heads = exchanges(options_, heads_, edges, x);
    if (intermediates(options_, *blocks_.front(), x) == ops::Intermediates::Keep)
        return run_layers(0, n_layers, edges, heads, state).front();
    const auto per_group = n_layers / options_.num_chunks;
    for (int64_t first = 0; first < n_layers; first += per_group) {
        TensorList parameters;
        for (int64_t i = first; i < first + per_group; ++i)
            parameters = joined(parameters, blocks_[size_t(i)]->parameters());
        constexpr auto mode = ops::Intermediates::Recompute;
        const auto run = [this, first, per_group, heads, own = edges.for_region(mode)](const TensorList& in) {
            own.sources.begin_run();
            return run_layers(first, first + per_group, own, heads, in);
        };
        state = ops::region(mode, run, state, parameters);
    }
    return state.front();
}

std::vector<at::Tensor>
GraphTransformerProcessor::run_layers(int64_t first, int64_t last, const EdgeInputs& edges,
                                      const std::shared_ptr<const HeadSharing::Exchanges>& heads,
                                      TensorList state) const
{
    // A layer is a region of its own in either mode: its gradients are ready when its backward ends. What all layers
    // read goes from layer to layer, so that its gradient is summed in one order with and without recomputation.
    for (int64_t i = first; i < last; ++i) {
        const auto run = [block = blocks_[size_t(i)], edges, heads](const TensorList& in) -> TensorList {
            const auto cond = in.size() > 2 ? in[2] : at::Tensor();
            const auto arrival = edges.sources.start(block->normalise_destinations(in[0], cond));
            const auto queries = block->queries(arrival.own()); // while the halo travels
            TensorList out = {
                block->forward(arrival.wait(), queries, in[0], in[1], edges.chunks.front(), heads.get(), cond)};
            for (size_t k = 1; k < in.size(); ++k)
                out.push_back(in[k].view_as(in[k]));
            return out;
        };
        state = ops::region(ops::Intermediates::Keep, run, state, blocks_[size_t(i)]->parameters());
    }
    return state;
}

SharedWork GraphTransformerProcessor::shared_work(const NodeSharing& nodes, const at::Tensor& like) const
{
    return options_.shared_work(int64_t(blocks_.size()), nodes, intermediates(options_, *blocks_.front(), like));
}

void GraphTransformerProcessor::draw(UniformStream& stream)
{
    for (const auto& block : blocks_)
        block->draw(stream);
}

} // namespace gradwind::model
