// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/create_recipe.h"
#include "gradwind/data/netcdf_axes.h"
#include "gradwind/data/source_files.h"

#include <algorithm>
#include <cmath>
#include <fmt/ranges.h>
#include <limits>
#include <map>

namespace gradwind::data
{

namespace
{

/// Files that are kept open at a time; more than the variables that one file set usually spreads over.
constexpr size_t max_open_files = 16;

/// Where the values of one variable at one date lie.
struct Slot {
    size_t file = 0;
    size_t time = 0;
};

/// One variable of the data set: a variable of the files, at one level.
struct Entry {
    std::string name;
    std::string name_in_file;
    std::optional<size_t> level;
    bool constant = false;
    std::map<int64_t, Slot> dates; ///< for a constant field one slot, under date 0
};

class NetcdfSource : public Source
{
public:
    NetcdfSource(const Config& config, const std::filesystem::path& folder)
        : config_(config), paths_(source_paths(config, folder))
    {
        check_keys(config, {"path", "param", "rename", "units", "missing_value", "time", "latitude", "longitude",
                            "levelist", "flavour"});
        if (config.has("time"))
            check_keys(config.at("time"), {"start", "frequency", "dimension"});
        for (const auto* key : {"latitude", "longitude"})
            if (config.has(key) && config.at(key).is_map())
                check_keys(config.at(key), {"first", "last"});
        for (size_t i = 0; i < paths_.size(); ++i)
            add_file(i);
        check_complete();
    }

    [[nodiscard]] const SourceGrid& grid() const override { return grid_; }
    [[nodiscard]] const std::vector<SourceVariable>& variables() const override { return variables_; }
    [[nodiscard]] const std::vector<int64_t>& members() const override { return members_; }
    [[nodiscard]] std::string describe() const override { return "netcdf " + paths_.front().string(); }

    bool read(size_t variable, int64_t date, std::span<float> out) override
    {
        const auto& entry = entries_.at(variable);
        const auto slot = entry.dates.find(entry.constant ? 0 : date);
        if (slot == entry.dates.end())
            return false;
        const auto& file = open(slot->second.file);
        const auto* in_file = file.find(entry.name_in_file);
        GRADWIND_ASSERT(in_file);
        const auto axes = axes_.at({slot->second.file, entry.name_in_file});
        std::vector<size_t> start(in_file->dimensions.size(), 0);
        std::vector<size_t> count(start.size(), 1);
        for (const auto dimension : axes.space)
            count[dimension] = size_t(in_file->dimensions[dimension].length);
        if (axes.time)
            start[*axes.time] = slot->second.time;
        if (entry.level)
            start[*axes.level] = *entry.level;
        const auto points = size_t(grid_.size());
        for (size_t member = 0; member < members_.size(); ++member) {
            if (axes.member)
                start[*axes.member] = member;
            read_field(file, *in_file, start, count, out.subspan(member * points, points));
        }
        return true;
    }

private:
    /// Positions of the roles of dimensions, without the coordinates.
    struct Roles {
        std::vector<size_t> space;
        std::optional<size_t> time, level, member;
    };

    const NetcdfFile& open(size_t file)
    {
        if (const auto found = open_.find(file); found != open_.end())
            return *found->second;
        if (open_.size() >= max_open_files)
            open_.clear();
        return *(open_[file] = std::make_unique<NetcdfFile>(paths_[file]));
    }

    [[nodiscard]] bool is_wanted(const std::string& name) const
    {
        if (!config_.has("param"))
            return true;
        const auto wanted = config_.at("param");
        const auto names =
            wanted.is_list() ? wanted.as<std::vector<std::string>>() : std::vector{wanted.as<std::string>()};
        return std::ranges::find(names, name) != names.end();
    }

    void add_file(size_t index)
    {
        const auto& file = open(index);
        for (const auto& variable : file.variables()) {
            seen_.push_back(variable.name);
            if (!is_wanted(variable.name))
                continue;
            const auto axes = netcdf_axes(file, variable, config_);
            GRADWIND_CHECK(axes || !config_.has("param"), DataError,
                           "[netcdf] {}: variable {} has no latitude and longitude; name them in the recipe "
                           "(latitude: NAME or {{first, last}})",
                           file.path().string(), variable.name);
            if (!axes || (!config_.has("param") && !axes->time))
                continue;
            take_grid(file, variable, *axes);
            axes_[{index, variable.name}] = {axes->space, axes->time, axes->level, axes->member};
            add_variable(file, variable, *axes, index);
        }
    }

    void take_grid(const NetcdfFile& file, const NetcdfFile::Variable& variable, const NetcdfAxes& axes)
    {
        if (entries_.empty()) {
            grid_ = axes.grid;
            members_ = axes.members;
            return;
        }
        GRADWIND_CHECK(axes.grid.field_shape == grid_.field_shape && axes.grid.latitudes == grid_.latitudes &&
                           axes.grid.longitudes == grid_.longitudes,
                       DataError,
                       "[netcdf] {}: the grid of {} ({}) is not that of {} ({}); make it a source of its own",
                       file.path().string(), variable.name, fmt::join(axes.grid.field_shape, " x "),
                       entries_.front().name_in_file, fmt::join(grid_.field_shape, " x "));
        GRADWIND_CHECK(axes.members == members_, DataError, "[netcdf] {}: {} has {} members, {} has {}",
                       file.path().string(), variable.name, axes.members.size(), entries_.front().name_in_file,
                       members_.size());
    }

    void add_variable(const NetcdfFile& file, const NetcdfFile::Variable& variable, const NetcdfAxes& axes,
                      size_t index)
    {
        const auto name = config_.get<std::string>("rename." + variable.name, variable.name);
        const auto wanted =
            config_.has("levelist") ? config_.get<std::vector<double>>("levelist") : std::vector<double>();
        std::vector<std::optional<size_t>> levels;
        if (!axes.level)
            levels.emplace_back();
        for (size_t i = 0; i < axes.levels.size(); ++i)
            if (wanted.empty() || std::ranges::find(wanted, axes.levels[i]) != wanted.end())
                levels.emplace_back(i);
        GRADWIND_CHECK(!levels.empty(), DataError, "[netcdf] {}: variable {} has none of the levels {}; it has {}",
                       file.path().string(), variable.name, fmt::join(wanted, ", "), fmt::join(axes.levels, ", "));
        for (const auto& level : levels) {
            const auto full_name = level ? fmt::format("{}_{}", name, axes.levels[*level]) : name;
            auto found = std::ranges::find(entries_, full_name, &Entry::name);
            if (found == entries_.end()) {
                entries_.push_back({full_name, variable.name, level, !axes.time, {}});
                variables_.push_back({full_name, describe_variable(file, variable, axes, name, level)});
                found = std::prev(entries_.end());
            }
            auto& entry = *found;
            if (entry.constant)
                entry.dates.emplace(0, Slot{index, 0});
            for (size_t time = 0; time < axes.dates.size(); ++time)
                GRADWIND_CHECK(entry.dates.emplace(axes.dates[time], Slot{index, time}).second, DataError,
                               "[netcdf] {}: {} at {} is there twice", file.path().string(), variable.name,
                               format_datetime(axes.dates[time]));
        }
    }

    [[nodiscard]] nlohmann::json describe_variable(const NetcdfFile& file, const NetcdfFile::Variable& variable,
                                                   const NetcdfAxes& axes, const std::string& param,
                                                   std::optional<size_t> level) const
    {
        const auto units = config_.get<std::string>("units." + variable.name, file.text(variable, "units"));
        nlohmann::json mars = {
            {"levtype", level ? "pl" : "sfc"}, {"param", param}, {"step", 0}, {"variable", variable.name}};
        if (level)
            mars["levelist"] = std::llround(axes.levels[*level]);
        if (members_.size() > 1)
            mars["number"] = members_;
        if (!axes.dates.empty()) {
            const auto first = CivilTime::from_seconds(axes.dates.front());
            mars["date"] = first.year * 10000 + first.month * 100 + first.day;
            mars["time"] = first.hour * 100 + first.minute;
            mars["valid_datetime"] = format_datetime(axes.dates.front());
        }
        nlohmann::json metadata = nlohmann::json::object();
        if (!units.empty()) {
            mars["units"] = units;
            metadata["units"] = units;
        }
        metadata["mars"] = std::move(mars);
        return metadata;
    }

    void check_complete() const
    {
        const auto known = [&](const std::string& name) {
            return std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.name_in_file == name; });
        };
        if (config_.has("param")) {
            const auto wanted = config_.at("param");
            for (const auto& name :
                 wanted.is_list() ? wanted.as<std::vector<std::string>>() : std::vector{wanted.as<std::string>()})
                GRADWIND_CHECK(known(name), DataError, "[netcdf] {}: no file has a variable `{}`{}; there are {}",
                               wanted.where(), name, did_you_mean(name, seen_), fmt::join(seen_, ", "));
        }
        for (const auto* key : {"rename", "units"})
            if (config_.has(key))
                for (const auto& name : config_.at(key).keys())
                    GRADWIND_CHECK(known(name), ConfigError, "[netcdf] {}: `{}` is not among the variables taken",
                                   config_.at(key).where(), name);
        GRADWIND_CHECK(!entries_.empty(), DataError, "[netcdf] {}: no variable with time, latitude and longitude",
                       config_.at("path").where());
    }

    void read_field(const NetcdfFile& file, const NetcdfFile::Variable& variable, std::span<const size_t> start,
                    std::span<const size_t> count, std::span<float> out)
    {
        const auto scale = file.number(variable, "scale_factor");
        const auto offset = file.number(variable, "add_offset");
        std::vector<double> markers;
        for (const auto* attribute : {"_FillValue", "missing_value"})
            if (const auto marker = file.number(variable, attribute))
                markers.push_back(*marker);
        if (config_.has("missing_value"))
            markers.push_back(config_.get<double>("missing_value"));
        // Attributes and recipe name the number in the type of the file: 1e20 is not a float.
        const bool single = variable.is_float32();
        const auto is_missing = [&](double value) {
            return std::ranges::any_of(
                markers, [&](double marker) { return value == marker || (single && float(value) == float(marker)); });
        };
        raw_.resize(out.size());
        file.read<double>(variable, start, count, raw_);
        for (size_t i = 0; i < out.size(); ++i) {
            double value = raw_[i];
            if (is_missing(value))
                value = std::numeric_limits<double>::quiet_NaN();
            else if (scale || offset)
                value = value * scale.value_or(1.0) + offset.value_or(0.0);
            out[i] = float(value);
        }
    }

    Config config_;
    std::vector<std::filesystem::path> paths_;
    std::map<size_t, std::unique_ptr<NetcdfFile>> open_;
    std::map<std::pair<size_t, std::string>, Roles> axes_;
    SourceGrid grid_;
    std::vector<int64_t> members_{0};
    std::vector<SourceVariable> variables_;
    std::vector<Entry> entries_; ///< parallel to variables_
    std::vector<std::string> seen_;
    std::vector<double> raw_;
};

} // namespace

std::unique_ptr<Source> netcdf_source(const Config& config, const std::filesystem::path& folder)
{
    return std::make_unique<NetcdfSource>(config, folder);
}

} // namespace gradwind::data
