// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How fast the ranks of a group add up tensors.
#pragma once
#include "gradwind/parallel/bucket_planner.h"
#include "gradwind/parallel/group.h"

#include <cstdint>
#include <vector>

namespace gradwind::tune
{

struct LinkPoint {
    int64_t bytes = 0;
    double seconds = 0; ///< median of the repeats, of the slowest rank
};

/// The line a + b n closest to the points in relative terms. @param points  two or more, of different sizes
[[nodiscard]] parallel::LinkModel fit_link(const std::vector<LinkPoint>& points);

struct LinkMeasurement {
    int64_t max_bytes = 64 << 20;
    double max_seconds = 0.1; ///< larger messages are left out once one takes longer, but two sizes always run
    int repeats = 7;
};

/// Times all-reduces of 4 kB and more; nothing in a group of one.
/// @collective equal on all ranks
[[nodiscard]] std::vector<LinkPoint> measure_link(const parallel::Group& group, at::Device device, at::ScalarType dtype,
                                                  const LinkMeasurement& how = {});

} // namespace gradwind::tune
