// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Builds a graph from the `graph:` section of a configuration.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/graph/graph.h"
#include "gradwind/grid/coordinates.h"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace gradwind::graph
{

/// What a graph section refers to and does not hold.
struct GraphInputs {
    /// Coordinates of a data set, for AnemoiDatasetNodes; the argument is its `dataset` option (a path or a map).
    std::function<grid::Coordinates(const Config& dataset_option)> dataset_coordinates = {};
    /// Points of each of the grids that a data set puts one behind the other, for CutOutMask and GridsMask.
    std::function<std::vector<int64_t>(const Config& dataset_option)> dataset_grids = {};
    /// A variable of a data set's first date, one value per cell, for attributes that are fields.
    std::function<std::vector<float>(const Config& dataset_option, const std::string& variable)> dataset_values = {};
    /// Node sets that are taken as they are instead of running their node builder; attributes of the section are added.
    std::map<std::string, NodeSet> given_nodes = {};
};

/// Wall time of a part of the work, e.g. "nodes hidden: TriNodes", and how many nodes, edges or values came of it.
struct BuildStep {
    std::string name;
    double seconds = 0;
    int64_t count = 0;
};

/// What a build tells beside the graph.
struct BuildReport {
    std::vector<BuildStep> steps;
    std::map<std::string, double> reference_distances; ///< chord, for the node sets where a builder needed it
};

/// Node sets with their attributes, then edge sets with theirs, then post-processors (spec §1.1). Deterministic: the
/// result does not depend on the number of threads, and ties in distance go to the smaller index.
/// @param graph_section  map with `nodes`, `edges` and optionally `post_processors`; references already resolved
/// @throws ConfigError naming key, file and line for what cannot be built; DataError for bad coordinates
[[nodiscard]] Graph build_graph(const Config& graph_section, const GraphInputs& inputs, BuildReport* report = nullptr);

/// SHA-256 (hexadecimal) of everything that determines the graph: the section, the coordinates of its data sets, the
/// given node sets and the version of the builders.
[[nodiscard]] std::string graph_key(const Config& graph_section, const GraphInputs& inputs);

/// The graph of this key from the cache folder, or built and added to it. Several processes may do this at once; a
/// damaged cache file is replaced.
[[nodiscard]] Graph load_or_build(const Config& graph_section, const GraphInputs& inputs,
                                  const std::filesystem::path& cache_folder);

} // namespace gradwind::graph
