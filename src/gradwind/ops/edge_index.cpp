// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/edge_index.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::ops
{

namespace
{

at::Tensor as_tensor(std::span<const int64_t> values)
{
    return at::from_blob(const_cast<int64_t*>(values.data()), {int64_t(values.size())}, at::kLong).clone();
}

std::vector<int64_t> row_pointers(std::span<const int64_t> ids, int64_t n)
{
    std::vector<int64_t> ptr(size_t(n) + 1, 0);
    for (const auto id : ids)
        ++ptr[size_t(id) + 1];
    for (size_t i = 0; i < size_t(n); ++i)
        ptr[i + 1] += ptr[i];
    return ptr;
}

std::span<const int64_t> view(const at::Tensor& tensor)
{
    return {tensor.data_ptr<int64_t>(), size_t(tensor.numel())};
}

} // namespace

EdgeIndex EdgeIndex::to(at::Device device) const
{
    return {n_src, n_dst, src.to(device), dst.to(device), dst_ptr.to(device), by_src.to(device), src_ptr.to(device)};
}

std::vector<int64_t> order_by_destination(std::span<const int32_t> dst, int64_t n_dst)
{
    std::vector<int64_t> next(size_t(n_dst) + 1, 0);
    for (const auto id : dst) {
        GRADWIND_CHECK(id >= 0 && id < n_dst, ShapeError,
                       "[edge_index] an edge ends at node {}, but there are {} destination nodes", id, n_dst);
        ++next[size_t(id) + 1];
    }
    for (size_t i = 0; i < size_t(n_dst); ++i)
        next[i + 1] += next[i];
    std::vector<int64_t> order(dst.size());
    for (size_t e = 0; e < dst.size(); ++e)
        order[size_t(next[size_t(dst[e])]++)] = int64_t(e);
    return order;
}

EdgeIndex make_edge_index(std::span<const int64_t> src, std::span<const int64_t> dst, int64_t n_src, int64_t n_dst)
{
    GRADWIND_CHECK(src.size() == dst.size(), ShapeError, "[edge_index] {} sources but {} destinations", src.size(),
                   dst.size());
    for (size_t e = 0; e < src.size(); ++e) {
        GRADWIND_CHECK(src[e] >= 0 && src[e] < n_src && dst[e] >= 0 && dst[e] < n_dst, ShapeError,
                       "[edge_index] edge {} goes from node {} to {}, but there are {} sources and {} destinations", e,
                       src[e], dst[e], n_src, n_dst);
        GRADWIND_CHECK(e == 0 || dst[e - 1] <= dst[e], ShapeError,
                       "[edge_index] edges must be sorted by destination; edge {} ends at {} after {}", e, dst[e],
                       dst[e - 1]);
    }
    const auto src_ptr = row_pointers(src, n_src);
    auto next = src_ptr;
    std::vector<int64_t> by_src(src.size());
    for (size_t e = 0; e < src.size(); ++e)
        by_src[size_t(next[size_t(src[e])]++)] = int64_t(e);
    return {n_src,
            n_dst,
            as_tensor(src),
            as_tensor(dst),
            as_tensor(row_pointers(dst, n_dst)),
            as_tensor(by_src),
            as_tensor(src_ptr)};
}

EdgeIndex repeat(const EdgeIndex& edges, int64_t copies)
{
    if (copies == 1)
        return edges;
    const auto steps = at::arange(copies, edges.src.options()).unsqueeze(1);
    const auto spread = [&](const at::Tensor& values, int64_t stride) {
        return (values.unsqueeze(0) + steps * stride).reshape({-1});
    };
    const auto pointers = [&](const at::Tensor& ptr) {
        return at::cat({at::zeros({1}, ptr.options()), spread(ptr.slice(0, 1), edges.n_edges())});
    };
    return {edges.n_src * copies,           edges.n_dst * copies,    spread(edges.src, edges.n_src),
            spread(edges.dst, edges.n_dst), pointers(edges.dst_ptr), spread(edges.by_src, edges.n_edges()),
            pointers(edges.src_ptr)};
}

std::vector<int64_t> chunk_bounds(const EdgeIndex& edges, int64_t n_chunks)
{
    const auto host_ptr = edges.dst_ptr.cpu();
    const auto ptr = view(host_ptr);
    std::vector<int64_t> bounds = {0};
    for (int64_t chunk = 1; chunk < n_chunks; ++chunk) {
        const auto wanted = edges.n_edges() * chunk / n_chunks;
        const auto bound = *std::lower_bound(ptr.begin(), ptr.end(), wanted);
        if (bound > bounds.back() && bound < edges.n_edges())
            bounds.push_back(bound);
    }
    bounds.push_back(edges.n_edges());
    return bounds;
}

EdgeIndex slice(const EdgeIndex& edges, int64_t begin, int64_t end)
{
    if (begin == 0 && end == edges.n_edges())
        return edges;
    const auto src = edges.src.slice(0, begin, end).cpu();
    const auto dst = edges.dst.slice(0, begin, end).cpu();
    return make_edge_index(view(src), view(dst), edges.n_src, edges.n_dst).to(edges.src.device());
}

std::vector<DestinationSlice> slice_destinations(const EdgeIndex& edges, int64_t n_slices)
{
    const auto n = std::min(n_slices, edges.n_dst);
    if (n <= 1)
        return {{edges, 0, 0, {}}};
    const auto device = edges.src.device();
    const auto host_ptr = edges.dst_ptr.cpu(), host_src = edges.src.cpu(), host_dst = edges.dst.cpu();
    const auto ptr = view(host_ptr), src = view(host_src), dst = view(host_dst);
    std::vector<DestinationSlice> slices;
    for (int64_t i = 0; i < n; ++i) {
        const auto first = edges.n_dst * i / n, last = edges.n_dst * (i + 1) / n;
        const auto begin = size_t(ptr[size_t(first)]), end = size_t(ptr[size_t(last)]);
        std::vector<int64_t> own_src(src.begin() + int64_t(begin), src.begin() + int64_t(end));
        std::vector<int64_t> own_dst(dst.begin() + int64_t(begin), dst.begin() + int64_t(end));
        auto rows = own_src;
        std::sort(rows.begin(), rows.end());
        rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
        for (auto& id : own_src)
            id = std::lower_bound(rows.begin(), rows.end(), id) - rows.begin();
        for (auto& id : own_dst)
            id -= first;
        const auto own = make_edge_index(own_src, own_dst, int64_t(rows.size()), last - first);
        slices.push_back({own.to(device), first, int64_t(begin), as_tensor(rows).to(device)});
    }
    return slices;
}

} // namespace gradwind::ops
