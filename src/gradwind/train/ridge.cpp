// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/ridge.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradwind::train
{

namespace
{

constexpr double kSameDegrees = 1e-4; ///< coordinates may have been float32
constexpr double kSpacing = 0.05;     ///< how far from a whole number of spacings a row may lie

/// Row (or column) number of every coordinate.
struct Lines {
    std::vector<int64_t> number; ///< per cell
    int64_t count = 0;
};

std::vector<double> distinct(std::span<const double> values)
{
    std::vector<double> sorted(values.begin(), values.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end(), [](double a, double b) { return b - a < kSameDegrees; }),
                 sorted.end());
    return sorted;
}

/// Rows that are cut away wholly still count: numbers are in units of the smallest gap.
std::optional<Lines> equal_lines(std::span<const double> values)
{
    const auto sorted = distinct(values);
    if (sorted.size() < 2)
        return std::nullopt;
    double spacing = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < sorted.size(); ++i)
        spacing = std::min(spacing, sorted[i] - sorted[i - 1]);
    std::vector<int64_t> line(sorted.size(), 0);
    for (size_t i = 1; i < sorted.size(); ++i) {
        const double gap = (sorted[i] - sorted[i - 1]) / spacing;
        if (std::abs(gap - std::round(gap)) > kSpacing)
            return std::nullopt;
        line[i] = line[i - 1] + int64_t(std::round(gap));
    }
    Lines lines{{}, line.back() + 1};
    for (const auto value : values) {
        const auto next = std::upper_bound(sorted.begin(), sorted.end(), value);
        lines.number.push_back(line[size_t(next - sorted.begin()) - 1]);
    }
    return lines;
}

/// Longitudes counted eastward from behind the widest gap, so that an area across 0 or 180 degrees stays in one piece.
std::vector<double> unrolled(std::span<const double> longitudes)
{
    std::vector<double> east;
    for (const auto longitude : longitudes) {
        const double turn = std::fmod(longitude, 360.0);
        east.push_back(turn < -kSameDegrees ? turn + 360 : turn);
    }
    const auto sorted = distinct(east);
    double first = sorted.front(), widest = sorted.front() + 360 - sorted.back();
    for (size_t i = 1; i < sorted.size(); ++i) {
        if (sorted[i] - sorted[i - 1] > widest + kSameDegrees) {
            widest = sorted[i] - sorted[i - 1];
            first = sorted[i];
        }
    }
    for (auto& value : east)
        if (value < first - kSameDegrees)
            value += 360;
    return east;
}

} // namespace

std::optional<Neighbourhoods> find_neighbourhoods(std::span<const double> latitudes_deg,
                                                  std::span<const double> longitudes_deg, int64_t radius)
{
    GRADWIND_ASSERT(latitudes_deg.size() == longitudes_deg.size() && radius >= 0);
    if (latitudes_deg.empty())
        return std::nullopt;
    const auto rows = equal_lines(latitudes_deg), columns = equal_lines(unrolled(longitudes_deg));
    const auto n_cells = int64_t(latitudes_deg.size());
    // A grid of which so little is left is a coincidence of coordinates, and its table would be large.
    if (!rows || !columns || double(rows->count) * double(columns->count) > 64.0 * double(n_cells))
        return std::nullopt;
    std::vector<int64_t> table(size_t(rows->count * columns->count), -1);
    for (int64_t cell = 0; cell < n_cells; ++cell) {
        auto& place = table[size_t(rows->number[size_t(cell)] * columns->count + columns->number[size_t(cell)])];
        if (place >= 0)
            return std::nullopt;
        place = cell;
    }
    Neighbourhoods result{n_cells, (2 * radius + 1) * (2 * radius + 1), {}, {}};
    for (int64_t cell = 0; cell < n_cells; ++cell) {
        const auto row = rows->number[size_t(cell)], column = columns->number[size_t(cell)];
        if (row < radius || row + radius >= rows->count || column < radius || column + radius >= columns->count)
            continue;
        std::vector<int64_t> square;
        for (int64_t r = row - radius; r <= row + radius; ++r)
            for (int64_t c = column - radius; c <= column + radius; ++c)
                square.push_back(table[size_t(r * columns->count + c)]);
        if (std::find(square.begin(), square.end(), -1) != square.end())
            continue;
        result.cells.push_back(cell);
        result.neighbours.insert(result.neighbours.end(), square.begin(), square.end());
    }
    return result.cells.empty() ? std::nullopt : std::optional(std::move(result));
}

RidgeRegression::RidgeRegression(Neighbourhoods neighbourhoods, std::vector<double> stdev, int64_t n_history,
                                 double penalty)
    : neighbourhoods_(std::move(neighbourhoods)), stdev_(std::move(stdev)), n_history_(n_history), penalty_(penalty)
{
    GRADWIND_ASSERT(!stdev_.empty() && n_history_ >= 1 && penalty_ > 0);
    for (auto& value : stdev_)
        value = value > 0 ? value : 1;
    gram_ = at::zeros({n_features(), n_features()}, at::kDouble);
    moment_ = at::zeros({n_features(), int64_t(stdev_.size())}, at::kDouble);
}

int64_t RidgeRegression::n_features() const
{
    return n_history_ * int64_t(stdev_.size()) * neighbourhoods_.width + 1;
}

at::Tensor RidgeRegression::features(History history) const
{
    const auto n_variables = stdev_.size(), width = size_t(neighbourhoods_.width);
    const auto n_rows = neighbourhoods_.cells.size();
    GRADWIND_CHECK(int64_t(history.size()) == n_history_, ShapeError, "[ridge] expected {} dates, found {}", n_history_,
                   history.size());
    for (const auto& field : history)
        GRADWIND_CHECK(field.size() == size_t(neighbourhoods_.n_cells) * n_variables, ShapeError,
                       "[ridge] expected {} cells x {} variables, found {} values", neighbourhoods_.n_cells,
                       n_variables, field.size());
    auto result = at::empty({int64_t(n_rows), n_features()}, at::kDouble);
    auto* out = result.data_ptr<double>();
    for (size_t row = 0; row < n_rows; ++row) {
        const auto* square = &neighbourhoods_.neighbours[row * width];
        for (const auto& field : history)
            for (size_t k = 0; k < width; ++k)
                for (size_t v = 0; v < n_variables; ++v)
                    *out++ = double(field[size_t(square[k]) * n_variables + v]) / stdev_[v];
        *out++ = 1;
    }
    return result;
}

void RidgeRegression::add(History history, std::span<const float> truth)
{
    auto x = features(history);
    const auto n_variables = stdev_.size();
    GRADWIND_CHECK(truth.size() == history[0].size(), ShapeError, "[ridge] expected a truth of {} values, found {}",
                   history[0].size(), truth.size());
    auto y = at::empty({x.size(0), int64_t(n_variables)}, at::kDouble);
    auto* out = y.data_ptr<double>();
    for (const auto cell : neighbourhoods_.cells)
        for (size_t i = size_t(cell) * n_variables; i < size_t(cell + 1) * n_variables; ++i)
            *out++ = double(truth[i]) - double(history[0][i]);
    const auto whole = at::isfinite(x).all(1).logical_and(at::isfinite(y).all(1)).nonzero().squeeze(1);
    if (whole.numel() < x.size(0)) {
        x = x.index_select(0, whole);
        y = y.index_select(0, whole);
    }
    gram_.addmm_(x.t(), x);
    moment_.addmm_(x.t(), y);
    ++n_dates_;
}

void RidgeRegression::fit()
{
    const auto penalised = gram_ + penalty_ * at::eye(n_features(), at::kDouble);
    coefficients_ = at::cholesky_solve(moment_, at::linalg_cholesky(penalised));
}

std::vector<float> RidgeRegression::forecast(History history) const
{
    GRADWIND_ASSERT(coefficients_.defined());
    const auto change = at::mm(features(history), coefficients_);
    const auto* values = change.data_ptr<double>();
    const auto n_variables = stdev_.size();
    std::vector<float> out(history[0].size(), std::numeric_limits<float>::quiet_NaN());
    for (const auto cell : neighbourhoods_.cells)
        for (size_t i = size_t(cell) * n_variables; i < size_t(cell + 1) * n_variables; ++i)
            out[i] = float(double(history[0][i]) + *values++);
    return out;
}

} // namespace gradwind::train
