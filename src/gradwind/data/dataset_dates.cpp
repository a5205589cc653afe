// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/dataset_dates.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace gradwind::data
{

namespace
{

constexpr int64_t kDay = 86400;

std::optional<int64_t> parse_digits(std::string_view text)
{
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || text[0] == '-' || error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

int64_t day_start(std::chrono::year_month_day day)
{
    return int64_t(std::chrono::sys_days(day).time_since_epoch().count()) * kDay;
}

/// month and day of 0 mean all of them.
std::optional<DateSpan> span_of(int64_t year, int64_t month, int64_t day)
{
    using namespace std::chrono;
    if (year < 1 || year > 9999 || month < 0 || month > 12 || day < 0 || day > 31)
        return std::nullopt;
    const std::chrono::year y{int(year)};
    const std::chrono::month first_month{unsigned(month ? month : 1)};
    const year_month_day first = y / first_month / std::chrono::day{unsigned(day ? day : 1)};
    if (!first.ok())
        return std::nullopt;
    if (day)
        return DateSpan{day_start(first), day_start(first) + kDay - 1};
    const std::chrono::month last_month{unsigned(month ? month : 12)};
    return DateSpan{day_start(first), day_start(year_month_day{y / last_month / last}) + kDay - 1};
}

std::optional<DateSpan> parse_day(std::string_view text)
{
    const auto part = [&](size_t at, size_t length) { return parse_digits(text.substr(at, length)).value_or(-1); };
    if (parse_digits(text)) {
        if (text.size() == 4)
            return span_of(part(0, 4), 0, 0);
        if (text.size() == 6)
            return part(4, 2) == 0 ? std::nullopt : span_of(part(0, 4), part(4, 2), 0);
        if (text.size() == 8)
            return part(4, 2) * part(6, 2) == 0 ? std::nullopt : span_of(part(0, 4), part(4, 2), part(6, 2));
        return std::nullopt;
    }
    if (text.size() == 7 && text[4] == '-' && part(5, 2) > 0)
        return span_of(part(0, 4), part(5, 2), 0);
    if (text.size() == 10 && text[4] == '-' && text[7] == '-' && part(5, 2) > 0 && part(8, 2) > 0)
        return span_of(part(0, 4), part(5, 2), part(8, 2));
    return std::nullopt;
}

/// Seconds of the day of HH:MM or HH:MM:SS.
std::optional<int64_t> parse_clock(std::string_view text)
{
    if ((text.size() != 5 && text.size() != 8) || text[2] != ':' || (text.size() == 8 && text[5] != ':'))
        return std::nullopt;
    const auto hours = parse_digits(text.substr(0, 2)), minutes = parse_digits(text.substr(3, 2));
    const auto seconds = text.size() == 8 ? parse_digits(text.substr(6, 2)) : 0;
    if (!hours || !minutes || !seconds || *hours > 23 || *minutes > 59 || *seconds > 59)
        return std::nullopt;
    return *hours * 3600 + *minutes * 60 + *seconds;
}

std::optional<double> parse_percent(std::string_view text)
{
    if (text.empty() || text.back() != '%')
        return std::nullopt;
    text.remove_suffix(1);
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= 100))
        return std::nullopt;
    return value;
}

int64_t percent_position(double percent, RangeEnd which, int64_t n_dates)
{
    constexpr double kRounding = 1e-6;
    const double x = double(n_dates) * percent / 100;
    const auto position = which == RangeEnd::Start ? int64_t(x - kRounding) : int64_t(x + kRounding) - 1;
    return std::clamp<int64_t>(position, 0, n_dates - 1);
}

} // namespace

std::optional<DateSpan> parse_date(std::string_view text)
{
    if (text.size() <= 10)
        return parse_day(text);
    if (text.back() == 'Z')
        text.remove_suffix(1);
    if (text.size() < 16 || (text[10] != 'T' && text[10] != ' '))
        return std::nullopt;
    const auto day = parse_day(text.substr(0, 10));
    const auto clock = parse_clock(text.substr(11));
    if (!day || !clock)
        return std::nullopt;
    return DateSpan{day->first + *clock, day->first + *clock};
}

int64_t position_of(std::string_view text, RangeEnd which, std::span<const int64_t> dates)
{
    GRADWIND_ASSERT(!dates.empty());
    const auto n_dates = int64_t(dates.size());
    if (const auto percent = parse_percent(text))
        return percent_position(*percent, which, n_dates);
    auto span = parse_date(text);
    if (!span && which == RangeEnd::Start && text.size() == 5 && text.ends_with(":00"))
        if (const auto clock = parse_clock(text)) {
            const auto moment = parse_date(format_datetime(dates[0]).substr(0, 10))->first + *clock;
            span = DateSpan{moment, moment};
        }
    GRADWIND_CHECK(
        span, ConfigError,
        "[data] `{}` is no date; write YYYY, YYYY-MM, YYYY-MM-DD, YYYY-MM-DDTHH:MM:SS or a share such as 25%", text);
    if (which == RangeEnd::Start) {
        const auto found = std::lower_bound(dates.begin(), dates.end(), span->first);
        return std::min<int64_t>(found - dates.begin(), n_dates - 1);
    }
    const auto found = std::upper_bound(dates.begin(), dates.end(), span->last);
    return std::max<int64_t>(found - dates.begin() - 1, 0);
}

} // namespace gradwind::data
