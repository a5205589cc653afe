// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/residual.h"

#include "gradwind/core/error.h"
#include "gradwind/model/options.h"

#include <ATen/ATen.h>

namespace gradwind::model
{

at::Tensor SkipConnection::forward(const at::Tensor& x)
{
    return x.select(1, step_).unsqueeze(1);
}

TruncatedConnection::TruncatedConnection(const grid::SparseMatrix& down, const grid::SparseMatrix& up,
                                         const parallel::Group& group, const parallel::Partition& nodes)
    : down_(down, group, nodes, rows_by_columns(down, nodes)), up_(up, group, rows_by_columns(down, nodes), nodes)
{
}

at::Tensor TruncatedConnection::forward(const at::Tensor& x)
{
    const auto last = x.select(1, x.size(1) - 1); // [batch, ensemble, n_nodes, n_input]
    return up_(down_(last.flatten(0, 1))).reshape(last.sizes()).unsqueeze(1);
}

namespace
{

struct Matrices {
    grid::SparseMatrix down, up;
};

Matrices truncation(const Config& section, int64_t n_nodes, const MatrixSources& sources)
{
    // The newest release has the files below `truncation_config`.
    const auto from = section.has("truncation_config") ? section.at("truncation_config") : section;
    const auto matrix = [&](const std::string& direction) {
        return find_matrix(
            {.section = section,
             .file = from.find("truncation_" + direction + "_file_path"),
             .edges = section.find("truncation_" + direction + "_edges_name"),
             .weight_attribute = section.get<std::string>("edge_weight_attribute", "gauss_weight"),
             .node_attribute = section.get<std::string>("src_node_weight_attribute", ""),
             .rows = section.get<bool>("row_normalize", false) ? MatrixRows::Normalised : MatrixRows::AsGiven},
            sources);
    };
    auto down = matrix("down"), up = matrix("up");
    GRADWIND_CHECK(down && up, ConfigError,
                   "[model] {}: a TruncatedConnection needs truncation_down_file_path and truncation_up_file_path, or "
                   "truncation_down_edges_name and truncation_up_edges_name; matrices made from a `grid` are not "
                   "available yet",
                   section.where());
    GRADWIND_CHECK(down->n_cols == n_nodes && up->n_rows == n_nodes && down->n_rows == up->n_cols, ConfigError,
                   "[model] {}: expected matrices of [coarse, {}] and [{}, coarse] for {} data nodes, found [{}, {}] "
                   "and [{}, {}]",
                   section.where(), n_nodes, n_nodes, n_nodes, down->n_rows, down->n_cols, up->n_rows, up->n_cols);
    return {std::move(*down), std::move(*up)};
}

} // namespace

std::unique_ptr<Residual> build_residual(const std::optional<Config>& section, int64_t n_step_input,
                                         const parallel::Group& group, const parallel::Partition& nodes,
                                         const MatrixSources& sources)
{
    if (!section)
        return std::make_unique<SkipConnection>(-1);
    if (section->target() == "TruncatedConnection") {
        const auto matrices = truncation(*section, nodes.n_rows(), sources);
        return std::make_unique<TruncatedConnection>(matrices.down, matrices.up, group, nodes);
    }
    if (section->target() != "SkipConnection")
        refuse_target(*section, {"SkipConnection", "TruncatedConnection"},
                      {"ScalarOrnsteinConnection", "SpectralOrnsteinConnection"});
    return std::make_unique<SkipConnection>(integer_in(*section, "step", -1, -n_step_input, n_step_input - 1));
}

std::vector<parallel::HaloCount> residual_exchanges(const std::optional<Config>& section,
                                                    const parallel::Partition& nodes, const MatrixSources& sources)
{
    if (!section || section->target() != "TruncatedConnection")
        return {};
    const auto matrices = truncation(*section, nodes.n_rows(), sources);
    const auto coarse = rows_by_columns(matrices.down, nodes);
    return {count_halo(matrices.down, nodes, coarse), count_halo(matrices.up, coarse, nodes)};
}

} // namespace gradwind::model
