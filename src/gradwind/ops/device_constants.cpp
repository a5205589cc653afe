// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>
#include <c10/core/UndefinedTensorImpl.h>

#include <map>
#include <mutex>
#include <utility>

namespace gradwind::ops
{

namespace
{

/// A device in a key of a map.
using Place = std::pair<c10::DeviceType, c10::DeviceIndex>;

Place place_of(at::Device device)
{
    return {device.type(), device.index()};
}

/// The weak pointer also keeps the place of a constant that is gone from being taken by another.
struct Copy {
    Copy(const at::Tensor& constant, at::Tensor tensor)
        : constant(constant.getIntrusivePtr()), version(constant._version()), tensor(std::move(tensor))
    {
    }
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> constant;
    int64_t version;
    at::Tensor tensor;
};

/// Never destroyed: at the end of a process the device may be gone before it.
struct Cache {
    std::mutex mutex;
    std::map<std::pair<const c10::TensorImpl*, Place>, Copy> copies;
    std::map<std::pair<Place, std::vector<int64_t>>, at::Tensor> columns;
    std::map<std::pair<Place, std::vector<double>>, at::Tensor> numbers;

    static Cache& instance()
    {
        static auto& cache = *new Cache;
        return cache;
    }
};

} // namespace

at::Tensor on_device(const at::Tensor& constant, at::Device device)
{
    if (!constant.defined() || constant.device() == device)
        return constant;
    auto& cache = Cache::instance();
    const std::lock_guard lock(cache.mutex);
    const std::pair key{constant.unsafeGetTensorImpl(), place_of(device)};
    const auto found = cache.copies.find(key);
    if (found != cache.copies.end() && found->second.version == int64_t(constant._version()))
        return found->second.tensor;
    std::erase_if(cache.copies, [](const auto& item) { return item.second.constant.expired(); });
    const auto copy = constant.detach().to(device);
    cache.copies.insert_or_assign(key, Copy(constant, copy));
    return copy;
}

namespace
{

template <class T>
at::Tensor kept(std::map<std::pair<Place, std::vector<T>>, at::Tensor>& lists, const std::vector<T>& values,
                at::ScalarType type, at::Device device)
{
    const std::lock_guard lock(Cache::instance().mutex);
    auto& list = lists[{place_of(device), values}];
    if (!list.defined())
        list = at::tensor(values, type).to(device);
    return list;
}

} // namespace

at::Tensor columns_on(const std::vector<int64_t>& columns, at::Device device)
{
    return kept(Cache::instance().columns, columns, at::kLong, device);
}

at::Tensor numbers_on(const std::vector<double>& numbers, at::Device device)
{
    return kept(Cache::instance().numbers, numbers, at::kDouble, device);
}

} // namespace gradwind::ops
