// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A small graph and the configuration of a small network on it.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/variables.h"
#include "gradwind/graph/graph.h"
#include "gradwind/model/model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

namespace gradwind::test
{

inline graph::NodeSet scattered_nodes(const std::string& name, int64_t n, uint32_t seed)
{
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> unit(-1.F, 1.F);
    graph::NodeSet nodes;
    nodes.name = name;
    for (int64_t i = 0; i < n; ++i) {
        nodes.lat_rad.push_back(1.5F * unit(random));
        nodes.lon_rad.push_back(3.F * unit(random));
    }
    return nodes;
}

/// Random edges, several per destination, in no particular order.
inline graph::EdgeSet random_edges(const std::string& source, const std::string& target, int64_t n_src, int64_t n_dst,
                                   int64_t n_edges, uint32_t seed)
{
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> unit(-1.F, 1.F);
    graph::EdgeSet edges;
    edges.source = source;
    edges.target = target;
    graph::Attribute length{n_edges, 1, {}}, dirs{n_edges, 2, {}};
    for (int64_t e = 0; e < n_edges; ++e) {
        edges.src.push_back(int32_t(random() % uint32_t(n_src)));
        edges.dst.push_back(int32_t(random() % uint32_t(n_dst)));
        length.values.push_back(unit(random));
        dirs.values.push_back(unit(random));
        dirs.values.push_back(unit(random));
    }
    edges.attributes = {{"edge_length", length}, {"edge_dirs", dirs}};
    return edges;
}

inline graph::Graph small_graph()
{
    constexpr int64_t n_data = 13, n_hidden = 7;
    graph::Graph graph;
    graph.nodes = {scattered_nodes("data", n_data, 1), scattered_nodes("hidden", n_hidden, 2)};
    graph.edges = {random_edges("data", "hidden", n_data, n_hidden, 29, 3),
                   random_edges("hidden", "hidden", n_hidden, n_hidden, 31, 4),
                   random_edges("hidden", "data", n_hidden, n_data, 37, 5)};
    return graph;
}

inline VariableTable small_variables()
{
    return {{"a", "f", "b", "d"}, std::vector<std::string>{"f"}, std::vector<std::string>{"d"}};
}

inline nlohmann::json small_section()
{
    const nlohmann::json part = {{"trainable_size", 2}, {"gradient_checkpointing", false}};
    auto encoder = part, decoder = part, processor = part;
    encoder["_target_"] = "anemoi.models.layers.mapper.GNNForwardMapper";
    decoder["_target_"] = "anemoi.models.layers.mapper.GNNBackwardMapper";
    processor["_target_"] = "anemoi.models.layers.processor.GNNProcessor";
    processor["num_layers"] = 4;
    return {{"num_channels", 8},
            {"node_trainable_parameters", {{"data", 3}, {"hidden", 2}}},
            {"encoders", {{"0", {{"mapper", encoder}}}}},
            {"decoders", {{"0", {{"mapper", decoder}}}}},
            {"processor", processor}};
}

/// Every parameter drawn anew, those that start at 0 or 1 too.
inline void randomise(torch::nn::Module& network)
{
    at::manual_seed(7);
    const at::NoGradGuard no_gradients;
    for (auto& parameter : network.parameters())
        parameter.copy_(at::randn(parameter.sizes(), at::kDouble).mul(0.4));
}

inline std::shared_ptr<model::ForecastModel> small_network(const nlohmann::json& section, const graph::Graph& graph,
                                                           at::ScalarType dtype = at::kDouble)
{
    const auto variables = small_variables();
    auto network = model::build_model(Config::from_json(section, "test"), {.graph = graph,
                                                                           .variables = variables,
                                                                           .statistics = nullptr,
                                                                           .n_step_input = 2,
                                                                           .n_step_output = 2,
                                                                           .dataset_name = "data"});
    network->to(dtype);
    randomise(*network);
    return network;
}

} // namespace gradwind::test
