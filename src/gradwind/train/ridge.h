// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ridge regression on a cell's surroundings: a baseline that a network is shown beside.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace gradwind::train
{

/// Cells of a regular grid whose whole square of neighbours has data.
struct Neighbourhoods {
    int64_t n_cells = 0;             ///< of the data set
    int64_t width = 0;               ///< cells in a square
    std::vector<int64_t> cells;      ///< centres, ascending
    std::vector<int64_t> neighbours; ///< [centre][width], row by row from the south-west
};

/// Finds rows and columns in the coordinates of a regular latitude-longitude grid, of which any cells may be cut away.
/// Rows and columns do not close around the globe: the outermost ones have neighbours on one side only.
/// @param radius  2: squares of 5 x 5 cells
/// @return nothing if the cells are not those of a regular grid, or none has all its neighbours
[[nodiscard]] std::optional<Neighbourhoods>
find_neighbourhoods(std::span<const double> latitudes_deg, std::span<const double> longitudes_deg, int64_t radius = 2);

/// Forecasts the change of every variable at a centre, linearly in all variables of its square on the newest dates.
///
/// One set of coefficients for all centres and one lead time: features are the values divided by their standard
/// deviation, and a constant; `penalty` times the squared coefficients (the constant's too) is added to the squared
/// error, in physical units. Sums are kept in double: memory is that of features x features.
class RidgeRegression
{
public:
    using History = std::span<const std::vector<float>>; ///< newest first, each [cells, variables], physical units

    /// @param stdev      one per variable; a zero counts as one
    /// @param n_history  how many dates the features come from
    RidgeRegression(Neighbourhoods neighbourhoods, std::vector<double> stdev, int64_t n_history, double penalty = 30);

    [[nodiscard]] const std::vector<int64_t>& cells() const { return neighbourhoods_.cells; }
    [[nodiscard]] int64_t n_features() const;

    /// Adds one date to fit on. Centres with a value that is not finite are left out.
    /// @throws ShapeError if sizes do not fit
    void add(History history, std::span<const float> truth);
    [[nodiscard]] int64_t n_dates() const { return n_dates_; }

    /// Works out the coefficients from the dates that were added.
    void fit();
    /// @return [cells, variables], NaN outside the centres @throws ShapeError if sizes do not fit
    [[nodiscard]] std::vector<float> forecast(History history) const;

private:
    [[nodiscard]] at::Tensor features(History history) const;

    Neighbourhoods neighbourhoods_;
    std::vector<double> stdev_;
    int64_t n_history_;
    double penalty_;
    int64_t n_dates_ = 0;
    at::Tensor gram_;         ///< [features, features]
    at::Tensor moment_;       ///< [features, variables]
    at::Tensor coefficients_; ///< [features, variables]; undefined before fit()
};

} // namespace gradwind::train
