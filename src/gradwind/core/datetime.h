// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Dates of weather data: whole seconds since 1970-01-01 00:00 UTC, without leap seconds, and the steps between them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace gradwind
{

/// A point in time taken apart, UTC, proleptic Gregorian calendar.
struct CivilTime {
    int64_t year = 1970;
    int month = 1; ///< 1..12
    int day = 1;
    int hour = 0;
    int minute = 0;
    int second = 0;

    [[nodiscard]] static CivilTime from_seconds(int64_t seconds);
    /// @throws ConfigError if the date does not exist
    [[nodiscard]] int64_t seconds() const;
};

/// Reads "YYYY-MM-DD", optionally followed by "T" or a blank and "HH:MM[:SS]", optionally by "Z"; also "YYYYMMDD".
/// @throws ConfigError naming the text
[[nodiscard]] int64_t parse_datetime(std::string_view text);

/// "1996-01-05T06:00:00"; `separator` stands between date and time.
[[nodiscard]] std::string format_datetime(int64_t seconds, char separator = 'T');

/// Reads a positive step: "6h", "1d", "30m", "90s"; a number alone counts hours.
/// @throws ConfigError naming the text
[[nodiscard]] int64_t parse_frequency(std::string_view text);

/// The shortest of Anemoi's spellings: whole days "1d", whole hours "36h", else "30m" or "90s" (spec 14.2).
[[nodiscard]] std::string frequency_to_string(int64_t seconds);

} // namespace gradwind
