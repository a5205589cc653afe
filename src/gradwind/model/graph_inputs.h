// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How a graph enters a network: coordinates, edge attributes and trainable tensors (spec §1.9).
#pragma once
#include "gradwind/graph/graph.h"
#include "gradwind/model/shared_work.h"
#include "gradwind/ops/checkpoint.h"
#include "gradwind/ops/edge_index.h"
#include "gradwind/parallel/autograd.h"
#include "gradwind/parallel/sharding.h"

#include <torch/nn/module.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::model
{

/// Features of every node set: sine and cosine of latitude and longitude, then trainable columns.
///
/// Parameters and buffers hold all nodes whatever the sharding; what is returned are the rows that this rank owns, so
/// that the sum of the ranks' gradients is the gradient.
class NodeAttributes : public torch::nn::Module
{
public:
    /// Adds a node set with `n_trainable` trainable columns, which start at zero.
    void add(const graph::NodeSet& nodes, int64_t n_trainable, const parallel::RowSet& own_rows = {});
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
        parallel::RowSet own;
    };
    std::map<std::string, Entry> entries_;
    std::shared_ptr<torch::nn::Module> trainables_;
};

/// Who owns which source and destination rows of one copy.
struct NodeSharing {
    parallel::Group group;
    parallel::Partition sources, destinations;
};

/// The edges of a forward pass that arrive at this rank's nodes: `chunks` cover the edge list in order, each with its
/// node indices. Their sources are the rows that `sources` makes of the rank's own.
struct EdgeInputs {
    std::vector<ops::EdgeIndex> chunks;
    at::Tensor features; ///< [n_edges, width], one row per edge of one copy
    int64_t copies = 1;
    parallel::HaloExchange sources = {}; ///< [copies * n_owned, ...] to [n_src, ...]; the identity unless sharded
    /// With ShardStrategy::Heads chunks and features are those of all nodes, whoever owns them. Never null in a model.
    std::shared_ptr<const NodeSharing> sharing = nullptr;

    /// The same for a part that ops::region runs in that mode: what it receives in its first run serves the second.
    /// The part calls `sources.begin_run()` first.
    [[nodiscard]] EdgeInputs for_region(ops::Intermediates mode) const;
};

/// One edge set, sorted by destination, with its attributes and trainable columns.
///
/// The trainable tensor holds all edges whatever the sharding; this rank uses the rows of its own edges.
class EdgeProvider : public torch::nn::Module
{
public:
    /// @param attributes names of the edge attributes to use, in order
    /// @throws ConfigError naming an attribute that the graph does not have
    EdgeProvider(const graph::EdgeSet& edges, int64_t n_src, int64_t n_dst, const std::vector<std::string>& attributes,
                 int64_t n_trainable, const parallel::Sharding& sharding = {},
                 ShardStrategy strategy = ShardStrategy::Edges);
    [[nodiscard]] int64_t width() const;
    /// Edges for `copies` copies of the graph, cut into `n_chunks`; features have type and device of `like`.
    [[nodiscard]] EdgeInputs forward(int64_t copies, int64_t n_chunks, const at::Tensor& like);
    void reset();

private:
    const std::vector<ops::EdgeIndex>& chunks(int64_t copies, int64_t n_chunks, at::Device device);
    const parallel::HaloExchange& exchange(int64_t copies, at::Device device);

    std::shared_ptr<const NodeSharing> sharing_;
    parallel::Group group_; ///< that exchanges halos
    parallel::ExchangePlan plan_;
    parallel::RowSet own_edges_;
    at::Tensor attributes_; ///< [n_edges, columns], sorted by destination; not part of the state
    at::Tensor trainable_;  ///< [all edges, columns]
    std::map<std::pair<int64_t, int64_t>, std::vector<ops::EdgeIndex>> chunks_; ///< by copies and number of chunks
    struct Exchange {
        at::Device device;
        parallel::HaloExchange sources;
    };
    std::map<int64_t, Exchange> exchanges_; ///< by copies
};

} // namespace gradwind::model
