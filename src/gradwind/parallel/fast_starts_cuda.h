// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How soon a GPU starts one kernel after another; private to parallel.
#pragma once
#include <c10/core/Device.h>

namespace gradwind::parallel::detail
{

/// Once a GPU has changed between kernels of two streams of a process six to ten times, whenever that was, it
/// starts every kernel of that process 0.18 us later than before, 2.5 % of a step of short ones
/// (bench/kernel_starts.py, on H200; neither pauses nor the end of those streams change that). Work of another context
/// makes it forget. Branches of a recorded step do not count, nor do copies from and to the host.
///
/// Waits for the device, and takes 0.2 s and, for that long, the memory of a context. Where less than 1 GiB is free, or
/// the driver refuses, all stays as it is.
void restore_fast_starts(c10::Device device);

} // namespace gradwind::parallel::detail
