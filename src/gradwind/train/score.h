// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Root-mean-square errors of forecasts, by method, variable and lead time.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// Adds up squared errors of several forecasting methods over the same dates and cells, in physical units.
class ScoreSheet
{
public:
    /// @param title       what the scores are over, e.g. "all 964 cells"
    /// @param methods     names of the methods; the first is the model, the last the reference it is compared with
    /// @param variables   names, and units for the table (may be empty strings)
    /// @param leads_s     lead times in seconds, ascending
    ScoreSheet(std::string title, std::vector<std::string> methods, std::vector<std::string> variables,
               std::vector<std::string> units, std::vector<int64_t> leads_s);

    /// One forecast date of one method at one lead time.
    /// @param forecast,truth  [cells, variables] row-major, physical units
    /// @param cells           which rows count; empty: all. @throws ShapeError if sizes do not fit
    void add(size_t method, size_t lead, std::span<const float> forecast, std::span<const float> truth,
             std::span<const int64_t> cells = {});

    [[nodiscard]] const std::vector<std::string>& variables() const { return variables_; }
    /// NaN where nothing was added.
    [[nodiscard]] double rmse(size_t method, size_t lead, size_t variable) const;
    [[nodiscard]] int64_t n_dates(size_t method, size_t lead) const;
    /// How much smaller the model's error is than the last method's, as a fraction of the latter.
    [[nodiscard]] double gain(size_t lead, size_t variable) const;

    /// A table: one line per variable and lead time, one column per method.
    [[nodiscard]] std::string format() const;
    [[nodiscard]] nlohmann::json to_json() const;

private:
    struct Sum {
        double squared = 0;
        int64_t count = 0;
    };
    [[nodiscard]] size_t index(size_t method, size_t lead) const { return method * leads_s_.size() + lead; }

    std::string title_;
    std::vector<std::string> methods_, variables_, units_;
    std::vector<int64_t> leads_s_;
    std::vector<Sum> sums_;        ///< [method, lead, variable]
    std::vector<int64_t> n_dates_; ///< [method, lead]
};

} // namespace gradwind::train
