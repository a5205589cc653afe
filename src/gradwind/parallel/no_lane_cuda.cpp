// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for lane_cuda.cpp, device_graph_cuda.cpp and device_span_cuda.cpp in a build without CUDA.
#include "gradwind/parallel/device_graph.h"
#include "gradwind/parallel/lane.h"

namespace gradwind::parallel::detail
{

std::unique_ptr<Lane> make_cuda_lane(at::Device, Jobs)
{
    return nullptr;
}

std::unique_ptr<Stopwatch> make_cuda_stopwatch(at::Device)
{
    return nullptr;
}

std::shared_ptr<DeviceGraph> make_device_graph(at::Device, const DeviceGraph*)
{
    return nullptr;
}

std::unique_ptr<DeviceSpan> make_device_span(at::Device)
{
    return nullptr;
}

void leave_default_stream(at::Device) {}

} // namespace gradwind::parallel::detail
