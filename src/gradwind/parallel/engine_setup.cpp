// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/engine_setup.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/gradient_engine.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <set>

namespace gradwind::parallel
{
namespace detail
{

std::string manifest_of(const std::vector<NamedParameter>& parameters, const EngineOptions& options)
{
    std::string text;
    for (const auto& [name, tensor] : parameters)
        text += fmt::format("parameter {} {} [{}]\n", name, c10::toString(tensor.scalar_type()),
                            fmt::join(tensor.sizes(), ", "));
    text += fmt::format("bucket_cap_mb {} first_bucket_mb {} wire {} copy_engines {}\n", options.bucket_cap_mb,
                        options.first_bucket_mb, options.wire == WireType::Bf16 ? "bf16" : "as stored",
                        options.copy_engines);
    text += fmt::format("buckets {}\n", fmt::join(options.bucket_bytes, " "));
    const auto& compression = options.compression;
    text += fmt::format("compression {} rank {} start_step {} min_ratio {}\n", static_cast<int>(compression.kind),
                        compression.rank, compression.start_step, compression.min_ratio);
    text += fmt::format("zero_group_size {} node_size {}\n", options.zero_group_size, options.node_size);
    return text + fmt::format("order {}\n", fmt::join(options.order, " "));
}

std::vector<size_t> reversed_order(size_t count)
{
    std::vector<size_t> order(count);
    std::iota(order.rbegin(), order.rend(), size_t{0});
    return order;
}

std::vector<size_t> order_from_names(const std::vector<NamedParameter>& parameters,
                                     const std::vector<std::string>& names)
{
    std::map<std::string, size_t> index_of;
    for (size_t index = 0; index < parameters.size(); ++index)
        index_of[parameters[index].name] = index;
    std::vector<size_t> order;
    for (const std::string& name : names) {
        const auto found = index_of.find(name);
        GRADWIND_CHECK(found != index_of.end(), ConfigError,
                       "[gradients] the stored order names {}, which the model does not have (or has once)", name);
        order.push_back(found->second);
        index_of.erase(found);
    }
    GRADWIND_CHECK(index_of.empty(), ConfigError, "[gradients] the stored order lacks {}", index_of.begin()->first);
    return order;
}

std::optional<Lesson> learn(const Group& world, const std::vector<int>& seen)
{
    const bool any = std::any_of(seen.begin(), seen.end(), [](int count) { return count > 0; });
    const auto flags = world.all_gather_bytes(any ? "1" : "0");
    const auto teacher = std::find(flags.begin(), flags.end(), "1");
    if (teacher == flags.end())
        return std::nullopt;
    const auto most = world.max(std::vector<double>(seen.begin(), seen.end()));
    return Lesson{static_cast<int>(teacher - flags.begin()), {most.begin(), most.end()}};
}

std::vector<size_t> order_of_rank(const Group& world, int rank, const std::vector<size_t>& seen, size_t count)
{
    std::string bytes(reinterpret_cast<const char*>(seen.data()), seen.size() * sizeof(size_t));
    bytes = world.broadcast_bytes(bytes, rank);
    std::vector<size_t> order(bytes.size() / sizeof(size_t));
    std::memcpy(order.data(), bytes.data(), bytes.size());
    const std::set<size_t> known(order.begin(), order.end());
    for (const size_t index : reversed_order(count))
        if (!known.count(index))
            order.push_back(index); // never seen there: last, where it holds up nothing
    return order;
}

std::vector<std::vector<int64_t>> shapes_of(const std::vector<NamedParameter>& parameters)
{
    std::vector<std::vector<int64_t>> result;
    for (const auto& parameter : parameters)
        result.push_back(parameter.tensor.sizes().vec());
    return result;
}

void check_ends(const std::vector<int64_t>& ends, int64_t numel)
{
    int64_t begin = 0;
    for (const int64_t end : ends) {
        GRADWIND_CHECK(end > begin, ConfigError, "[gradients] bucket ends must grow: {} follows {}", end, begin);
        begin = end;
    }
    GRADWIND_CHECK(begin == numel, ConfigError, "[gradients] the last bucket ends at {}, the arena at {}", begin,
                   numel);
}

std::vector<int64_t> at_ends_of_slices(const std::vector<Slice>& slices, const std::vector<int64_t>& ends)
{
    std::set<int64_t> result = {ends.back()};
    for (const int64_t end : ends)
        for (const Slice& slice : slices)
            if (slice.offset >= end) {
                result.insert(slice.offset);
                break;
            }
    result.erase(0);
    return {result.begin(), result.end()};
}

std::vector<int64_t> at_multiples(const std::vector<int64_t>& ends, int64_t granule)
{
    std::vector<int64_t> result;
    for (const int64_t end : ends) {
        const int64_t rounded = std::min((end + granule - 1) / granule * granule, ends.back());
        if (result.empty() || rounded > result.back())
            result.push_back(rounded);
    }
    return result;
}

EngineOptions in_world(EngineOptions options, int world)
{
    if (world == 1)
        options.zero_group_size = options.node_size = 1;
    return options;
}

int row_size(const EngineOptions& options, int world)
{
    const bool flat = options.node_size == world; // one node has no way that is slower than others
    return options.zero_group_size > 1 ? options.zero_group_size : flat ? 1 : options.node_size;
}

int64_t granule_bytes(const EngineOptions& options, int world)
{
    return int64_t{256} * row_size(options, world);
}

void check_sharing(const EngineOptions& options, int world)
{
    GRADWIND_CHECK(options.zero_group_size >= 1 && world % options.zero_group_size == 0, ConfigError,
                   "[gradients] expected training.strategy.zero_group_size to divide the {} processes of the job, "
                   "found {}",
                   world, options.zero_group_size);
    GRADWIND_CHECK(options.zero_group_size == 1 || options.compression.kind == Compression::None, ConfigError,
                   "[gradients] training.strategy.zero_group_size {} cannot be had together with gradient_compression: "
                   "factors are applied where the whole matrix is; set one of them to its default",
                   options.zero_group_size);
    GRADWIND_CHECK(options.node_size >= 1 && world % options.node_size == 0, ConfigError,
                   "[gradients] training.strategy.hierarchical needs as many processes on every node, found {} "
                   "processes with {} on a node",
                   world, options.node_size);
}

} // namespace detail

std::vector<int64_t> plan_buckets(int64_t numel, int64_t element_bytes, const EngineOptions& options)
{
    const auto elements = [&](double mib, const char* key) {
        GRADWIND_CHECK(mib > 0, ConfigError, "[gradients] {} must be above 0, found {}", key, mib);
        // Whole 256-byte units, so that every bucket begins aligned.
        const double units = std::min(mib * 1024 * 1024 / 256, 1e15);
        return std::max<int64_t>(1, static_cast<int64_t>(units)) * 256 / element_bytes;
    };
    if (!options.bucket_bytes.empty()) {
        std::vector<int64_t> ends;
        int64_t end = 0;
        for (const int64_t bytes : options.bucket_bytes)
            ends.push_back((end += bytes) / element_bytes);
        // What the arena is longer by than its parameters where ranks hold parts of it is no difference of models.
        const int64_t padding = 256 * std::max(options.zero_group_size, options.node_size) / element_bytes;
        if (ends.back() < numel && numel - ends.back() < padding)
            ends.back() = numel;
        GRADWIND_CHECK(ends.back() == numel, ConfigError,
                       "[gradients] the plan is for {} bytes of gradients, this model has {}: plan it again with "
                       "`gradwind tune`",
                       end, numel * element_bytes);
        return ends;
    }
    const int64_t first = elements(options.first_bucket_mb, "first_bucket_mb");
    const int64_t cap = elements(options.bucket_cap_mb, "bucket_cap_mb");
    std::vector<int64_t> ends;
    for (int64_t end = std::min(first, cap); end < numel; end += cap)
        ends.push_back(end);
    ends.push_back(numel);
    return ends;
}

} // namespace gradwind::parallel
