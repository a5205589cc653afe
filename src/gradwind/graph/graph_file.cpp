// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <numbers>
#include <span>

#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"
#include "gradwind/graph/graph.h"

namespace gradwind::graph
{

namespace
{

constexpr const char* kFormat = "gradwind-graph-1";

/// "nodes.data.area.weight" -> "nodes", "data", "area.weight" for 3 parts. Empty if there are fewer.
std::vector<std::string> split(const std::string& name, size_t n_parts)
{
    std::vector<std::string> parts;
    size_t begin = 0;
    while (parts.size() + 1 < n_parts) {
        const size_t dot = name.find('.', begin);
        if (dot == std::string::npos)
            return {};
        parts.push_back(name.substr(begin, dot - begin));
        begin = dot + 1;
    }
    parts.push_back(name.substr(begin));
    return parts;
}

Attribute read_attribute(const SafetensorsFile& file, const std::string& name, int64_t n_rows)
{
    const TensorInfo& info = file.info(name);
    GRADWIND_CHECK((info.shape.size() == 1 || info.shape.size() == 2) && info.shape[0] == n_rows, DataError,
                   "[graph] {}: `{}` should have {} rows, its shape is [{}]", file.path().string(), name, n_rows,
                   fmt::join(info.shape, ", "));
    return {n_rows, info.shape.size() == 2 ? info.shape[1] : 1, file.values<float>(name)};
}

class Reader
{
public:
    Reader(const std::filesystem::path& path, const ReadGraphOptions& options) : file_(path), options_(options) {}
    Graph read();

private:
    [[nodiscard]] NodeSet nodes(const std::string& set) const;
    [[nodiscard]] EdgeSet edges(const Graph& graph, const std::string& source, const std::string& target) const;
    [[nodiscard]] std::map<std::string, Attribute> attributes(const std::string& prefix, const char* positions,
                                                              int64_t n_rows) const;
    [[nodiscard]] std::string path() const { return file_.path().string(); }

    SafetensorsFile file_;
    const ReadGraphOptions& options_;
};

Graph Reader::read()
{
    Graph graph;
    const size_t skipped = options_.prefix.size();
    for (const auto& [name, info] : file_.tensors()) {
        const std::vector<std::string> parts = split(name.substr(std::min(skipped, name.size())), 3);
        if (name.starts_with(options_.prefix) && !parts.empty() && parts[0] == "nodes" && parts[2] == "latlon")
            graph.nodes.push_back(nodes(parts[1]));
    }
    GRADWIND_CHECK(!graph.nodes.empty(), DataError, "[graph] {} holds no `{}nodes.<set>.latlon`: it is not a graph",
                   path(), options_.prefix);
    for (const auto& [name, info] : file_.tensors()) {
        const std::vector<std::string> parts = split(name.substr(std::min(skipped, name.size())), 4);
        if (name.starts_with(options_.prefix) && !parts.empty() && parts[0] == "edges" && parts[3] == "edge_index")
            graph.edges.push_back(edges(graph, parts[1], parts[2]));
    }
    return graph;
}

std::map<std::string, Attribute> Reader::attributes(const std::string& prefix, const char* positions,
                                                    int64_t n_rows) const
{
    std::map<std::string, Attribute> result;
    for (const auto& [name, info] : file_.tensors()) {
        if (name.starts_with(prefix) && name != prefix + positions)
            result[name.substr(prefix.size())] = read_attribute(file_, name, n_rows);
    }
    return result;
}

NodeSet Reader::nodes(const std::string& set) const
{
    const std::string prefix = options_.prefix + "nodes." + set + ".";
    const std::string name = prefix + "latlon";
    const TensorInfo& info = file_.info(name);
    GRADWIND_CHECK(info.shape.size() == 2 && info.shape[1] == 2 && info.shape[0] > 0, DataError,
                   "[graph] {}: `{}` should be [nodes, 2] (latitude, longitude in radians), its shape is [{}]", path(),
                   name, fmt::join(info.shape, ", "));
    const std::vector<float> values = file_.values<float>(name);
    NodeSet nodes;
    nodes.name = set;
    for (size_t i = 0; i < values.size(); i += 2) {
        const bool valid = std::abs(values[i]) <= std::numbers::pi / 2 + 1e-5 && std::isfinite(values[i + 1]);
        GRADWIND_CHECK(valid, DataError,
                       "[graph] {}: node {} of set `{}` is at latitude {}, longitude {}; expected radians", path(),
                       i / 2, set, values[i], values[i + 1]);
        nodes.lat_rad.push_back(values[i]);
        nodes.lon_rad.push_back(values[i + 1]);
    }
    nodes.attributes = attributes(prefix, "latlon", nodes.size());
    return nodes;
}

EdgeSet Reader::edges(const Graph& graph, const std::string& source, const std::string& target) const
{
    const std::string prefix = options_.prefix + "edges." + source + "." + target + ".";
    const std::string name = prefix + "edge_index";
    for (const std::string& end : {source, target}) {
        GRADWIND_CHECK(graph.has_nodes(end), DataError,
                       "[graph] {}: `{}` joins node set `{}`, which the file does not hold", path(), name, end);
    }
    const TensorInfo& info = file_.info(name);
    GRADWIND_CHECK(info.shape.size() == 2 && info.shape[0] == 2, DataError,
                   "[graph] {}: `{}` should be [2, edges], its shape is [{}]", path(), name,
                   fmt::join(info.shape, ", "));
    const std::vector<int64_t> values = file_.values<int64_t>(name);
    const size_t n_edges = values.size() / 2;
    const int64_t n_sources = graph.node_set(source).size();
    const int64_t n_targets = graph.node_set(target).size();
    EdgeSet edges{source, target, {}, {}, attributes(prefix, "edge_index", static_cast<int64_t>(n_edges))};
    std::vector<int64_t> valid;
    for (size_t e = 0; e < n_edges; ++e) {
        const int64_t src = values[e];
        const int64_t dst = values[n_edges + e];
        const bool exists = src >= 0 && src < n_sources && dst >= 0 && dst < n_targets;
        GRADWIND_CHECK(exists || options_.invalid_edges == ReadGraphOptions::InvalidEdges::Drop, DataError,
                       "[graph] {}: edge {} of `{}` joins nodes {} and {}, but `{}` has {} nodes and `{}` {}", path(),
                       e, name, src, dst, source, n_sources, target, n_targets);
        edges.src.push_back(static_cast<int32_t>(src));
        edges.dst.push_back(static_cast<int32_t>(dst));
        if (exists)
            valid.push_back(static_cast<int64_t>(e));
    }
    if (valid.size() < n_edges)
        select_edges(edges, valid);
    return edges;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values)
{
    return std::as_bytes(std::span(values));
}

/// Keeps what the tensors of a file point to until they are written.
struct Storage {
    std::vector<std::vector<float>> floats;
    std::vector<std::vector<int64_t>> integers;
    std::vector<TensorBytes> tensors;

    void add_attributes(const std::string& prefix, const std::map<std::string, Attribute>& attributes)
    {
        for (const auto& [name, attribute] : attributes)
            tensors.push_back(
                {prefix + name, DType::F32, {attribute.n_rows, attribute.n_cols}, bytes_of(attribute.values)});
    }
};

} // namespace

Graph read_graph(const std::filesystem::path& path, const ReadGraphOptions& options)
{
    return Reader(path, options).read();
}

void write_graph(const Graph& graph, const std::filesystem::path& path)
{
    Storage storage;
    storage.floats.reserve(graph.nodes.size());
    storage.integers.reserve(graph.edges.size());
    for (const NodeSet& nodes : graph.nodes) {
        GRADWIND_CHECK(nodes.name.find('.') == std::string::npos, ConfigError,
                       "[graph] the name of a node set must not contain a dot, got `{}`", nodes.name);
        std::vector<float>& latlon = storage.floats.emplace_back();
        latlon.reserve(2 * nodes.lat_rad.size());
        for (size_t i = 0; i < nodes.lat_rad.size(); ++i) {
            latlon.push_back(nodes.lat_rad[i]);
            latlon.push_back(nodes.lon_rad[i]);
        }
        const std::string prefix = "nodes." + nodes.name + ".";
        storage.tensors.push_back({prefix + "latlon", DType::F32, {nodes.size(), 2}, bytes_of(latlon)});
        storage.add_attributes(prefix, nodes.attributes);
    }
    for (const EdgeSet& edges : graph.edges) {
        std::vector<int64_t>& index = storage.integers.emplace_back(edges.src.begin(), edges.src.end());
        index.insert(index.end(), edges.dst.begin(), edges.dst.end());
        const std::string prefix = "edges." + edges.source + "." + edges.target + ".";
        storage.tensors.push_back({prefix + "edge_index", DType::I64, {2, edges.size()}, bytes_of(index)});
        storage.add_attributes(prefix, edges.attributes);
    }
    write_safetensors(path, storage.tensors, {{"format", kFormat}});
}

} // namespace gradwind::graph
