// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/waves_source.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/create_recipe.h"
#include "gradwind/data/create_statistics.h"
#include "gradwind/data/waves.h"
#include "gradwind/grid/gaussian.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/ranges.h>
#include <numbers>

namespace gradwind::data
{

namespace
{

constexpr int64_t max_points = 100'000'000;

struct FieldName {
    const char* param;
    WaveField field;
    const char* units;
    bool on_level;
};
constexpr std::array<FieldName, 6> field_names = {{
    {"u", WaveField::EastwardWind, "m s**-1", true},
    {"v", WaveField::NorthwardWind, "m s**-1", true},
    {"z", WaveField::Geopotential, "m**2 s**-2", true},
    {"q", WaveField::Tracer, "kg kg**-1", true},
    {"psi", WaveField::StreamFunction, "m**2 s**-1", true},
    {"sp", WaveField::SurfacePressure, "Pa", false},
}};

/// Cells of `rows` x `columns` equal steps in latitude and longitude, from north to south, none at a pole.
SourceGrid regular_grid(int64_t rows, int64_t columns)
{
    SourceGrid grid;
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
            grid.latitudes.push_back(90.0 - (double(row) + 0.5) * 180.0 / double(rows));
            grid.longitudes.push_back(double(column) * 360.0 / double(columns));
        }
    grid.field_shape = {rows, columns};
    if (columns == 2 * rows)
        grid.resolution = 180.0 / double(rows);
    grid.area = {grid.latitudes.front(), 0.0, grid.latitudes.back(), grid.longitudes.back()};
    return grid;
}

std::optional<std::pair<int64_t, int64_t>> parse_rows_by_columns(const std::string& name)
{
    int64_t rows = 0;
    int64_t columns = 0;
    const auto* end = name.data() + name.size();
    const auto first = std::from_chars(name.data(), end, rows);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != 'x')
        return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, end, columns);
    if (second.ec != std::errc() || second.ptr != end)
        return std::nullopt;
    return std::pair(rows, columns);
}

SourceGrid grid_of(const Config& config)
{
    SourceGrid grid;
    if (config.is_map()) {
        check_keys(config, {"latitudes", "longitudes"});
        grid.latitudes = config.get<std::vector<double>>("latitudes");
        grid.longitudes = config.get<std::vector<double>>("longitudes");
        GRADWIND_CHECK(!grid.latitudes.empty() && grid.latitudes.size() == grid.longitudes.size(), ConfigError,
                       "[waves] {}: {} latitudes and {} longitudes; expected as many of both", config.where(),
                       grid.latitudes.size(), grid.longitudes.size());
        for (const double latitude : grid.latitudes)
            GRADWIND_CHECK(std::abs(latitude) <= 90, ConfigError, "[waves] {}: latitude {} is not within -90..90",
                           config.where(), latitude);
        grid.field_shape = {grid.size()};
        return grid;
    }
    const auto name = config.as<std::string>();
    if (const auto shape = parse_rows_by_columns(name)) {
        GRADWIND_CHECK(shape->first > 0 && shape->second > 0 && shape->first <= max_points / shape->second, ConfigError,
                       "[waves] {}: {} is not a number of rows and columns", config.where(), name);
        return regular_grid(shape->first, shape->second);
    }
    const bool gaussian = name.size() > 1 && std::string_view("oOnN").find(name.front()) != std::string_view::npos;
    GRADWIND_CHECK(gaussian, ConfigError,
                   "[waves] {}: `{}` is no grid; expected oN, nN, ROWSxCOLUMNS or {{latitudes, longitudes}}",
                   config.where(), name);
    auto points = grid::named_gaussian_grid(name);
    grid.latitudes = std::move(points.lat_deg);
    grid.longitudes = std::move(points.lon_deg);
    grid.field_shape = {grid.size()};
    auto lower = name;
    lower.front() = char(std::tolower(static_cast<unsigned char>(lower.front())));
    grid.resolution = lower;
    return grid;
}

double number_in(const Config& config, const std::string& key, double fallback, double low, double high)
{
    const double value = config.get<double>(key, fallback);
    GRADWIND_CHECK(value >= low && value <= high, ConfigError, "[waves] {} must be within {}..{}, but it is {}",
                   config.has(key) ? config.at(key).where() : key, low, high, value);
    return value;
}

WaveFlow flow_of(const Config& config)
{
    WaveFlow flow;
    flow.zonal_speed = number_in(config, "zonal_speed", flow.zonal_speed, -200, 200);
    const auto waves = config.find("waves");
    if (waves && waves->is_list()) {
        for (const auto& wave : waves->items()) {
            check_keys(wave, {"n", "m", "amplitude", "phase"});
            flow.waves.push_back({int(wave.get<int64_t>("n")), int(wave.get<int64_t>("m")),
                                  wave.get<double>("amplitude"),
                                  wave.get<double>("phase", 0.0) * std::numbers::pi / 180.0});
        }
        return flow;
    }
    const auto count = number_in(config, "waves", 8, 0, 1000);
    const auto max_n = number_in(config, "max_n", 8, 2, 100);
    const auto wind = number_in(config, "wind", 12, 0, 200);
    flow.waves = random_waves(int(count), int(max_n), wind, uint64_t(config.get<int64_t>("seed", 1)));
    return flow;
}

/// Standard normal numbers as a function of what they belong to (splitmix64's finaliser, Box and Muller).
double normal_number(uint64_t seed, uint64_t variable, uint64_t date, uint64_t cell)
{
    const auto mix = [](uint64_t z) {
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31U);
    };
    constexpr uint64_t odd = 0x9e3779b97f4a7c15ULL;
    const uint64_t first = mix(mix(mix(mix(seed + odd) + variable * odd) + date * odd) + cell * odd);
    const uint64_t second = mix(first + odd);
    const double a = (double(first >> 11U) + 0.5) * 0x1.0p-53;
    const double b = double(second >> 11U) * 0x1.0p-53;
    return std::sqrt(-2.0 * std::log(a)) * std::cos(2.0 * std::numbers::pi * b);
}

class WavesSource : public Source
{
public:
    WavesSource(const Config& config, int64_t start)
        : grid_(grid_of(config.at("grid"))), waves_(flow_of(config), grid_.latitudes, grid_.longitudes), start_(start),
          seed_(uint64_t(config.get<int64_t>("seed", 1))), noise_(number_in(config, "noise", 0, 0, 100)),
          values_(size_t(grid_.size()))
    {
        check_keys(config, {"grid", "param", "level", "zonal_speed", "waves", "max_n", "wind", "seed", "noise"});
        const auto level = config.get<int64_t>("level", 500);
        const auto params =
            config.get<std::vector<std::string>>("param", std::vector<std::string>{"u", "v", "z", "q", "sp"});
        std::vector<std::string> known;
        for (const auto& field : field_names)
            known.emplace_back(field.param);
        for (const auto& param : params) {
            const auto found = std::ranges::find(field_names, param, &FieldName::param);
            GRADWIND_CHECK(found != field_names.end(), ConfigError, "[waves] {}: `{}` is no field{}; there are {}",
                           config.at("param").where(), param, did_you_mean(param, known), fmt::join(known, ", "));
            add_variable(*found, level);
        }
    }

    [[nodiscard]] const SourceGrid& grid() const override { return grid_; }
    [[nodiscard]] const std::vector<SourceVariable>& variables() const override { return variables_; }
    [[nodiscard]] const std::vector<int64_t>& members() const override { return members_; }
    [[nodiscard]] std::string describe() const override { return "planetary_waves"; }

    bool read(size_t variable, int64_t date, std::span<float> out) override
    {
        waves_.evaluate(fields_.at(variable), double(date - start_), values_);
        for (size_t cell = 0; cell < values_.size(); ++cell)
            out[cell] = float(noise_ == 0 ? values_[cell]
                                          : values_[cell] + noise_ * spread_[variable] *
                                                                normal_number(seed_, variable, uint64_t(date), cell));
        return true;
    }

private:
    void add_variable(const FieldName& field, int64_t level)
    {
        const std::string param = field.param;
        nlohmann::json mars = {{"param", param}, {"levtype", field.on_level ? "pl" : "sfc"}, {"step", 0}};
        if (field.on_level)
            mars["levelist"] = level;
        variables_.push_back(
            {field.on_level ? fmt::format("{}_{}", param, level) : param, {{"mars", mars}, {"units", field.units}}});
        fields_.push_back(field.field);
        waves_.evaluate(field.field, 0, values_);
        RunningStatistics statistics;
        statistics.add(std::vector<float>(values_.begin(), values_.end()));
        spread_.push_back(statistics.stdev());
    }

    SourceGrid grid_;
    PlanetaryWaves waves_;
    int64_t start_;
    uint64_t seed_;
    double noise_;
    std::vector<int64_t> members_{0};
    std::vector<SourceVariable> variables_;
    std::vector<WaveField> fields_;
    std::vector<double> spread_; ///< by variable, at the start
    std::vector<double> values_;
};

} // namespace

std::unique_ptr<Source> planetary_waves_source(const Config& config, std::span<const int64_t> dates)
{
    return std::make_unique<WavesSource>(config, dates.front());
}

} // namespace gradwind::data
