// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <memory>
#include <openssl/evp.h>
#include <span>

#include "gradwind/core/error.h"
#include "gradwind/graph/build.h"

#include <nlohmann/json.hpp>

namespace gradwind::graph
{

namespace
{

// Raise whenever a builder gives another graph for the same input.
constexpr const char* kBuildersVersion = "gradwind graph builders 1";

class Digest
{
public:
    Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free)
    {
        GRADWIND_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, InternalError,
                       "[graph] SHA-256 is not available in this OpenSSL");
    }
    template <class Values>
    void add(const Values& values)
    {
        const auto bytes = std::as_bytes(std::span(values));
        const auto size = static_cast<uint64_t>(bytes.size()); // so that neighbouring parts cannot be confused
        EVP_DigestUpdate(context_.get(), &size, sizeof size);
        EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
    }
    std::string hex()
    {
        std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
        unsigned size = 0;
        EVP_DigestFinal_ex(context_.get(), hash.data(), &size);
        std::string text;
        for (unsigned i = 0; i < size; ++i)
            text += fmt::format("{:02x}", hash[i]);
        return text;
    }

private:
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

std::string text_of(const Config& config, const char* key)
{
    return config.has(key) ? config.at(key).to_json().dump() : std::string();
}

void add_nodes(Digest& digest, const NodeSet& nodes)
{
    digest.add(nodes.lat_rad);
    digest.add(nodes.lon_rad);
    for (const auto& [name, attribute] : nodes.attributes) {
        digest.add(name);
        digest.add(attribute.values);
    }
}

/// What attributes read from the data set of their nodes; masks may hold others.
void add_attribute(Digest& digest, const Config& attribute, const Config& dataset, const GraphInputs& inputs)
{
    if (!attribute.is_map())
        return;
    const std::string target = attribute.target();
    if (attribute.has("variable") && inputs.dataset_values)
        digest.add(inputs.dataset_values(dataset, attribute.get<std::string>("variable")));
    if ((target == "CutOutMask" || target == "GridsMask") && inputs.dataset_grids)
        digest.add(inputs.dataset_grids(dataset));
    if (!attribute.has("masks"))
        return;
    const Config masks = attribute.at("masks");
    for (const Config& mask : masks.is_list() ? masks.items() : std::vector<Config>{masks})
        add_attribute(digest, mask, dataset, inputs);
}

} // namespace

std::string graph_key(const Config& graph_section, const GraphInputs& inputs)
{
    Digest digest;
    digest.add(std::string(kBuildersVersion));
    for (const char* key : {"nodes", "edges", "post_processors"})
        digest.add(text_of(graph_section, key));
    const Config nodes = graph_section.at("nodes");
    for (const std::string& name : nodes.keys()) {
        digest.add(name);
        const auto given = inputs.given_nodes.find(name);
        if (given != inputs.given_nodes.end()) {
            add_nodes(digest, given->second);
        } else if (nodes.has(name + ".node_builder.dataset") && inputs.dataset_coordinates &&
                   nodes.at(name + ".node_builder").target() == "AnemoiDatasetNodes") {
            const grid::Coordinates coordinates = inputs.dataset_coordinates(nodes.at(name + ".node_builder.dataset"));
            digest.add(coordinates.lat_deg);
            digest.add(coordinates.lon_deg);
            if (nodes.has(name + ".attributes"))
                for (const Config& attribute : nodes.at(name + ".attributes").items())
                    add_attribute(digest, attribute, nodes.at(name + ".node_builder.dataset"), inputs);
        }
    }
    return digest.hex();
}

Graph load_or_build(const Config& graph_section, const GraphInputs& inputs, const std::filesystem::path& cache_folder)
{
    const std::filesystem::path path = cache_folder / ("graph-" + graph_key(graph_section, inputs) + ".safetensors");
    if (std::filesystem::exists(path)) {
        try {
            return read_graph(path);
        } catch (const DataError&) {
            // Damaged from outside: what this program writes is complete or absent. It is built anew.
        }
    }
    const Graph graph = build_graph(graph_section, inputs);
    std::error_code error;
    std::filesystem::create_directories(cache_folder, error);
    GRADWIND_CHECK(!error, DataError, "[graph] cannot make the cache folder {}: {}", cache_folder.string(),
                   error.message());
    write_graph(graph, path);
    return read_graph(path); // in the same order of sets as from the cache
}

} // namespace gradwind::graph
