// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Node sets, edge sets and their attributes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace gradwind::graph
{

/// Values per node or edge, row-major [n_rows, n_cols]. Masks hold 0 and 1.
struct Attribute {
    int64_t n_rows = 0;
    int64_t n_cols = 1;
    std::vector<float> values;
};

struct NodeSet {
    std::string name;
    std::vector<float> lat_rad; ///< radians, rounded to single precision (spec §1.1)
    std::vector<float> lon_rad;
    std::map<std::string, Attribute> attributes;
    [[nodiscard]] int64_t size() const { return static_cast<int64_t>(lat_rad.size()); }
};

/// Edges from the nodes of one set to those of another (or the same), in the order in which the builder made them.
struct EdgeSet {
    std::string source;
    std::string target;
    std::vector<int32_t> src;
    std::vector<int32_t> dst;
    std::map<std::string, Attribute> attributes;
    [[nodiscard]] int64_t size() const { return static_cast<int64_t>(src.size()); }
};

struct Graph {
    std::vector<NodeSet> nodes;
    std::vector<EdgeSet> edges;
    [[nodiscard]] bool has_nodes(const std::string& name) const;
    /// @throws ConfigError naming the sets that exist
    [[nodiscard]] const NodeSet& node_set(const std::string& name) const;
    [[nodiscard]] NodeSet& node_set(const std::string& name);
    /// nullptr if the graph has no edges of that type.
    [[nodiscard]] const EdgeSet* edge_set(const std::string& source, const std::string& target) const;
};

/// The values of a node attribute read as a mask. @throws ConfigError naming the attributes that the set has
[[nodiscard]] std::vector<uint8_t> node_mask(const NodeSet& nodes, const std::string& attribute);

/// Edges in the order in which the model keeps them (spec §1.9): by destination, otherwise as they were.
struct SortedEdges {
    std::vector<int32_t> src;
    std::vector<int32_t> dst;
    std::vector<int32_t> permutation; ///< sorted edge i is edge permutation[i] of the set
};
[[nodiscard]] SortedEdges sort_by_destination(const EdgeSet& edges);

/// Keeps the nodes whose mask is not 0, the edges between kept nodes, and the rows of all attributes that belong to
/// them.
void keep_nodes(Graph& graph, const std::string& set, const std::vector<uint8_t>& mask);

/// Keeps the edges with the given numbers, in that order, with their attributes.
void select_edges(EdgeSet& edges, const std::vector<int64_t>& numbers);

struct ReadGraphOptions {
    std::string prefix; ///< of every tensor's name, e.g. "variant."
    /// What to do about edges that name a node below 0 or beyond the last, as anemoi-graphs writes for HEALPix.
    enum class InvalidEdges { Refuse, Drop } invalid_edges = InvalidEdges::Refuse;
};

/// Reads a graph in safetensors: `nodes.<set>.latlon`, `nodes.<set>.<attribute>`, `edges.<source>.<target>.edge_index`,
/// `edges.<source>.<target>.<attribute>`. The order of nodes and edges is kept; sets come in the order of their names.
/// @throws DataError for names, shapes, coordinates or node numbers that do not fit
[[nodiscard]] Graph read_graph(const std::filesystem::path& path, const ReadGraphOptions& options = {});

/// Writes what read_graph reads; the file is complete or absent. @throws DataError if it cannot be written
void write_graph(const Graph& graph, const std::filesystem::path& path);

} // namespace gradwind::graph
