// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/exchange_budget.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/copied_sum.h"
#include "gradwind/parallel/engine_setup.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/low_rank_plan.h"

#include <algorithm>

namespace gradwind::parallel
{
namespace
{

using Calls = std::vector<PlannedCalls>;

constexpr int64_t kBf16 = 2, kFp32 = 4, kDouble = 8;

/// How many ranks a sum goes over, in which steps.
struct Ways {
    int world = 1, row = 1;
    bool is_zero = false;
    [[nodiscard]] int column() const { return world / row; }
    [[nodiscard]] std::string rows() const { return is_zero ? "zero" : "node"; }
};

/// Sums of n messages with so many bytes in all.
Calls calls_of_sums(const Ways& ways, int64_t n, int64_t bytes)
{
    if (ways.world == 1)
        return {};
    if (ways.row == 1)
        return {{"world", Verb::AllReduce, n, bytes}};
    Calls calls = {{ways.rows(), Verb::AllGather, n, bytes / ways.row}, {ways.rows(), Verb::ReduceScatter, n, bytes}};
    if (ways.column() > 1)
        calls.push_back({ways.rows() + "_across", Verb::AllReduce, n, bytes / ways.row});
    return calls;
}

/// Of one bucket: what a reduce-scatter makes of it, which is the shares of all ranks of a part, the sum and the
/// result; of bf16 also the share that is being added, in fp32.
int64_t work_of_bucket(const Ways& ways, int64_t elements, int64_t stored, bool is_bf16)
{
    const int ranks = ways.row > 1 ? ways.row : ways.world;
    if (ranks == 1 || (ways.row == 1 && !is_bf16))
        return 0; // summed in place by the library
    const int64_t part = (elements + ranks - 1) / ranks, wire = is_bf16 ? kBf16 : stored;
    return part * (ranks * wire + wire + (is_bf16 ? 2 * kFp32 : stored));
}

bool sums_by_copies(const EngineOptions& options, const Ways& ways)
{
    return options.copy_engines && ways.row == 1 && ways.world > 1 && ways.world <= detail::kMostCopyingRanks;
}

/// What a sum by copies keeps for a message.
int64_t buffers_of_copies(int64_t elements, int64_t element_bytes, WireType wire, detail::Queue queue, int ranks)
{
    const auto plan = detail::plan_copied_sum(elements, element_bytes, wire, queue, ranks);
    return elements > 0 ? plan.inbox + plan.outbox : 0;
}

std::vector<Slice> slices_of(const std::vector<NamedParameter>& parameters, const EngineOptions& options)
{
    auto order = options.order.empty() ? detail::reversed_order(parameters.size())
                                       : detail::order_from_names(parameters, options.order);
    if (options.compression.kind != Compression::None && options.order.empty())
        order = detail::low_rank_order(detail::shapes_of(parameters), order, options.compression);
    std::vector<Slice> slices;
    for (const size_t index : order) {
        const auto& [name, tensor] = parameters[index];
        slices.push_back({name, 0, tensor.numel(), tensor.sizes().vec()});
    }
    return slices;
}

std::vector<ExchangeBudget::Phase> compressed_phases(const std::vector<detail::LowRankBucket>& buckets,
                                                     const Ways& ways, const EngineOptions& options,
                                                     int64_t element_bytes)
{
    const auto kind = options.compression.kind;
    int64_t p = 0, q = 0, q_factors = 0, n_q = 0, factors = 0, own = 0, copies = 0;
    for (const auto& bucket : buckets) {
        p += bucket.p_message;
        q += bucket.q_message;
        q_factors += bucket.q_factors;
        n_q += bucket.q_factors > 0;
        factors += bucket.p_size + bucket.q_size;
        own += kind == Compression::Acp ? bucket.q_size : 0;
        if (sums_by_copies(options, ways))
            for (const int64_t message :
                 {bucket.p_message, kind == Compression::PowerSgd ? bucket.q_factors : bucket.q_message})
                copies +=
                    buffers_of_copies(message, element_bytes, WireType::AsStored, detail::Queue::Callers, ways.world);
    }
    // Messages, bases, what a rank is still to take off, and directions in float64.
    const int64_t buffers = (p + q + factors + own) * element_bytes + factors * kDouble + copies;
    const auto n = static_cast<int64_t>(buckets.size());
    if (kind == Compression::PowerSgd)
        return {{buffers, calls_of_sums(ways, n + n_q, (p + q_factors) * element_bytes)}};
    return {{buffers, calls_of_sums(ways, n, p * element_bytes)}, {buffers, calls_of_sums(ways, n, q * element_bytes)}};
}

} // namespace

ExchangeBudget exchange_budget(const std::vector<NamedParameter>& parameters, const EngineOptions& given, int world)
{
    GRADWIND_CHECK(!parameters.empty(), ConfigError, "[gradients] the model has no parameter to train");
    const auto options = detail::in_world(given, world);
    detail::check_sharing(options, world);
    const Ways ways{world, detail::row_size(options, world), options.zero_group_size > 1};
    const auto element_bytes = static_cast<int64_t>(parameters.front().tensor.element_size());
    const int64_t granule = detail::granule_bytes(options, world);
    auto slices = slices_of(parameters, options);
    const int64_t numel = place_slices(slices, element_bytes, granule);
    auto ends = plan_buckets(numel, element_bytes, options);
    if (ways.row > 1)
        ends = detail::at_multiples(ends, granule / element_bytes);
    const bool is_bf16 = options.wire == WireType::Bf16 && world > 1;

    ExchangeBudget budget;
    budget.parameters = budget.gradients = numel * element_bytes;
    budget.owned = numel / options.zero_group_size;
    const bool copies = sums_by_copies(options, ways);
    budget.dense.buffers = is_bf16 && !copies ? numel * kBf16 : 0;
    int64_t begin = 0;
    for (const int64_t end : ends) {
        if (copies)
            budget.dense.buffers +=
                buffers_of_copies(end - begin, element_bytes, options.wire, detail::Queue::Own, world);
        else
            budget.work = std::max(budget.work, work_of_bucket(ways, end - begin, element_bytes, is_bf16));
        begin = end;
    }
    budget.buckets = static_cast<int64_t>(ends.size());
    budget.dense.calls = calls_of_sums(ways, budget.buckets, numel * (is_bf16 ? kBf16 : element_bytes));
    if (ways.is_zero && world > 1)
        budget.dense.calls.front().bytes = numel / ways.row * element_bytes; // weights are handed round, as stored
    if (options.compression.kind != Compression::None) {
        if (options.bucket_bytes.empty())
            ends = detail::low_rank_ends(slices, numel, options.compression);
        else
            ends = detail::at_ends_of_slices(slices, ends);
        const auto buckets = detail::plan_low_rank(slices, numel, ends, options.compression, ways.row);
        budget.compressed = compressed_phases(buckets, ways, options, element_bytes);
    }
    return budget;
}

} // namespace gradwind::parallel
