// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/layout.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace gradwind::parallel
{
namespace
{

/// "1, 2, 3 or 6"
std::string either(const std::vector<int>& values)
{
    std::string text;
    for (size_t i = 0; i < values.size(); ++i)
        text += (i == 0 ? "" : i + 1 == values.size() ? " or " : ", ") + std::to_string(values[i]);
    return text;
}

std::vector<int> divisors(int n)
{
    std::vector<int> all;
    for (int d = 1; d <= n; ++d)
        if (n % d == 0)
            all.push_back(d);
    return all;
}

/// The multiples of unit on both sides of n, without 0.
std::vector<int> near_multiples(int n, int unit)
{
    const int below = n / unit * unit;
    return below > 0 ? std::vector<int>{below, below + unit} : std::vector<int>{below + unit};
}

void check_world_is_multiple(int world, int unit, const char* key, const char* what)
{
    GRADWIND_CHECK(world % unit == 0, ConfigError,
                   "[layout] {} processes cannot be cut into groups of {} = {}: use {} GPUs per {}, or {} processes",
                   world, key, unit, either(divisors(world)), what, either(near_multiples(world, unit)));
}

std::vector<int> consecutive(int first, int count)
{
    std::vector<int> ranks(count);
    std::iota(ranks.begin(), ranks.end(), first);
    return ranks;
}

/// A positive number, or 0 if the text is none.
int positive(std::string_view text)
{
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && value > 0 ? value : 0;
}

} // namespace

std::vector<int64_t> balanced_partition(int64_t n, int64_t parts)
{
    GRADWIND_CHECK(n >= 0 && parts >= 1, InternalError, "[layout] cannot cut {} things into {} parts", n, parts);
    std::vector<int64_t> sizes(parts, n / parts);
    std::fill_n(sizes.begin(), n % parts, n / parts + 1);
    return sizes;
}

Span balanced_span(int64_t n, int64_t parts, int64_t part)
{
    GRADWIND_CHECK(n >= 0 && parts >= 1 && part >= 0 && part < parts, InternalError,
                   "[layout] there is no part {} of {} things cut into {}", part, n, parts);
    const int64_t larger = std::min(part, n % parts);
    return {part * (n / parts) + larger, n / parts + (part < n % parts ? 1 : 0)};
}

Layout::Layout(const LayoutOptions& options) : options_(options)
{
    auto& o = options_;
    if (o.kind == JobKind::Deterministic)
        o.gpus_per_ensemble = o.gpus_per_model;
    for (const auto& [name, value] :
         {std::pair{"num_nodes", o.nodes}, std::pair{"num_gpus_per_node", o.gpus_per_node},
          std::pair{"num_gpus_per_model", o.gpus_per_model}, std::pair{"num_gpus_per_ensemble", o.gpus_per_ensemble},
          std::pair{"read_group_size", o.read_group_size}})
        GRADWIND_CHECK(value >= 1, ConfigError, "[layout] {} must be at least 1, found {}", name, value);
    check_world_is_multiple(world(), o.gpus_per_model, "num_gpus_per_model", "model");
    GRADWIND_CHECK(o.gpus_per_model % o.read_group_size == 0, ConfigError,
                   "[layout] read_group_size = {} does not divide num_gpus_per_model = {}: use {}", o.read_group_size,
                   o.gpus_per_model, either(divisors(o.gpus_per_model)));
    GRADWIND_CHECK(o.gpus_per_ensemble % o.gpus_per_model == 0, ConfigError,
                   "[layout] num_gpus_per_ensemble = {} is not a multiple of num_gpus_per_model = {}: use {}",
                   o.gpus_per_ensemble, o.gpus_per_model,
                   either(near_multiples(o.gpus_per_ensemble, o.gpus_per_model)));
    check_world_is_multiple(world(), o.gpus_per_ensemble, "num_gpus_per_ensemble", "ensemble");
}

Place Layout::place(int rank) const
{
    GRADWIND_CHECK(rank >= 0 && rank < world(), InternalError, "[layout] rank {} is not in [0, {})", rank, world());
    Place place;
    place.rank = rank;
    place.model_id = rank / model_size();
    place.model_rank = rank % model_size();
    place.reader_id = place.model_rank / reader_size();
    place.reader_rank = place.model_rank % reader_size();
    place.ensemble_id = rank / ensemble_size();
    place.ensemble_rank = rank % ensemble_size();
    place.subgroup_id = place.ensemble_id * model_size() + place.model_rank;
    place.subgroup_rank = place.ensemble_rank / model_size();
    place.replica = place.ensemble_id;
    return place;
}

std::vector<int> Layout::model_ranks(int model_id) const
{
    return consecutive(model_id * model_size(), model_size());
}

std::vector<int> Layout::reader_ranks(int model_id, int reader_id) const
{
    return consecutive(model_id * model_size() + reader_id * reader_size(), reader_size());
}

std::vector<int> Layout::ensemble_ranks(int ensemble_id) const
{
    return consecutive(ensemble_id * ensemble_size(), ensemble_size());
}

std::vector<int> Layout::subgroup_ranks(int subgroup_id) const
{
    const int first = subgroup_id / model_size() * ensemble_size() + subgroup_id % model_size();
    std::vector<int> ranks;
    for (int member = 0; member < subgroup_size(); ++member)
        ranks.push_back(first + member * model_size());
    return ranks;
}

int64_t Layout::effective_batch(int64_t batch_per_replica, int64_t accumulation) const
{
    GRADWIND_CHECK(batch_per_replica >= 1 && accumulation >= 1, ConfigError,
                   "[layout] batch size and accumulation must be at least 1, found {} and {}", batch_per_replica,
                   accumulation);
    return batch_per_replica * replicas() * accumulation;
}

LayoutOptions parse_world(std::string_view text)
{
    const size_t cross = text.find('x');
    LayoutOptions options;
    if (cross != std::string_view::npos)
        options.nodes = positive(text.substr(0, cross));
    options.gpus_per_node = positive(cross == std::string_view::npos ? text : text.substr(cross + 1));
    GRADWIND_CHECK(options.nodes > 0 && options.gpus_per_node > 0, ConfigError,
                   "[layout] world `{}` is not understood: write nodes x GPUs per node, as in 8x4, or one number",
                   text);
    return options;
}

} // namespace gradwind::parallel
