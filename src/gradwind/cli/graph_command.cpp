// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/graph_command.h"

#include "gradwind/core/config_loader.h"
#include "gradwind/core/error.h"
#include "gradwind/graph/build.h"
#include "gradwind/graph/statistics.h"
#include "gradwind/train/graph_inputs.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sys/resource.h>

namespace gradwind::cli
{

namespace
{

using graph::AttributeSummary;
using graph::Range;
using nlohmann::json;

json to_json(const Range& range)
{
    return {{"min", range.min}, {"mean", range.mean}, {"max", range.max}};
}

json to_json(const std::vector<AttributeSummary>& attributes)
{
    json result = json::object();
    for (const AttributeSummary& attribute : attributes)
        result[attribute.name] = {{"columns", attribute.n_cols}, {"values", to_json(attribute.values)}};
    return result;
}

json to_json(const graph::GraphSummary& summary)
{
    json nodes = json::array();
    for (const graph::NodeSummary& set : summary.nodes)
        nodes.push_back({{"name", set.name},
                         {"count", set.count},
                         {"latitude_degrees", to_json(set.lat_deg)},
                         {"longitude_degrees", to_json(set.lon_deg)},
                         {"unconnected", set.unconnected},
                         {"attributes", to_json(set.attributes)}});
    json edges = json::array();
    for (const graph::EdgeSummary& set : summary.edges)
        edges.push_back({{"source", set.source},
                         {"target", set.target},
                         {"count", set.count},
                         {"length_km", to_json(set.length_km)},
                         {"edges_per_target", to_json(set.edges_per_target)},
                         {"edges_per_source", to_json(set.edges_per_source)},
                         {"targets_without_edges", set.targets_without_edges},
                         {"sources_without_edges", set.sources_without_edges},
                         {"attributes", to_json(set.attributes)}});
    return {{"nodes", nodes}, {"edges", edges}};
}

std::string text(const Range& range)
{
    return fmt::format("{:.6g} to {:.6g}, mean {:.6g}", range.min, range.max, range.mean);
}

void print_attributes(const std::vector<AttributeSummary>& attributes, std::ostream& out)
{
    for (const AttributeSummary& attribute : attributes)
        out << fmt::format("  {} [{}]: {}\n", attribute.name, attribute.n_cols, text(attribute.values));
}

void print(const graph::GraphSummary& summary, std::ostream& out)
{
    for (const graph::NodeSummary& set : summary.nodes) {
        out << fmt::format("nodes {}: {}, {} without any edge\n", set.name, set.count, set.unconnected);
        out << fmt::format("  latitude {}; longitude {} degrees\n", text(set.lat_deg), text(set.lon_deg));
        print_attributes(set.attributes, out);
    }
    for (const graph::EdgeSummary& set : summary.edges) {
        out << fmt::format("edges {} to {}: {}\n", set.source, set.target, set.count);
        out << fmt::format("  length {} km\n", text(set.length_km));
        out << fmt::format("  per target {}; {} targets have none\n", text(set.edges_per_target),
                           set.targets_without_edges);
        out << fmt::format("  per source {}; {} sources have none\n", text(set.edges_per_source),
                           set.sources_without_edges);
        print_attributes(set.attributes, out);
    }
}

int64_t peak_memory_bytes()
{
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return int64_t{usage.ru_maxrss} * 1024;
}

/// The `graph:` section, or the whole file if that is one.
Config graph_section(const GraphCommand& command)
{
    const Config config = load_config({command.config_or_graph, command.overrides});
    if (config.has("graph.nodes"))
        return config.at("graph");
    GRADWIND_CHECK(config.has("nodes"), ConfigError,
                   "[graph] {} has neither a `graph:` section with `nodes` nor `nodes` itself",
                   command.config_or_graph.string());
    return config;
}

void create(const GraphCommand& command, std::ostream& out)
{
    GRADWIND_CHECK(!command.output.empty(), ConfigError,
                   "[graph] say where to write the graph, e.g. --output graph.safetensors");
    const Config section = graph_section(command);
    const auto begin = std::chrono::steady_clock::now();
    graph::BuildReport report;
    const graph::Graph built = graph::build_graph(section, train::graph_inputs(), &report);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    graph::write_graph(built, command.output);
    if (command.format == GraphCommand::Format::Json) {
        json steps = json::array();
        for (const graph::BuildStep& step : report.steps)
            steps.push_back({{"name", step.name}, {"seconds", step.seconds}, {"count", step.count}});
        out << json{{"output", command.output.string()},
                    {"seconds", seconds},
                    {"peak_memory_bytes", peak_memory_bytes()},
                    {"steps", steps},
                    {"reference_distances", report.reference_distances}}
                   .dump(2)
            << "\n";
        return;
    }
    for (const graph::BuildStep& step : report.steps)
        out << fmt::format("{:8.3f} s {:>10}  {}\n", step.seconds, step.count, step.name);
    out << fmt::format("{:8.3f} s in all, peak memory {:.0f} MiB, written to {}\n", seconds,
                       static_cast<double>(peak_memory_bytes()) / (1 << 20), command.output.string());
}

void inspect(const GraphCommand& command, std::ostream& out)
{
    const graph::GraphSummary summary = graph::summarise(graph::read_graph(command.config_or_graph));
    if (command.format == GraphCommand::Format::Json)
        out << to_json(summary).dump(2) << "\n";
    else
        print(summary, out);
}

void cut(const GraphCommand& command, std::ostream& out)
{
    const auto cuts = cut_graph(graph::read_graph(command.config_or_graph), command.cut);
    if (command.format == GraphCommand::Format::Json)
        out << to_json(cuts).dump(2) << "\n";
    else
        print_cuts(cuts, command.cut, out);
}

} // namespace

int run(const GraphCommand& command, std::ostream& out)
{
    if (command.action == GraphCommand::Action::Create)
        create(command, out);
    else if (command.action == GraphCommand::Action::Cut)
        cut(command, out);
    else
        inspect(command, out);
    return 0;
}

} // namespace gradwind::cli
