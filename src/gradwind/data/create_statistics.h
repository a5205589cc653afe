// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Statistics of the variables of a data set, gathered while it is written.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace gradwind::data
{

/// Count, mean, spread and range of a stream of numbers, NaN left out; blocks are merged as they come (Welford, Chan),
/// so that no sum of squares loses digits.
class RunningStatistics
{
public:
    void add(std::span<const float> values);
    /// Adds a[i] - b[i], rounded to single precision as the original rounds it (spec §14.2).
    void add_differences(std::span<const float> a, std::span<const float> b);

    [[nodiscard]] int64_t count() const { return count_; }
    [[nodiscard]] double mean() const;
    /// Of the population: divided by the count.
    [[nodiscard]] double stdev() const;
    [[nodiscard]] double minimum() const;
    [[nodiscard]] double maximum() const;

private:
    template <class F>
    void add_block(size_t size, F value);

    int64_t count_ = 0;
    double mean_ = 0;
    double squares_ = 0; ///< sum of squared distances from the mean
    double minimum_ = std::numeric_limits<double>::infinity();
    double maximum_ = -std::numeric_limits<double>::infinity();
};

} // namespace gradwind::data
