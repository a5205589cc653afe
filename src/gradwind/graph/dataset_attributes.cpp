// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Node attributes that come from the data set whose cells the nodes are (spec §1.6).
#include <cmath>
#include <fmt/ranges.h>
#include <numeric>

#include "gradwind/core/error.h"
#include "gradwind/graph/builder.h"

namespace gradwind::graph::detail
{

namespace
{

/// The data set option of a node set.
const Config& dataset_of(Builder& builder, const NodeSet& nodes, const Config& config, bool can_read)
{
    const std::optional<Config>& dataset = builder.geometry_of(nodes.name).dataset;
    GRADWIND_CHECK(dataset.has_value(), ConfigError,
                   "[graph] {} needs nodes that AnemoiDatasetNodes made; `{}` was made otherwise", config.where(),
                   nodes.name);
    GRADWIND_CHECK(can_read, ConfigError, "[graph] {} reads a data set, but none is at hand here", config.where());
    return *dataset;
}

} // namespace

std::vector<double> dataset_field(Builder& builder, const NodeSet& nodes, const Config& config)
{
    check_keys(config, {"variable", "norm", "dtype"});
    const auto& read = builder.inputs.dataset_values;
    const Config& dataset = dataset_of(builder, nodes, config, static_cast<bool>(read));
    const std::vector<float> values = read(dataset, config.get<std::string>("variable"));
    GRADWIND_CHECK(static_cast<int64_t>(values.size()) == nodes.size(), DataError,
                   "[graph] {}: expected one value for each of the {} nodes of `{}`, found {}", config.where(),
                   nodes.size(), nodes.name, values.size());
    return {values.begin(), values.end()};
}

std::vector<double> grid_membership(Builder& builder, const NodeSet& nodes, const Config& config,
                                    const std::vector<int64_t>& grids)
{
    const auto& read = builder.inputs.dataset_grids;
    const std::vector<int64_t> sizes = read(dataset_of(builder, nodes, config, static_cast<bool>(read)));
    const auto n_grids = static_cast<int64_t>(sizes.size());
    GRADWIND_CHECK(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) == nodes.size(), DataError,
                   "[graph] {}: the grids of the data set have {} points, `{}` has {} nodes", config.where(),
                   fmt::join(sizes, " + "), nodes.name, nodes.size());
    std::vector<double> mask(static_cast<size_t>(nodes.size()), 0);
    for (const int64_t grid : grids) {
        GRADWIND_CHECK(grid >= 0 && grid < n_grids, ConfigError,
                       "[graph] {}: expected grids from 0 to {}, as the data set has {}, found {}", config.where(),
                       n_grids - 1, n_grids, grid);
        const auto begin = std::accumulate(sizes.begin(), sizes.begin() + grid, int64_t{0});
        std::fill_n(mask.begin() + begin, sizes[static_cast<size_t>(grid)], 1.0);
    }
    return mask;
}

} // namespace gradwind::graph::detail
