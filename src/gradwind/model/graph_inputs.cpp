// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/graph_inputs.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/model/layers.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

at::Tensor as_tensor(const std::vector<float>& values)
{
    auto out = at::empty({int64_t(values.size())}, at::kFloat);
    std::copy(values.begin(), values.end(), out.data_ptr<float>());
    return out;
}

at::Tensor sines_and_cosines(const graph::NodeSet& nodes)
{
    // By torch's functions, whose last bits are those that stored weights of the original hold.
    const auto angles = at::stack({as_tensor(nodes.lat_rad), as_tensor(nodes.lon_rad)}, 1);
    return at::cat({at::sin(angles), at::cos(angles)}, 1);
}

void zero(at::Tensor& tensor)
{
    const at::NoGradGuard no_gradients;
    if (tensor.defined())
        tensor.zero_();
}

at::Tensor sorted_attributes(const graph::EdgeSet& edges, const std::vector<std::string>& names,
                             const std::vector<int64_t>& order)
{
    std::vector<std::string> known;
    for (const auto& [name, attribute] : edges.attributes)
        known.push_back(name);
    std::vector<at::Tensor> columns;
    for (const auto& name : names) {
        const auto found = edges.attributes.find(name);
        GRADWIND_CHECK(found != edges.attributes.end(), ConfigError,
                       "[model] the edges {} -> {} have no attribute `{}`{}; list it under the edge attributes of the "
                       "graph",
                       edges.source, edges.target, name, did_you_mean(name, known));
        const auto& attribute = found->second;
        GRADWIND_CHECK(attribute.n_rows == int64_t(order.size()) &&
                           int64_t(attribute.values.size()) == attribute.n_rows * attribute.n_cols,
                       DataError, "[model] attribute `{}` of the edges {} -> {} has {} rows for {} edges", name,
                       edges.source, edges.target, attribute.n_rows, order.size());
        columns.push_back(as_tensor(attribute.values).reshape({attribute.n_rows, attribute.n_cols}));
    }
    if (columns.empty())
        return at::empty({int64_t(order.size()), 0}, at::kFloat);
    const auto permutation = at::tensor(order, at::kLong);
    return at::cat(columns, 1).index_select(0, permutation);
}

} // namespace

void NodeAttributes::add(const graph::NodeSet& nodes, int64_t n_trainable)
{
    if (!trainables_)
        trainables_ = register_module("trainable_tensors", std::make_shared<Group>());
    Entry entry;
    entry.latlons = register_buffer("latlons_" + nodes.name, sines_and_cosines(nodes));
    const auto group = std::make_shared<Group>();
    trainables_->register_module(nodes.name, group);
    if (n_trainable > 0)
        entry.trainable = group->register_parameter("trainable", at::zeros({entry.latlons.size(0), n_trainable}));
    entries_.emplace(nodes.name, std::move(entry));
}

at::Tensor NodeAttributes::forward(const std::string& name, int64_t copies) const
{
    const auto& entry = entries_.at(name);
    const auto features = entry.trainable.defined() ? at::cat({entry.latlons, entry.trainable}, 1) : entry.latlons;
    return copies == 1 ? features : features.repeat({copies, 1});
}

at::Tensor NodeAttributes::coordinates(const std::string& name) const
{
    return entries_.at(name).latlons;
}

at::Tensor NodeAttributes::trainable(const std::string& name) const
{
    return entries_.at(name).trainable;
}

int64_t NodeAttributes::width(const std::string& name) const
{
    const auto& entry = entries_.at(name);
    return 4 + (entry.trainable.defined() ? entry.trainable.size(1) : 0);
}

void NodeAttributes::reset()
{
    for (auto& [name, entry] : entries_)
        zero(entry.trainable);
}

EdgeProvider::EdgeProvider(const graph::EdgeSet& edges, int64_t n_src, int64_t n_dst,
                           const std::vector<std::string>& attributes, int64_t n_trainable)
{
    const auto order = ops::order_by_destination(edges.dst, n_dst);
    std::vector<int64_t> src, dst;
    for (const auto e : order) {
        src.push_back(edges.src[size_t(e)]);
        dst.push_back(edges.dst[size_t(e)]);
    }
    edges_ = ops::make_edge_index(src, dst, n_src, n_dst);
    attributes_ = sorted_attributes(edges, attributes, order);
    // Says that the trainable rows are in the order sorted by destination, as every release since 0.9 stores them.
    register_buffer("trainable_layout_version", at::ones({1}, at::kLong));
    const auto group = register_module("trainable", std::make_shared<Group>());
    if (n_trainable > 0)
        trainable_ = group->register_parameter("trainable", at::zeros({edges_.n_edges(), n_trainable}));
}

int64_t EdgeProvider::width() const
{
    return attributes_.size(1) + (trainable_.defined() ? trainable_.size(1) : 0);
}

const std::vector<ops::EdgeIndex>& EdgeProvider::chunks(int64_t copies, int64_t n_chunks, at::Device device)
{
    auto& cached = chunks_[{copies, n_chunks}];
    if (!cached.empty() && cached.front().src.device() == device)
        return cached;
    cached.clear();
    const auto all = ops::repeat(edges_, copies).to(device);
    const auto bounds = ops::chunk_bounds(all, n_chunks);
    for (size_t i = 0; i + 1 < bounds.size(); ++i)
        cached.push_back(ops::slice(all, bounds[i], bounds[i + 1]));
    return cached;
}

EdgeInputs EdgeProvider::forward(int64_t copies, int64_t n_chunks, const at::Tensor& like)
{
    if (attributes_.device() != like.device() || attributes_.scalar_type() != like.scalar_type())
        attributes_ = attributes_.to(like.options());
    const auto features = trainable_.defined() ? at::cat({attributes_, trainable_}, 1) : attributes_;
    return {chunks(copies, n_chunks, like.device()), features, copies};
}

void EdgeProvider::reset()
{
    zero(trainable_);
}

} // namespace gradwind::model
