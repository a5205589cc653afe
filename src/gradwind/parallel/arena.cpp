// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/arena.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_map>

namespace gradwind::parallel
{
namespace
{

constexpr int64_t kAlignmentBytes = 256; // a cache line pair on CPUs, the unit of allocations on GPUs

at::Tensor view_of(const at::Tensor& flat, const Slice& slice)
{
    return flat.narrow(0, slice.offset, slice.numel).view(slice.shape);
}

} // namespace

int64_t place_slices(std::vector<Slice>& slices, int64_t element_bytes, int64_t granule_bytes)
{
    const int64_t unit = kAlignmentBytes / element_bytes, granule = granule_bytes / element_bytes;
    int64_t end = 0;
    for (Slice& slice : slices) {
        slice.offset = end;
        end = (slice.end() + unit - 1) / unit * unit;
    }
    return (end + granule - 1) / granule * granule;
}

Arena::Arena(std::vector<NamedParameter> parameters, int64_t granule_bytes)
    : parameters_(std::move(parameters)), granule_bytes_(granule_bytes)
{
    GRADWIND_CHECK(!parameters_.empty(), ConfigError, "[gradients] the model has no parameter to train");
    const at::Tensor& first = parameters_.front().tensor;
    std::unordered_map<const void*, std::string> seen;
    for (const auto& [name, tensor] : parameters_) {
        GRADWIND_CHECK(tensor.defined() && tensor.is_leaf() && tensor.requires_grad(), ConfigError,
                       "[gradients] {} does not require a gradient: leave frozen parameters out", name);
        GRADWIND_CHECK(
            tensor.scalar_type() == first.scalar_type() && tensor.device() == first.device(), ConfigError,
            "[gradients] all parameters of an engine have one type and device: {} is {} on {}, {} is {} on {}",
            parameters_.front().name, c10::toString(first.scalar_type()), first.device().str(), name,
            c10::toString(tensor.scalar_type()), tensor.device().str());
        const auto [found, is_new] = seen.emplace(tensor.unsafeGetTensorImpl(), name);
        GRADWIND_CHECK(is_new, ConfigError, "[gradients] {} and {} are the same tensor: list a shared parameter once",
                       found->second, name);
    }
}

void Arena::lay_out(const std::vector<size_t>& order)
{
    GRADWIND_ASSERT(order.size() == parameters_.size());
    const at::NoGradGuard no_grad;
    const auto options = parameters_.front().tensor.detach().options();
    std::vector<Slice> slices;
    for (const size_t index : order) {
        const auto& [name, tensor] = parameters_.at(index);
        slices.push_back({name, 0, tensor.numel(), tensor.sizes().vec()});
    }
    const int64_t end =
        place_slices(slices, static_cast<int64_t>(parameters_.front().tensor.element_size()), granule_bytes_);
    const at::Tensor values = at::zeros({end}, options);
    const at::Tensor gradients = at::zeros({end}, options);
    gradient_views_.resize(parameters_.size());
    for (size_t place = 0; place < order.size(); ++place) {
        at::Tensor& tensor = parameters_[order[place]].tensor;
        const at::Tensor value = view_of(values, slices[place]);
        const at::Tensor gradient = view_of(gradients, slices[place]);
        value.copy_(tensor.detach());
        if (tensor.grad().defined())
            gradient.copy_(tensor.grad());
        tensor.set_data(value);
        tensor.mutable_grad() = gradient;
        gradient_views_[order[place]] = gradient;
    }
    order_ = order;
    slices_ = std::move(slices);
    values_ = values;
    gradients_ = gradients;
}

void Arena::restore_gradient_views()
{
    for (size_t index = 0; index < parameters_.size(); ++index)
        if (!has_gradient_view(index))
            parameters_[index].tensor.mutable_grad() = gradient_views_[index];
}

void Arena::zero_gradients()
{
    if (!gradients_.device().is_cpu()) {
        gradients_.zero_();
        return;
    }
    // Without the tensor's own function, which allocates.
    constexpr int64_t kBlock = int64_t{1} << 20;
    auto* bytes = static_cast<char*>(gradients_.data_ptr());
    const auto count = static_cast<int64_t>(gradients_.nbytes());
    at::parallel_for(0, (count + kBlock - 1) / kBlock, 1, [&](int64_t first, int64_t last) {
        std::memset(bytes + first * kBlock, 0, static_cast<size_t>(std::min(last * kBlock, count) - first * kBlock));
    });
}

at::Tensor rearrange(const at::Tensor& flat, std::span<const Slice> from, std::span<const Slice> to)
{
    const at::NoGradGuard no_grad;
    std::map<std::string, const Slice*> source;
    for (const Slice& slice : from)
        source[slice.name] = &slice;
    GRADWIND_CHECK(from.size() == to.size() && source.size() == to.size(), ShapeError,
                   "[gradients] cannot rearrange {} tensors as {}", from.size(), to.size());
    at::Tensor result = at::zeros_like(flat);
    for (const Slice& slice : to) {
        const auto found = source.find(slice.name);
        GRADWIND_CHECK(found != source.end() && found->second->numel == slice.numel && slice.end() <= flat.numel() &&
                           found->second->end() <= flat.numel(),
                       ShapeError, "[gradients] cannot rearrange: there is no {} of {} elements to take from",
                       slice.name, slice.numel);
        result.narrow(0, slice.offset, slice.numel).copy_(flat.narrow(0, found->second->offset, slice.numel));
    }
    return result;
}

} // namespace gradwind::parallel
