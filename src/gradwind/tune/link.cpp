// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/link.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <torch/cuda.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace gradwind::tune
{

parallel::LinkModel fit_link(const std::vector<LinkPoint>& points)
{
    // Least squares with weights 1 / seconds^2: small messages count as much as large ones.
    double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
    for (const auto& point : points) {
        const double weight = 1 / (point.seconds * point.seconds), x = double(point.bytes), y = point.seconds;
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
    }
    const double determinant = w * wxx - wx * wx;
    GRADWIND_CHECK(points.size() >= 2 && determinant > 0, InternalError, "[tune] a line needs two different sizes");
    const double slope = std::max(1e-15, (w * wxy - wx * wy) / determinant);
    return {.latency_s = std::max(0.0, (wy - slope * wx) / w), .bytes_per_s = 1 / slope, .contention = 0};
}

std::vector<LinkPoint> measure_link(const parallel::Group& group, at::Device device, at::ScalarType dtype,
                                    const LinkMeasurement& how)
{
    constexpr int warm_up = 2; // the first ones open connections
    std::vector<LinkPoint> points;
    if (group.size() == 1)
        return points;
    for (int64_t bytes = 4096; bytes <= how.max_bytes; bytes *= 4) {
        const auto x = at::zeros({bytes / int64_t(at::elementSize(dtype))}, at::device(device).dtype(dtype));
        std::vector<double> seconds;
        for (int repeat = 0; repeat < how.repeats + warm_up; ++repeat) {
            group.barrier();
            const auto start = std::chrono::steady_clock::now();
            group.all_reduce_sum_(x);
            if (device.is_cuda())
                torch::cuda::synchronize(device.index());
            const double own = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            if (repeat >= warm_up)
                seconds.push_back(group.max(std::array{own})[0]);
        }
        std::sort(seconds.begin(), seconds.end());
        points.push_back({bytes, seconds[seconds.size() / 2]});
        if (points.size() >= 2 && points.back().seconds > how.max_seconds)
            break;
    }
    return points;
}

} // namespace gradwind::tune
