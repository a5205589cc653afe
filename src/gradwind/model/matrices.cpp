// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/matrices.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

namespace
{

/// The single column of an attribute.
const std::vector<float>& column_of(const std::map<std::string, graph::Attribute>& attributes, const std::string& name,
                                    const Config& section)
{
    std::vector<std::string> known;
    for (const auto& [other, attribute] : attributes)
        known.push_back(other);
    const auto found = attributes.find(name);
    GRADWIND_CHECK(found != attributes.end() && found->second.n_cols == 1, ConfigError,
                   "[model] {}: the graph has no attribute `{}` of one column there{}", section.where(), name,
                   did_you_mean(name, known));
    return found->second.values;
}

grid::SparseMatrix matrix_of_edges(const MatrixRequest& request, const graph::Graph& graph)
{
    const auto names = request.edges->as<std::vector<std::string>>();
    GRADWIND_CHECK(names.size() == 3, ConfigError, "[model] {} must be [source, relation, target], found {} names",
                   request.edges->where(), names.size());
    const auto* edges = graph.edge_set(names[0], names[2]);
    GRADWIND_CHECK(edges != nullptr, ConfigError, "[model] {}: the graph has no edges {} -> {}; add an edge builder",
                   request.edges->where(), names[0], names[2]);
    const auto& sources = graph.node_set(names[0]);
    grid::SparseMatrix matrix;
    matrix.n_rows = graph.node_set(names[2]).size();
    matrix.n_cols = sources.size();
    matrix.row_ptr.assign(size_t(matrix.n_rows) + 1, 0);
    const auto* weight = request.weight_attribute.empty()
                             ? nullptr
                             : &column_of(edges->attributes, request.weight_attribute, request.section);
    const auto* factor = request.node_attribute.empty()
                             ? nullptr
                             : &column_of(sources.attributes, request.node_attribute, request.section);
    for (const auto e : ops::order_by_destination(edges->dst, matrix.n_rows)) {
        const auto source = size_t(edges->src[size_t(e)]);
        ++matrix.row_ptr[size_t(edges->dst[size_t(e)]) + 1];
        matrix.col.push_back(int64_t(source));
        matrix.values.push_back(double((weight ? (*weight)[size_t(e)] : 1.0F) * (factor ? (*factor)[source] : 1.0F)));
    }
    for (size_t row = 0; row < size_t(matrix.n_rows); ++row)
        matrix.row_ptr[row + 1] += matrix.row_ptr[row];
    return matrix;
}

bool is_set(const std::optional<Config>& value)
{
    return value && !value->is_null();
}

} // namespace

std::optional<grid::SparseMatrix> find_matrix(const MatrixRequest& request, const MatrixSources& sources)
{
    GRADWIND_CHECK(!is_set(request.file) || !is_set(request.edges), ConfigError,
                   "[model] {} and {} both give a matrix; keep one", request.file->where(), request.edges->where());
    std::optional<grid::SparseMatrix> matrix;
    if (is_set(request.file)) {
        const auto name = request.file->as<std::string>();
        if (sources.given)
            matrix = sources.given(name);
        if (!matrix)
            matrix = grid::read_sparse_npz(name);
    } else if (is_set(request.edges)) {
        matrix = matrix_of_edges(request, sources.graph);
    }
    if (matrix && request.rows == MatrixRows::Normalised)
        matrix = grid::row_normalised(std::move(*matrix));
    return matrix;
}

ops::Projection projection_of(const grid::SparseMatrix& matrix)
{
    return ops::make_projection(matrix.row_ptr, matrix.col, matrix.values, matrix.n_cols);
}

} // namespace gradwind::model
