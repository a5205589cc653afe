// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for lane_cuda.cpp in a build without CUDA.
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

} // namespace gradwind::parallel::detail
