// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/pointwise.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::model
{

using TensorList = std::vector<at::Tensor>;

PointWiseBlock::PointWiseBlock(const PointWiseOptions& options) : activation_(options.kernels.activation)
{
    const auto layers = register_module("mlp", std::make_shared<Group>());
    in_ = layers->register_module("0", std::make_shared<Linear>(options.channels, options.hidden));
    norm_ = layers->register_module("1", make_norm(options.kernels, options.hidden));
    // The activation has place 2.
    if (options.hidden != options.channels)
        out_ = layers->register_module("3", std::make_shared<Linear>(options.hidden, options.channels));
}

at::Tensor PointWiseBlock::forward(const at::Tensor& x, const at::Tensor& cond) const
{
    const auto hidden = ops::activate(norm_->forward(in_->forward(x), cond), activation_);
    return out_ ? out_->forward(hidden) : hidden;
}

void PointWiseBlock::draw(UniformStream& stream)
{
    in_->draw(stream);
    norm_->draw(stream);
    if (out_)
        out_->draw(stream);
}

PointWiseProcessor::PointWiseProcessor(const PointWiseOptions& options, int64_t num_layers) : options_(options)
{
    const auto layers = register_module("proc", std::make_shared<Group>());
    for (int64_t i = 0; i < num_layers; ++i)
        blocks_.push_back(layers->register_module(std::to_string(i), std::make_shared<PointWiseBlock>(options)));
}

at::Tensor PointWiseProcessor::forward(const at::Tensor& x, const EdgeInputs& /*edges*/, const at::Tensor& cond)
{
    auto state = x;
    const auto n_layers = int64_t(blocks_.size()), per_group = n_layers / options_.num_chunks;
    for (int64_t first = 0; first < n_layers; first += per_group) {
        TensorList parameters, inputs = {state};
        if (cond.defined())
            inputs.push_back(cond);
        for (int64_t i = first; i < first + per_group; ++i)
            for (const auto& parameter : blocks_[size_t(i)]->parameters())
                parameters.push_back(parameter);
        const auto run = [this, first, per_group](const TensorList& in) -> TensorList {
            auto y = in[0];
            for (int64_t i = first; i < first + per_group; ++i)
                y = blocks_[size_t(i)]->forward(y, in.size() > 1 ? in[1] : at::Tensor());
            return {y};
        };
        state = ops::region(options_.intermediates, run, inputs, parameters).front();
    }
    return state;
}

void PointWiseProcessor::draw(UniformStream& stream)
{
    for (const auto& block : blocks_)
        block->draw(stream);
}

namespace
{

/// Row i of one node set becomes row i of the other.
void require_equal_rows(const NodeSharing& nodes)
{
    for (int rank = 0; rank < nodes.sources.n_parts(); ++rank)
        GRADWIND_CHECK(std::ranges::equal(nodes.sources.rows(rank), nodes.destinations.rows(rank)), ConfigError,
                       "[model] point-wise mappers need the same rows of data and hidden nodes on a process, found "
                       "others on process {} of {}; use training.strategy.partition=contiguous",
                       rank, nodes.sources.n_parts());
}

} // namespace

PointWiseForwardMapper::PointWiseForwardMapper(int64_t src_width, int64_t channels)
{
    emb_nodes_src_ = register_module("emb_nodes_src", std::make_shared<Linear>(src_width, channels));
}

Mapper::Result PointWiseForwardMapper::forward(const at::Tensor& src, const at::Tensor& /*dst*/,
                                               const EdgeInputs& /*edges*/)
{
    return {src, emb_nodes_src_->forward(src)};
}

SharedWork PointWiseForwardMapper::shared_work(const NodeSharing& nodes, const at::Tensor& /*like*/) const
{
    require_equal_rows(nodes);
    return {};
}

void PointWiseForwardMapper::draw(UniformStream& stream)
{
    emb_nodes_src_->draw(stream);
}

PointWiseBackwardMapper::PointWiseBackwardMapper(const PointWiseOptions& options, int64_t out_width,
                                                 OutputWeights output_weights)
    : output_weights_(output_weights)
{
    node_data_extractor_ = register_module(
        "node_data_extractor", std::make_shared<DataExtractor>(options.channels, out_width, options.kernels.norm));
}

Mapper::Result PointWiseBackwardMapper::forward(const at::Tensor& src, const at::Tensor& /*dst*/,
                                                const EdgeInputs& /*edges*/)
{
    return {{}, node_data_extractor_->forward(src)};
}

SharedWork PointWiseBackwardMapper::shared_work(const NodeSharing& nodes, const at::Tensor& /*like*/) const
{
    require_equal_rows(nodes);
    return {};
}

void PointWiseBackwardMapper::draw(UniformStream& stream)
{
    node_data_extractor_->draw(stream, output_weights_);
}

} // namespace gradwind::model
