// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/score.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace gradwind::train
{

namespace
{

/// Four significant digits without an exponent, as tables of scores are read.
std::string number(double value)
{
    if (!std::isfinite(value))
        return "-";
    const int digits = value == 0 ? 0 : int(std::floor(std::log10(std::abs(value)))) + 1;
    return fmt::format("{:.{}f}", value, std::clamp(4 - digits, 0, 8));
}

std::string lead_text(int64_t seconds)
{
    return seconds % 3600 == 0 ? fmt::format("{} h", seconds / 3600) : fmt::format("{} min", seconds / 60);
}

} // namespace

ScoreSheet::ScoreSheet(std::string title, std::vector<std::string> methods, std::vector<std::string> variables,
                       std::vector<std::string> units, std::vector<int64_t> leads_s)
    : title_(std::move(title)), methods_(std::move(methods)), variables_(std::move(variables)),
      units_(std::move(units)), leads_s_(std::move(leads_s)),
      sums_(methods_.size() * leads_s_.size() * variables_.size()), n_dates_(methods_.size() * leads_s_.size())
{
    GRADWIND_ASSERT(methods_.size() >= 2 && units_.size() == variables_.size());
}

void ScoreSheet::add(size_t method, size_t lead, std::span<const float> forecast, std::span<const float> truth,
                     std::span<const int64_t> cells)
{
    const auto n_variables = variables_.size();
    GRADWIND_CHECK(forecast.size() == truth.size() && forecast.size() % n_variables == 0, ShapeError,
                   "[score] a forecast of {} values cannot be compared with {} values of {} variables", forecast.size(),
                   truth.size(), n_variables);
    const auto n_cells = cells.empty() ? forecast.size() / n_variables : cells.size();
    auto* sums = &sums_[index(method, lead) * n_variables];
    for (size_t i = 0; i < n_cells; ++i) {
        const auto row = (cells.empty() ? i : size_t(cells[i])) * n_variables;
        for (size_t v = 0; v < n_variables; ++v) {
            const double difference = double(forecast[row + v]) - double(truth[row + v]);
            sums[v].squared += difference * difference;
            ++sums[v].count;
        }
    }
    ++n_dates_[index(method, lead)];
}

double ScoreSheet::rmse(size_t method, size_t lead, size_t variable) const
{
    const auto& sum = sums_[index(method, lead) * variables_.size() + variable];
    return sum.count ? std::sqrt(sum.squared / double(sum.count)) : std::numeric_limits<double>::quiet_NaN();
}

int64_t ScoreSheet::n_dates(size_t method, size_t lead) const
{
    return n_dates_[index(method, lead)];
}

double ScoreSheet::gain(size_t lead, size_t variable) const
{
    return 1 - rmse(0, lead, variable) / rmse(methods_.size() - 1, lead, variable);
}

std::string ScoreSheet::format() const
{
    auto out = fmt::format("Root-mean-square error, {}\n{:<10} {:<8} {:>7} {:>6}", title_, "variable", "unit", "lead",
                           "dates");
    for (const auto& method : methods_)
        out += fmt::format(" {:>12}", method);
    out += fmt::format(" {:>10}\n", "better by");
    for (size_t v = 0; v < variables_.size(); ++v) {
        for (size_t l = 0; l < leads_s_.size(); ++l) {
            out += fmt::format("{:<10} {:<8} {:>7} {:>6}", variables_[v], units_[v], lead_text(leads_s_[l]),
                               n_dates(0, l));
            for (size_t m = 0; m < methods_.size(); ++m)
                out += fmt::format(" {:>12}", number(rmse(m, l, v)));
            out += fmt::format(" {:>8.1f} %\n", 100 * gain(l, v));
        }
    }
    return out;
}

nlohmann::json ScoreSheet::to_json() const
{
    auto rows = nlohmann::json::array();
    for (size_t v = 0; v < variables_.size(); ++v) {
        for (size_t l = 0; l < leads_s_.size(); ++l) {
            nlohmann::json row = {
                {"variable", variables_[v]}, {"unit", units_[v]}, {"lead_s", leads_s_[l]}, {"dates", n_dates(0, l)}};
            for (size_t m = 0; m < methods_.size(); ++m)
                row["rmse"][methods_[m]] = rmse(m, l, v);
            rows.push_back(std::move(row));
        }
    }
    return {{"title", title_}, {"scores", rows}};
}

} // namespace gradwind::train
