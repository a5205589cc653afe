// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The options that choose dates.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/dataset_dates.h"
#include "gradwind/data/open_dataset_impl.h"

#include <algorithm>

namespace gradwind::data::detail
{

namespace
{

/// Keeps every `stride`-th date of [first, last].
void keep_every(int64_t first, int64_t last, int64_t stride, Selection& selection)
{
    std::vector<int64_t> positions;
    for (auto i = first; i <= last; i += stride)
        positions.push_back(i);
    keep_dates(positions, selection);
    selection.info.frequency_s = selection.info.dates.size() < 2 ? 0 : selection.info.frequency_s * stride;
}

std::string option_text(const Config& options, const char* key)
{
    return options.has(key) ? options.get<std::string>(key) : std::string();
}

} // namespace

void keep_dates(const std::vector<int64_t>& positions, Selection& selection)
{
    std::vector<int64_t> dates, sources;
    std::vector<char> missing;
    for (const auto position : positions) {
        dates.push_back(selection.info.dates[size_t(position)]);
        sources.push_back(selection.dates[size_t(position)]);
        missing.push_back(selection.info.missing[size_t(position)]);
    }
    selection.info.dates = std::move(dates);
    selection.info.missing = std::move(missing);
    selection.dates = std::move(sources);
}

void cut_period(const std::string& start, const std::string& end, const std::string& where, Selection& selection)
{
    if (start.empty() && end.empty())
        return;
    const auto& dates = selection.info.dates;
    const auto first = start.empty() ? 0 : position_of(start, RangeEnd::Start, dates);
    const auto last = end.empty() ? int64_t(dates.size()) - 1 : position_of(end, RangeEnd::End, dates);
    GRADWIND_CHECK(first <= last, ConfigError, "[data] {}: no date from `{}` to `{}` ({}); the data set has {} to {}",
                   selection.info.name, start, end, where, format_datetime(dates.front()),
                   format_datetime(dates.back()));
    keep_every(first, last, 1, selection);
}

void apply_period(const Config& options, Selection& selection)
{
    cut_period(option_text(options, "start"), option_text(options, "end"), options.where(), selection);
}

void apply_frequency(const Config& options, Selection& selection)
{
    if (!options.has("frequency"))
        return;
    const auto wanted = options.at("frequency");
    const auto seconds = parse_frequency(wanted.as<std::string>());
    if (selection.info.frequency_s == 0)
        return;
    GRADWIND_CHECK(seconds % selection.info.frequency_s == 0, ConfigError,
                   "[data] {} is {}, which is not a multiple of the data set's {}", wanted.where(),
                   frequency_to_string(seconds), frequency_to_string(selection.info.frequency_s));
    keep_every(0, int64_t(selection.info.dates.size()) - 1, seconds / selection.info.frequency_s, selection);
}

void apply_set_missing_dates(const Config& options, Selection& selection)
{
    if (!options.has("set_missing_dates"))
        return;
    const auto list = options.at("set_missing_dates");
    auto& info = selection.info;
    for (const auto& item : list.is_list() ? list.items() : std::vector<Config>{list}) {
        const auto date = parse_date(item.as<std::string>());
        GRADWIND_CHECK(date, ConfigError, "[data] {} is `{}`, which is no date", item.where(), item.as<std::string>());
        // Dates outside the series are allowed: one list may serve several periods.
        const auto found = std::lower_bound(info.dates.begin(), info.dates.end(), date->first);
        if (found != info.dates.end() && *found == date->first)
            info.missing[size_t(found - info.dates.begin())] = 1;
    }
}

void apply_fill_missing_dates(const Config& options, Selection& selection)
{
    if (!options.has("fill_missing_dates"))
        return;
    const auto method = options.at("fill_missing_dates");
    GRADWIND_CHECK(method.as<std::string>() == "closest", ConfigError, "[data] {} is `{}`; only `closest` is supported",
                   method.where(), method.as<std::string>());
    const auto tie = options.get<std::string>("closest", "up");
    GRADWIND_CHECK(tie == "up" || tie == "down", ConfigError, "[data] {} must be `up` or `down`, found `{}`",
                   options.at("closest").where(), tie);
    auto& missing = selection.info.missing;
    const auto n_dates = int64_t(missing.size());
    GRADWIND_CHECK(std::find(missing.begin(), missing.end(), char(0)) != missing.end(), ConfigError,
                   "[data] {}: every date is missing, so none can be filled ({})", selection.info.name, method.where());
    const auto original = selection.dates;
    for (int64_t i = 0; i < n_dates; ++i) {
        if (!missing[size_t(i)])
            continue;
        auto below = i, above = i;
        while (below >= 0 && missing[size_t(below)])
            --below;
        while (above < n_dates && missing[size_t(above)])
            ++above;
        const bool take_above =
            below < 0 || (above < n_dates && (above - i < i - below || (above - i == i - below && tie == "up")));
        selection.dates[size_t(i)] = original[size_t(take_above ? above : below)];
    }
    std::fill(missing.begin(), missing.end(), char(0));
}

} // namespace gradwind::data::detail
