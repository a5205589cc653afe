// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/create_statistics.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>

namespace gradwind::data
{

template <class F>
void RunningStatistics::add_block(size_t size, F value)
{
    int64_t count = 0;
    double sum = 0;
    for (size_t i = 0; i < size; ++i) {
        const float x = value(i);
        if (std::isnan(x))
            continue;
        ++count;
        sum += double(x);
        minimum_ = std::min(minimum_, double(x));
        maximum_ = std::max(maximum_, double(x));
    }
    if (count == 0)
        return;
    const double mean = sum / double(count);
    double squares = 0;
    double drift = 0; // what rounding left in the mean
    for (size_t i = 0; i < size; ++i) {
        const float x = value(i);
        if (std::isnan(x))
            continue;
        const double distance = double(x) - mean;
        squares += distance * distance;
        drift += distance;
    }
    squares -= drift * drift / double(count);
    const double block_mean = mean + drift / double(count);
    const double total = double(count_ + count);
    const double step = block_mean - mean_;
    squares_ += std::max(squares, 0.0) + step * step * double(count_) * double(count) / total;
    mean_ += step * double(count) / total;
    count_ += count;
}

void RunningStatistics::add(std::span<const float> values)
{
    add_block(values.size(), [&](size_t i) { return values[i]; });
}

void RunningStatistics::add_differences(std::span<const float> a, std::span<const float> b)
{
    GRADWIND_ASSERT(a.size() == b.size());
    add_block(a.size(), [&](size_t i) { return a[i] - b[i]; });
}

double RunningStatistics::mean() const
{
    return count_ ? mean_ : std::numeric_limits<double>::quiet_NaN();
}

double RunningStatistics::stdev() const
{
    return count_ ? std::sqrt(squares_ / double(count_)) : std::numeric_limits<double>::quiet_NaN();
}

double RunningStatistics::minimum() const
{
    return count_ ? minimum_ : std::numeric_limits<double>::quiet_NaN();
}

double RunningStatistics::maximum() const
{
    return count_ ? maximum_ : std::numeric_limits<double>::quiet_NaN();
}

} // namespace gradwind::data
