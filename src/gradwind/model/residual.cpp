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

TruncatedConnection::TruncatedConnection(const grid::SparseMatrix& down, const grid::SparseMatrix& up)
    : down_(projection_of(down)), up_(projection_of(up))
{
}

at::Tensor TruncatedConnection::forward(const at::Tensor& x)
{
    down_.move_to(x.device());
    up_.move_to(x.device());
    return ops::project(ops::project(x.narrow(1, x.size(1) - 1, 1), down_), up_);
}

namespace
{

std::unique_ptr<Residual> build_truncated(const Config& section, int64_t n_nodes, const MatrixSources& sources)
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
    const auto down = matrix("down"), up = matrix("up");
    GRADWIND_CHECK(down && up, ConfigError,
                   "[model] {}: a TruncatedConnection needs truncation_down_file_path and truncation_up_file_path, or "
                   "truncation_down_edges_name and truncation_up_edges_name; matrices made from a `grid` are not "
                   "available yet",
                   section.where());
    GRADWIND_CHECK(down->n_cols == n_nodes && up->n_rows == n_nodes && down->n_rows == up->n_cols, ConfigError,
                   "[model] {}: expected matrices of [coarse, {}] and [{}, coarse] for {} data nodes, found [{}, {}] "
                   "and [{}, {}]",
                   section.where(), n_nodes, n_nodes, n_nodes, down->n_rows, down->n_cols, up->n_rows, up->n_cols);
    return std::make_unique<TruncatedConnection>(*down, *up);
}

} // namespace

std::unique_ptr<Residual> build_residual(const std::optional<Config>& section, int64_t n_step_input, int64_t n_nodes,
                                         const MatrixSources& sources)
{
    if (!section)
        return std::make_unique<SkipConnection>(-1);
    if (section->target() == "TruncatedConnection")
        return build_truncated(*section, n_nodes, sources);
    if (section->target() != "SkipConnection")
        refuse_target(*section, {"SkipConnection", "TruncatedConnection"},
                      {"ScalarOrnsteinConnection", "SpectralOrnsteinConnection"});
    return std::make_unique<SkipConnection>(integer_in(*section, "step", -1, -n_step_input, n_step_input - 1));
}

} // namespace gradwind::model
