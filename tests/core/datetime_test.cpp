// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/datetime.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>

namespace gradwind
{
namespace
{

TEST(Datetime, ReadsEverySpellingAndWritesOne)
{
    const int64_t blizzard = 820800000; // 1996-01-05 00:00
    EXPECT_EQ(parse_datetime("1996-01-05"), blizzard);
    EXPECT_EQ(parse_datetime("19960105"), blizzard);
    EXPECT_EQ(parse_datetime("1996-01-05T06:00"), blizzard + 21600);
    EXPECT_EQ(parse_datetime("1996-01-05 06:00:07"), blizzard + 21607);
    EXPECT_EQ(parse_datetime("1996-01-05T06:00:00Z"), blizzard + 21600);
    EXPECT_EQ(parse_datetime("1969-12-31T23:59:59"), -1);
    EXPECT_EQ(parse_datetime("2000-02-29"), 951782400);
    EXPECT_EQ(format_datetime(blizzard + 21607), "1996-01-05T06:00:07");
    EXPECT_EQ(format_datetime(-1, ' '), "1969-12-31 23:59:59");
}

TEST(Datetime, RefusesWhatIsNoDate)
{
    for (const char* text : {"", "1996", "1996-1-05", "1996-13-01", "1900-02-29", "1996-01-05T24:00:00", "1996-01-05x",
                             "1996-01-05T", "-996-01-05", "1996-0105", "199601-05"})
        EXPECT_THROW((void)parse_datetime(text), ConfigError) << text;
}

TEST(Datetime, StepsThereAndBack)
{
    EXPECT_EQ(parse_frequency("6h"), 21600);
    EXPECT_EQ(parse_frequency("6"), 21600);
    EXPECT_EQ(parse_frequency("1d"), 86400);
    EXPECT_EQ(parse_frequency("30m"), 1800);
    EXPECT_EQ(parse_frequency("90s"), 90);
    EXPECT_EQ(frequency_to_string(86400), "1d");
    EXPECT_EQ(frequency_to_string(129600), "36h");
    EXPECT_EQ(frequency_to_string(1800), "30m");
    EXPECT_EQ(frequency_to_string(90), "90s");
    for (const char* text : {"", "h", "0h", "-6h", "6x", "6 h", "99999999999999d"})
        EXPECT_THROW((void)parse_frequency(text), ConfigError) << text;
}

} // namespace
} // namespace gradwind
