// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/report.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradwind::verify
{

namespace
{

/// How far a check is from failing; a failed exact comparison and NaN are infinitely far over.
double severity(const Check& check)
{
    if (std::isnan(check.error))
        return std::numeric_limits<double>::infinity();
    if (check.tolerance == 0)
        return check.error == 0 ? 0 : std::numeric_limits<double>::infinity();
    return check.error / check.tolerance;
}

} // namespace

bool CaseReport::passed() const
{
    return !checks.empty() && not_run.empty() &&
           std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.passed(); });
}

const Check* CaseReport::worst() const
{
    const auto found = std::max_element(checks.begin(), checks.end(),
                                        [](const Check& a, const Check& b) { return severity(a) < severity(b); });
    return found == checks.end() ? nullptr : &*found;
}

} // namespace gradwind::verify
