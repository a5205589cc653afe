// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The options that put several data sets together, and how what is asked of the whole is handed down to its parts.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/open_dataset_impl.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

namespace gradwind::data::detail
{

namespace
{

std::vector<int64_t> count_to(size_t n)
{
    std::vector<int64_t> positions(n);
    std::iota(positions.begin(), positions.end(), int64_t(0));
    return positions;
}

std::string period_of(const DatasetInfo& info)
{
    return fmt::format("{} to {} every {}", format_datetime(info.dates.front()), format_datetime(info.dates.back()),
                       info.frequency_s > 0 ? frequency_to_string(info.frequency_s) : "?");
}

/// Says what two data sets that are put together have to share.
class Fit
{
public:
    Fit(const Config& option, const std::vector<Opened>& parts) : option_(option), parts_(parts) {}

    const Fit& dates() const
    {
        return each([&](const DatasetInfo& a, const DatasetInfo& b) {
            GRADWIND_CHECK(a.dates == b.dates, ConfigError,
                           "[data] {}: {} has {}, {} has {}; give both the same `start`, `end` and `frequency`, or "
                           "`adjust: dates`",
                           option_.where(), a.name, period_of(a), b.name, period_of(b));
        });
    }
    const Fit& frequency() const
    {
        return each([&](const DatasetInfo& a, const DatasetInfo& b) {
            const bool either = a.dates.size() < 2 || b.dates.size() < 2; // one date has every frequency
            GRADWIND_CHECK(either || a.frequency_s == b.frequency_s, ConfigError,
                           "[data] {}: {} has {}, {} has {}; give both the same `frequency`", option_.where(), a.name,
                           period_of(a), b.name, period_of(b));
        });
    }
    const Fit& variables() const
    {
        return each([&](const DatasetInfo& a, const DatasetInfo& b) {
            GRADWIND_CHECK(a.variables == b.variables, ConfigError,
                           "[data] {}: {} has the variables {}, {} has {}; `select` the same of both, in one order, or "
                           "`adjust: variables`",
                           option_.where(), a.name, fmt::join(a.variables, ", "), b.name, fmt::join(b.variables, ", "));
        });
    }
    const Fit& members() const
    {
        return each([&](const DatasetInfo& a, const DatasetInfo& b) {
            GRADWIND_CHECK(a.n_members == b.n_members, ConfigError,
                           "[data] {}: {} has {} members, {} has {}; `select` them by `number`", option_.where(),
                           a.name, a.n_members, b.name, b.n_members);
        });
    }
    const Fit& cells() const
    {
        return each([&](const DatasetInfo& a, const DatasetInfo& b) {
            GRADWIND_CHECK(is_close(a.latitudes, b.latitudes) && is_close(a.longitudes, b.longitudes), ConfigError,
                           "[data] {}: {} ({} cells) and {} ({} cells) have other grids", option_.where(), a.name,
                           a.latitudes.size(), b.name, b.latitudes.size());
        });
    }

private:
    template <class Check>
    const Fit& each(Check&& check) const
    {
        for (size_t i = 1; i < parts_.size(); ++i)
            check(parts_[0].selection.info, parts_[i].selection.info);
        return *this;
    }
    static bool is_close(const std::vector<double>& a, const std::vector<double>& b)
    {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                          [](double x, double y) { return std::abs(x - y) <= 1e-8 + 1e-7 * std::abs(y); });
    }

    const Config& option_;
    const std::vector<Opened>& parts_;
};

/// A selection of everything that the parts hold, described as the first of them.
Opened whole_of(std::string how, Axis axis, std::vector<Opened> parts)
{
    Opened whole;
    auto& selection = whole.selection;
    selection.info = parts.front().selection.info;
    std::vector<std::string> names;
    for (const auto& part : parts)
        names.push_back(part.selection.info.name);
    selection.info.name = fmt::format("{}({})", how, fmt::join(names, ", "));
    selection.dates = count_to(selection.info.dates.size());
    selection.variables = count_to(selection.info.variables.size());
    selection.members = count_to(size_t(selection.info.n_members));
    whole.combination = std::make_shared<const Combination>(Combination{axis, std::move(parts)});
    return whole;
}

Opened join(const Config& option, std::vector<Opened> parts)
{
    Fit(option, parts).dates().members().cells();
    auto whole = whole_of("join", Axis::Variables, std::move(parts));
    auto& info = whole.selection.info;
    info.variables.clear();
    info.statistics = {};
    info.constant_fields.clear();
    auto metadata = nlohmann::json::object();
    std::vector<int64_t> positions; // of a name: where it first stands, what stands last under it
    int64_t position = 0;
    Statistics all;
    for (const auto& part : whole.combination->parts) {
        const auto& own = part.selection.info;
        for (size_t i = 0; i < own.variables.size(); ++i, ++position) {
            const auto& name = own.variables[i];
            const auto seen = std::find(info.variables.begin(), info.variables.end(), name);
            if (seen == info.variables.end()) {
                info.variables.push_back(name);
                positions.push_back(position);
            } else {
                positions[size_t(seen - info.variables.begin())] = position;
            }
            all.mean.push_back(own.statistics.mean[i]);
            all.stdev.push_back(own.statistics.stdev[i]);
            all.minimum.push_back(own.statistics.minimum[i]);
            all.maximum.push_back(own.statistics.maximum[i]);
        }
        if (own.variables_metadata)
            metadata.update(*own.variables_metadata);
        info.constant_fields.insert(info.constant_fields.end(), own.constant_fields.begin(), own.constant_fields.end());
        for (size_t date = 0; date < info.missing.size(); ++date)
            info.missing[date] |= own.missing[date];
    }
    info.statistics = pick(all, positions);
    info.variables_metadata = std::make_shared<const nlohmann::json>(std::move(metadata));
    whole.selection.variables = std::move(positions);
    return whole;
}

/// Dates of the parts, and missing ones between them where `fills` allows gaps; a position is -1 there.
Opened concat(const Config& option, std::vector<Opened> parts, bool fills)
{
    Fit(option, parts).frequency().variables().members().cells();
    auto whole = whole_of("concat", Axis::Dates, std::move(parts));
    auto& info = whole.selection.info;
    auto& positions = whole.selection.dates;
    for (const auto& part : whole.combination->parts)
        if (part.selection.info.dates.size() > 1)
            info.frequency_s = part.selection.info.frequency_s;
    const auto& second = whole.combination->parts[1].selection.info;
    if (info.frequency_s == 0)
        info.frequency_s = second.dates.front() - info.dates.front();
    GRADWIND_CHECK(info.frequency_s > 0, ConfigError, "[data] {}: {} does not follow {}: data sets follow each other",
                   option.where(), second.name, info.name);
    for (size_t i = 1; i < whole.combination->parts.size(); ++i) {
        const auto& own = whole.combination->parts[i].selection.info;
        const auto gap = own.dates.front() - info.dates.back();
        const bool follows = gap == info.frequency_s;
        GRADWIND_CHECK(follows || (fills && gap > 0 && gap % info.frequency_s == 0), ConfigError,
                       "[data] {}: {} starts at {}, after {} that the others end with; data sets follow each other{}, "
                       "here every {}",
                       option.where(), own.name, format_datetime(own.dates.front()), format_datetime(info.dates.back()),
                       fills ? "" : " without a gap (`fill_missing_gaps: true` allows gaps)",
                       frequency_to_string(info.frequency_s));
        for (auto date = info.dates.back() + info.frequency_s; date < own.dates.front(); date += info.frequency_s) {
            info.dates.push_back(date);
            info.missing.push_back(1);
            positions.push_back(-1);
        }
        const auto before = std::count_if(positions.begin(), positions.end(), [](int64_t at) { return at >= 0; });
        for (size_t date = 0; date < own.dates.size(); ++date)
            positions.push_back(before + int64_t(date));
        info.dates.insert(info.dates.end(), own.dates.begin(), own.dates.end());
        info.missing.insert(info.missing.end(), own.missing.begin(), own.missing.end());
    }
    return whole;
}

/// Cells of the parts, all of them or those under a mask.
Opened grids(const char* how, const Config& option, std::vector<Opened> parts)
{
    Fit(option, parts).dates().variables().members();
    auto whole = whole_of(how, Axis::Cells, std::move(parts));
    auto& info = whole.selection.info;
    for (size_t i = 1; i < whole.combination->parts.size(); ++i) {
        const auto& own = whole.combination->parts[i].selection.info;
        info.latitudes.insert(info.latitudes.end(), own.latitudes.begin(), own.latitudes.end());
        info.longitudes.insert(info.longitudes.end(), own.longitudes.begin(), own.longitudes.end());
        for (size_t date = 0; date < info.missing.size(); ++date)
            info.missing[date] |= own.missing[date];
    }
    info.field_shape = {int64_t(info.latitudes.size())};
    info.masks.clear();
    return whole;
}

/// What `adjust` names, its aliases resolved.
std::set<std::string> adjusted(const Config& options)
{
    std::set<std::string> what;
    if (!options.has("adjust"))
        return what;
    const auto value = options.at("adjust");
    for (const auto& item : value.is_list() ? value.items() : std::vector<Config>{value}) {
        const auto name = item.as<std::string>();
        GRADWIND_CHECK(name == "all" || name == "dates" || name == "variables" || name == "select" || name == "start" ||
                           name == "end" || name == "frequency",
                       ConfigError, "[data] {} is `{}`; there are all, dates, variables, select, start, end, frequency",
                       item.where(), name);
        if (name == "all" || name == "dates")
            what.insert({"start", "end", "frequency"});
        if (name == "all" || name == "variables")
            what.insert("select");
        if (name != "all" && name != "dates" && name != "variables")
            what.insert(name);
    }
    return what;
}

void adjust_variables(const Config& options, std::vector<Opened>& parts)
{
    std::set<std::string> common(parts[0].selection.info.variables.begin(), parts[0].selection.info.variables.end());
    for (const auto& part : parts) {
        const auto& names = part.selection.info.variables;
        std::erase_if(common,
                      [&](const auto& name) { return std::find(names.begin(), names.end(), name) == names.end(); });
    }
    GRADWIND_CHECK(!common.empty(), ConfigError, "[data] {}: the data sets have no variable in common",
                   options.at("adjust").where());
    for (auto& part : parts) {
        const auto& names = part.selection.info.variables;
        if (names.size() == common.size())
            continue;
        std::vector<int64_t> positions; // by name, as the original has them
        for (const auto& name : common)
            positions.push_back(std::find(names.begin(), names.end(), name) - names.begin());
        keep_variables(positions, part.selection);
    }
}

void adjust_dates(const Config& options, const std::set<std::string>& what, std::vector<Opened>& parts)
{
    auto common = parts[0].selection.info.dates;
    int64_t frequency = 0;
    for (const auto& part : parts) {
        const auto& dates = part.selection.info.dates;
        std::erase_if(common, [&](int64_t date) { return !std::binary_search(dates.begin(), dates.end(), date); });
        frequency = std::max(frequency, part.selection.info.frequency_s);
    }
    GRADWIND_CHECK(!common.empty(), ConfigError, "[data] {}: the data sets have no date in common",
                   options.at("adjust").where());
    for (auto& part : parts) {
        auto& info = part.selection.info;
        std::vector<int64_t> positions;
        int64_t first = 0;
        for (size_t i = 0; i < info.dates.size(); ++i) {
            if ((what.contains("start") && info.dates[i] < common.front()) ||
                (what.contains("end") && info.dates[i] > common.back()))
                continue;
            if (positions.empty())
                first = info.dates[i];
            if (!what.contains("frequency") || frequency == 0 || (info.dates[i] - first) % frequency == 0)
                positions.push_back(int64_t(i));
        }
        keep_dates(positions, part.selection);
        if (what.contains("frequency"))
            info.frequency_s = frequency;
    }
}

void adjust(const Config& options, std::vector<Opened>& parts)
{
    const auto what = adjusted(options);
    if (what.contains("select"))
        adjust_variables(options, parts);
    if (what.contains("start") || what.contains("end") || what.contains("frequency"))
        adjust_dates(options, what, parts);
}

/// Positions of an axis, shared out to the parts that they lie in.
struct Share {
    std::vector<int64_t> positions, places; ///< in the part; in the whole
};

std::vector<Share> share_out(const std::vector<int64_t>& positions, const std::vector<int64_t>& sizes)
{
    std::vector<Share> shares(sizes.size());
    for (size_t place = 0; place < positions.size(); ++place) {
        auto position = positions[place];
        if (position < 0)
            continue; // a gap between data sets
        size_t part = 0;
        while (position >= sizes[part])
            position -= sizes[part++];
        shares[part].positions.push_back(position);
        shares[part].places.push_back(int64_t(place));
    }
    return shares;
}

int64_t size_of(Axis axis, const DatasetInfo& info)
{
    switch (axis) {
    case Axis::Dates:
        return int64_t(info.dates.size());
    case Axis::Variables:
        return int64_t(info.variables.size());
    case Axis::Cells:
        return int64_t(info.latitudes.size());
    }
    return 0;
}

void hand_down(const Selection& whole, Axis axis, const Share& share, Selection& part)
{
    keep_dates(axis == Axis::Dates ? share.positions : whole.dates, part);
    keep_variables(axis == Axis::Variables ? share.positions : whole.variables, part);
    keep_members(whole.members, part);
    if (axis == Axis::Cells)
        keep_cells(share.positions, part);
    else if (whole.cells)
        keep_cells(*whole.cells, part);
}

} // namespace

const std::vector<std::string>& combining_options()
{
    static const std::vector<std::string> names = {"join", "concat", "grids", "cutout"};
    return names;
}

Opened open_combination(const Config& options)
{
    const auto& names = combining_options();
    const auto how = *std::find_if(names.begin(), names.end(), [&](const auto& name) { return options.has(name); });
    const auto option = options.at(how);
    GRADWIND_CHECK(option.is_list() && !option.items().empty(), ConfigError, "[data] {} must be a list of data sets",
                   option.where());
    std::vector<Opened> parts;
    for (const auto& item : option.items())
        parts.push_back(open_options(item));
    if (parts.size() == 1)
        return std::move(parts.front());
    adjust(options, parts);
    if (how == "join")
        return join(option, std::move(parts));
    if (how == "concat")
        return concat(option, std::move(parts), options.get<bool>("fill_missing_gaps", false));
    if (how == "cutout") {
        const auto masks = cutout_masks(options, parts);
        for (size_t i = 0; i < parts.size(); ++i) {
            std::vector<int64_t> kept;
            for (size_t cell = 0; cell < masks[i].size(); ++cell)
                if (masks[i][cell])
                    kept.push_back(int64_t(cell));
            keep_cells(kept, parts[i].selection);
        }
    }
    return grids(how.c_str(), option, std::move(parts));
}

std::shared_ptr<const Dataset> make_dataset(Opened opened)
{
    if (opened.store)
        return std::make_shared<const StoreDataset>(std::move(opened.store), std::move(opened.selection));
    const auto& selection = opened.selection;
    const auto axis = opened.combination->axis;
    std::vector<int64_t> sizes;
    for (const auto& part : opened.combination->parts)
        sizes.push_back(size_of(axis, part.selection.info));
    const auto cells = selection.cells ? *selection.cells : count_to(selection.info.latitudes.size());
    const auto& positions = axis == Axis::Dates       ? selection.dates
                            : axis == Axis::Variables ? selection.variables
                                                      : cells;
    const auto shares = share_out(positions, sizes);
    std::vector<CombinedDataset::Part> parts;
    for (size_t i = 0; i < shares.size(); ++i) {
        if (shares[i].positions.empty())
            continue;
        auto part = opened.combination->parts[i];
        hand_down(selection, axis, shares[i], part.selection);
        parts.push_back({make_dataset(std::move(part)), shares[i].places});
    }
    GRADWIND_CHECK(!parts.empty(), ConfigError, "[data] nothing is left of {}", selection.info.name);
    return std::make_shared<const CombinedDataset>(
        selection.info, axis, std::move(parts),
        CombinedDataset::OtherStatistics{selection.statistics_from, selection.names_in_statistics});
}

} // namespace gradwind::data::detail
