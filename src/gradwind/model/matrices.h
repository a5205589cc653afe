// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Matrices between grids, as a configuration names them: files, edges of the graph, or given ones.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/graph/graph.h"
#include "gradwind/grid/sparse_matrix.h"
#include "gradwind/ops/projection.h"

#include <optional>
#include <string>

namespace gradwind::model
{

struct MatrixSources {
    const graph::Graph& graph;
    grid::MatrixByName given = {};
};

/// Whether the rows of a matrix are made to add up to one.
enum class MatrixRows { AsGiven, Normalised };

/// Where a configuration has a matrix. Keys that are null count as absent.
struct MatrixRequest {
    Config section; ///< for messages
    std::optional<Config> file;
    std::optional<Config> edges;  ///< [source, relation, target]: a row for each target node
    std::string weight_attribute; ///< of those edges; empty: ones
    std::string node_attribute;   ///< of the source nodes, multiplied in; empty: none
    MatrixRows rows = MatrixRows::AsGiven;
};

/// The matrix of a request; nothing if it names neither file nor edges.
/// @throws ConfigError if it names both, or edges or attributes that the graph does not have; DataError from the file
[[nodiscard]] std::optional<grid::SparseMatrix> find_matrix(const MatrixRequest& request, const MatrixSources& sources);

[[nodiscard]] ops::Projection projection_of(const grid::SparseMatrix& matrix);

} // namespace gradwind::model
