// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How a graph enters a network: coordinates, edge attributes and trainable tensors (spec §1.9).
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/ops/edge_index.h"

#include <torch/nn/module.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::model
{

/// Features of every node set: sine and cosine of latitude and longitude, then trainable columns.
class NodeAttributes : public torch::nn::Module
{
public:
    /// Adds a node set with `n_trainable` trainable columns, which start at zero.
    void add(const graph::NodeSet& nodes, int64_t n_trainable);
    /// [copies * n_nodes, 4 + n_trainable], copy by copy.
    [[nodiscard]] at::Tensor forward(const std::string& name, int64_t copies) const;
    /// [n_nodes, 4]: sin lat, sin lon, cos lat, cos lon.
    [[nodiscard]] at::Tensor coordinates(const std::string& name) const;
    /// [n_nodes, n_trainable]; undefined without trainable columns.
    [[nodiscard]] at::Tensor trainable(const std::string& name) const;
    [[nodiscard]] int64_t width(const std::string& name) const;
    void reset();

private:
    struct Entry {
        at::Tensor latlons;
        at::Tensor trainable;
    };
    std::map<std::string, Entry> entries_;
    std::shared_ptr<torch::nn::Module> trainables_;
};

/// The edges of a forward pass: `chunks` cover the edge list in order, each with its node indices.
struct EdgeInputs {
    std::vector<ops::EdgeIndex> chunks;
    at::Tensor features; ///< [n_edges, width], one row per edge of one copy
    int64_t copies = 1;
};

/// One edge set, sorted by destination, with its attributes and trainable columns.
class EdgeProvider : public torch::nn::Module
{
public:
    /// @param attributes names of the edge attributes to use, in order
    /// @throws ConfigError naming an attribute that the graph does not have
    EdgeProvider(const graph::EdgeSet& edges, int64_t n_src, int64_t n_dst, const std::vector<std::string>& attributes,
                 int64_t n_trainable);
    [[nodiscard]] int64_t width() const;
    /// Edges for `copies` copies of the graph, cut into `n_chunks`; features have type and device of `like`.
    [[nodiscard]] EdgeInputs forward(int64_t copies, int64_t n_chunks, const at::Tensor& like);
    void reset();

private:
    const std::vector<ops::EdgeIndex>& chunks(int64_t copies, int64_t n_chunks, at::Device device);

    ops::EdgeIndex edges_;
    at::Tensor attributes_; ///< [n_edges, columns], sorted by destination; not part of the state
    at::Tensor trainable_;
    std::map<std::pair<int64_t, int64_t>, std::vector<ops::EdgeIndex>> chunks_; ///< by copies and number of chunks
};

} // namespace gradwind::model
