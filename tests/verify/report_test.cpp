// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/report.h"

#include <gtest/gtest.h>
#include <limits>

namespace gradwind::verify
{
namespace
{

TEST(CaseReport, NothingCheckedIsNotPassed)
{
    EXPECT_FALSE(CaseReport().passed());
}

TEST(CaseReport, NanFailsAndIsTheWorst)
{
    CaseReport report;
    report.check("good", 1e-12, 1e-10);
    EXPECT_TRUE(report.passed());
    report.check("far over", 1.0, 1e-10);
    report.check("nan", std::numeric_limits<double>::quiet_NaN(), 1.0);
    EXPECT_FALSE(report.passed());
    EXPECT_EQ(report.worst()->name, "nan");
}

TEST(CaseReport, ExactChecksAllowNoDifference)
{
    CaseReport report;
    report.check("equal", 0, 0);
    EXPECT_TRUE(report.passed());
    report.check("one element differs", 1, 0);
    EXPECT_FALSE(report.passed());
}

TEST(CaseReport, APartLeftOutIsNotPassed)
{
    CaseReport report;
    report.check("good", 0, 0);
    report.not_run.push_back("half precision");
    EXPECT_FALSE(report.passed());
}

} // namespace
} // namespace gradwind::verify
