// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/leaf_loss.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::loss
{

namespace
{

at::Tensor times(const at::Tensor& product, const at::Tensor& factor)
{
    return product.defined() ? product * factor : factor;
}

} // namespace

bool CombinedScalers::has(ScalerAxis axis) const
{
    switch (axis) {
    case ScalerAxis::Time:
        return any_time;
    case ScalerAxis::Grid:
        return grid.defined();
    case ScalerAxis::Variable:
        return any_variable || nan_mask;
    case ScalerAxis::NanMask:
        return nan_mask;
    }
    return false;
}

CombinedScalers combine_scalers(const std::vector<Scaler>& scalers, const std::vector<int64_t>& pred_columns,
                                const std::string& where)
{
    CombinedScalers out;
    out.variable = at::ones({int64_t(pred_columns.size())}, at::kDouble);
    out.time = at::ones({1}, at::kDouble);
    const auto columns = at::tensor(pred_columns, at::kLong);
    for (const auto& scaler : scalers) {
        const auto values = scaler.values.defined() ? scaler.values.to(at::kDouble) : at::Tensor();
        switch (scaler.axis) {
        case ScalerAxis::Variable:
            out.variable = out.variable * values.index_select(0, columns);
            out.any_variable = true;
            break;
        case ScalerAxis::Grid:
            out.grid = times(out.grid, values);
            break;
        case ScalerAxis::Time:
            out.time = out.time * values;
            out.any_time = true;
            break;
        case ScalerAxis::NanMask:
            out.nan_mask = true;
            break;
        }
    }
    GRADWIND_CHECK(scalers.empty() || out.grid.defined() || out.nan_mask, ConfigError,
                   "[loss] {} has scalers but none along the grid, whose errors are summed: add one such as "
                   "`node_weights`",
                   where);
    return out;
}

at::Tensor slice_weights(const at::Tensor& grid, const LossContext& context, const at::Tensor& pred)
{
    const auto nodes = pred.size(3);
    const auto& slice = context.grid;
    if (context.share && grid.defined())
        GRADWIND_CHECK(grid.numel() == context.share->partition.n_rows(), ShapeError,
                       "[loss] there are {} node weights for a grid of {} points that processes share", grid.numel(),
                       context.share->partition.n_rows());
    if (slice)
        GRADWIND_CHECK(slice->begin >= 0 && slice->begin <= slice->end && slice->end - slice->begin == nodes,
                       ShapeError, "[loss] the grid slice [{}, {}) does not fit a prediction of {} grid points",
                       slice->begin, slice->end, nodes);
    if (!grid.defined())
        return at::ones({nodes}, at::device(pred.device()).dtype(at::kDouble));
    const auto begin = slice ? slice->begin : 0;
    const auto end = slice ? slice->end : nodes;
    const auto here = ops::on_device(grid, pred.device());
    const auto own = context.share ? context.share->rows.of(here) : here;
    GRADWIND_CHECK(slice ? end <= own.numel() : own.numel() == nodes, ShapeError,
                   "[loss] the node weights have {} values, but the prediction holds the grid points [{}, {})",
                   own.numel(), begin, end);
    return own.narrow(0, begin, nodes);
}

void require_whole(const LossContext& context, const at::Tensor& grid, const at::Tensor& pred, const char* loss)
{
    const bool whole_grid =
        !context.grid || (context.grid->begin == 0 && (!grid.defined() || context.grid->end == grid.numel()));
    const bool whole_batch = !context.samples || *context.samples == double(pred.size(0));
    GRADWIND_CHECK(whole_grid && whole_batch, ConfigError,
                   "[loss] {} is no sum over grid points and samples, so it cannot be computed in shares: use one GPU "
                   "per model, one replica and no gradient accumulation, or another loss",
                   loss);
}

at::Tensor reduce_variables(const at::Tensor& values, const std::vector<int64_t>& pred_columns, int64_t n_output,
                            Squash squash, const Loss::Reduction& reduction)
{
    const auto n_selected = int64_t(pred_columns.size());
    switch (reduction.kind) {
    case Loss::Reduction::Kind::All:
        return squash == Squash::Mean ? values.sum() / double(n_selected) : values.sum();
    case Loss::Reduction::Kind::PerVariable: {
        const auto columns = ops::columns_on(pred_columns, values.device());
        return at::zeros({n_output}, values.options()).index_copy(0, columns, values);
    }
    case Loss::Reduction::Kind::Ranges:
        break;
    }
    std::vector<at::Tensor> means;
    for (const auto& range : reduction.ranges) {
        std::vector<int64_t> positions;
        for (const auto column : range) {
            const auto found = std::find(pred_columns.begin(), pred_columns.end(), column);
            if (found != pred_columns.end())
                positions.push_back(found - pred_columns.begin());
        }
        means.push_back(positions.empty() ? at::zeros({}, values.options())
                                          : values.index_select(0, ops::columns_on(positions, values.device())).mean());
    }
    return means.empty() ? at::zeros({0}, values.options()) : at::stack(means);
}

LeafLoss::LeafLoss(ErrorSpec spec, CombinedScalers scalers, Root root)
    : spec_(std::move(spec)), scalers_(std::move(scalers)), root_(root)
{
}

at::Tensor LeafLoss::evaluate(const at::Tensor& pred, const at::Tensor& target, const LossContext& context,
                              const Reduction& reduction) const
{
    GRADWIND_CHECK(pred.dim() == 5, ShapeError, "[loss] expected a prediction of 5 dimensions, got {}", pred.dim());
    if (!additive())
        require_whole(context, scalers_.grid, pred, "RMSELoss");
    const auto here = [&](const at::Tensor& scaler) { return ops::on_device(scaler, pred.device()); };
    ErrorWeights weights;
    weights.grid = slice_weights(scalers_.grid, context, pred);
    weights.time = reduction.time == Reduction::TimeScalers::Apply
                       ? here(scalers_.time)
                       : at::ones({1}, at::device(pred.device()).dtype(at::kDouble));
    weights.point = context.weights;
    if (scalers_.nan_mask)
        weights.nan_mask = context.nan_mask;
    const auto sums = error_sums(pred, target, spec_, weights);
    const auto members = spec_.kind == ErrorKind::Crps ? 1 : pred.size(2);
    const auto samples = context.samples.value_or(double(pred.size(0)));
    const auto values = sums * (here(scalers_.variable) / (samples * double(members)));
    const auto reduced = reduce_variables(values, spec_.pred_columns, pred.size(4), context.squash, reduction);
    return root_ == Root::Square ? reduced.sqrt() : reduced;
}

} // namespace gradwind::loss
