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

void NodeAttributes::add(const graph::NodeSet& nodes, int64_t n_trainable, const parallel::RowSet& own_rows)
{
    if (!trainables_)
        trainables_ = register_module("trainable_tensors", std::make_shared<Group>());
    Entry entry;
    entry.latlons = register_buffer("latlons_" + nodes.name, sines_and_cosines(nodes));
    const auto group = std::make_shared<Group>();
    trainables_->register_module(nodes.name, group);
    if (n_trainable > 0)
        entry.trainable = group->register_parameter("trainable", at::zeros({entry.latlons.size(0), n_trainable}));
    entry.own = own_rows;
    entries_.emplace(nodes.name, std::move(entry));
}

at::Tensor NodeAttributes::forward(const std::string& name, int64_t copies) const
{
    const auto own = trainable(name);
    const auto features = own.defined() ? at::cat({coordinates(name), own}, 1) : coordinates(name);
    return copies == 1 ? features : features.repeat({copies, 1});
}

at::Tensor NodeAttributes::coordinates(const std::string& name) const
{
    const auto& entry = entries_.at(name);
    return entry.own.of(entry.latlons);
}

at::Tensor NodeAttributes::trainable(const std::string& name) const
{
    const auto& entry = entries_.at(name);
    return entry.trainable.defined() ? entry.own.of(entry.trainable) : at::Tensor();
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

EdgeInputs EdgeInputs::for_region(ops::Intermediates mode) const
{
    auto result = *this;
    if (mode == ops::Intermediates::Recompute)
        result.sources = sources.remembering();
    return result;
}

EdgeProvider::EdgeProvider(const graph::EdgeSet& edges, int64_t n_src, int64_t n_dst,
                           const std::vector<std::string>& attributes, int64_t n_trainable,
                           const parallel::Sharding& sharding, ShardStrategy strategy)
    : sharing_(std::make_shared<NodeSharing>(NodeSharing{sharding.group, sharding.partition(edges.source, n_src),
                                                         sharding.partition(edges.target, n_dst)})),
      group_(strategy == ShardStrategy::Edges ? sharding.group : parallel::Group::self("model"))
{
    const auto order = ops::order_by_destination(edges.dst, n_dst);
    std::vector<int64_t> src, dst;
    for (const auto e : order) {
        src.push_back(edges.src[size_t(e)]);
        dst.push_back(edges.dst[size_t(e)]);
    }
    const auto cut = [&](const parallel::Partition& nodes) {
        return strategy == ShardStrategy::Edges ? nodes : parallel::Partition(nodes.n_rows());
    };
    plan_ = parallel::make_exchange_plan(cut(sharing_->sources), cut(sharing_->destinations), src, dst, group_.rank());
    own_edges_ = {plan_.edges, int64_t(order.size())};
    plan_.edges = {};
    attributes_ = own_edges_.of(sorted_attributes(edges, attributes, order)).clone();
    // Says that the trainable rows are in the order sorted by destination, as every release since 0.9 stores them.
    register_buffer("trainable_layout_version", at::ones({1}, at::kLong));
    const auto group = register_module("trainable", std::make_shared<Group>());
    if (n_trainable > 0)
        trainable_ = group->register_parameter("trainable", at::zeros({int64_t(order.size()), n_trainable}));
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
    std::vector<int64_t> dst;
    dst.reserve(plan_.dst.size() * size_t(copies));
    for (int64_t copy = 0; copy < copies; ++copy)
        for (const auto row : plan_.dst)
            dst.push_back(copy * plan_.n_destinations + row);
    const auto all = ops::make_edge_index(plan_.sources_of_copies(copies), dst,
                                          copies * (plan_.n_owned + plan_.n_halo()), copies * plan_.n_destinations)
                         .to(device);
    const auto bounds = ops::chunk_bounds(all, n_chunks);
    for (size_t i = 0; i + 1 < bounds.size(); ++i)
        cached.push_back(ops::slice(all, bounds[i], bounds[i + 1]));
    return cached;
}

const parallel::HaloExchange& EdgeProvider::exchange(int64_t copies, at::Device device)
{
    auto found = exchanges_.find(copies);
    if (found == exchanges_.end() || found->second.device != device)
        found = exchanges_.insert_or_assign(copies, Exchange{device, {group_, plan_, copies, device}}).first;
    return found->second.sources;
}

EdgeInputs EdgeProvider::forward(int64_t copies, int64_t n_chunks, const at::Tensor& like)
{
    if (attributes_.device() != like.device() || attributes_.scalar_type() != like.scalar_type())
        attributes_ = attributes_.to(like.options());
    const auto features = trainable_.defined() ? at::cat({attributes_, own_edges_.of(trainable_)}, 1) : attributes_;
    return {chunks(copies, n_chunks, like.device()), features, copies, exchange(copies, like.device()), sharing_};
}

void EdgeProvider::reset()
{
    zero(trainable_);
}

} // namespace gradwind::model
