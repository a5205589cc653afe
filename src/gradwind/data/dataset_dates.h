// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The texts by which options name a stretch of dates. Dates are seconds since 1970-01-01 00:00 UTC.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace gradwind::data
{

/// The moments that a date text stands for: "2019-03" is all of March. Both ends included, in whole seconds.
struct DateSpan {
    int64_t first = 0;
    int64_t last = 0;
};

/// YYYY, YYYYMM, YYYYMMDD, YYYY-MM, YYYY-MM-DD, and a full date and time with "T" or a blank between them, seconds
/// and a closing "Z" optional. Nothing for other texts and for days that do not exist.
[[nodiscard]] std::optional<DateSpan> parse_date(std::string_view text);

enum class RangeEnd { Start, End };

/// Position of the first or last date that an option `start` or `end` keeps (spec §14.5).
///
/// Rounded to existing dates: start up, end down; beyond the series the nearest date of it. "25%" counts positions,
/// "HH:00" is an hour of the first day (start only).
/// @throws ConfigError for a text that is none of the accepted forms
[[nodiscard]] int64_t position_of(std::string_view text, RangeEnd which, std::span<const int64_t> dates);

} // namespace gradwind::data
