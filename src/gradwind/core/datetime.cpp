// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/datetime.h"

#include "gradwind/core/error.h"

#include <charconv>
#include <chrono>

namespace gradwind
{

namespace
{

constexpr int64_t seconds_per_day = 86400;

/// Takes `digits` digits and then, if given, one separator off the front of `text`.
bool take_number(std::string_view& text, size_t digits, int& value)
{
    if (text.size() < digits)
        return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
    if (error != std::errc() || end != text.data() + digits || text.front() == '-')
        return false;
    text.remove_prefix(digits);
    return true;
}

bool take_char(std::string_view& text, std::string_view allowed)
{
    if (text.empty() || allowed.find(text.front()) == std::string_view::npos)
        return false;
    text.remove_prefix(1);
    return true;
}

bool take_time(std::string_view& text, CivilTime& time)
{
    if (!take_number(text, 2, time.hour) || !take_char(text, ":") || !take_number(text, 2, time.minute))
        return false;
    return !take_char(text, ":") || take_number(text, 2, time.second);
}

bool take_datetime(std::string_view text, CivilTime& time)
{
    int year = 0;
    if (!take_number(text, 4, year))
        return false;
    time.year = year;
    const bool dashes = take_char(text, "-");
    if (!take_number(text, 2, time.month) || (dashes && !take_char(text, "-")) || !take_number(text, 2, time.day))
        return false;
    if (take_char(text, "T ") && !take_time(text, time))
        return false;
    (void)take_char(text, "Z");
    return text.empty();
}

} // namespace

CivilTime CivilTime::from_seconds(int64_t seconds)
{
    using namespace std::chrono;
    int64_t day_number = seconds / seconds_per_day;
    if (seconds % seconds_per_day < 0)
        --day_number;
    const int rest = int(seconds - day_number * seconds_per_day);
    const year_month_day date{sys_days{days{day_number}}};
    return {int(date.year()), int(unsigned(date.month())), int(unsigned(date.day())), rest / 3600, rest / 60 % 60,
            rest % 60};
}

int64_t CivilTime::seconds() const
{
    using namespace std::chrono;
    const year_month_day date{std::chrono::year{int(year)}, std::chrono::month{unsigned(month)},
                              std::chrono::day{unsigned(day)}};
    const bool clock = hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60;
    GRADWIND_CHECK(date.ok() && clock, ConfigError, "[date] {:04}-{:02}-{:02} {:02}:{:02}:{:02} is not a date", year,
                   month, day, hour, minute, second);
    return sys_days{date}.time_since_epoch().count() * seconds_per_day + hour * 3600 + minute * 60 + second;
}

int64_t parse_datetime(std::string_view text)
{
    CivilTime time;
    GRADWIND_CHECK(take_datetime(text, time), ConfigError,
                   "[date] `{}` is not a date; expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS", text);
    return time.seconds();
}

std::string format_datetime(int64_t seconds, char separator)
{
    const auto t = CivilTime::from_seconds(seconds);
    return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}", t.year, t.month, t.day, separator, t.hour, t.minute,
                       t.second);
}

int64_t parse_frequency(std::string_view text)
{
    int64_t count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    const std::string_view unit(end, size_t(text.data() + text.size() - end));
    const int64_t scale = unit.empty() || unit == "h" ? 3600
                          : unit == "d"               ? seconds_per_day
                          : unit == "m"               ? 60
                                                      : unit == "s";
    constexpr int64_t limit = int64_t(1) << 40;
    GRADWIND_CHECK(error == std::errc() && scale > 0 && count > 0 && count < limit / scale, ConfigError,
                   "[date] `{}` is not a time step; expected for example 6h, 1d, 30m or 90s", text);
    return count * scale;
}

std::string frequency_to_string(int64_t seconds)
{
    if (seconds % seconds_per_day == 0)
        return fmt::format("{}d", seconds / seconds_per_day);
    if (seconds % 3600 == 0)
        return fmt::format("{}h", seconds / 3600);
    return seconds % 60 == 0 ? fmt::format("{}m", seconds / 60) : fmt::format("{}s", seconds);
}

} // namespace gradwind
