// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Constants of the host on devices. A copy to a device makes the host wait for all that it has started there, so it is
// made once. All of this is safe to call from several threads.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwind::ops
{

/// The constant on a device, which is copied when it is first asked for there and again when it has changed; kept for
/// as long as the constant lives. On its own device the constant itself.
[[nodiscard]] at::Tensor on_device(const at::Tensor& constant, at::Device device);

/// Column numbers as an index on a device. Kept for good: for lists of which there are few.
[[nodiscard]] at::Tensor columns_on(const std::vector<int64_t>& columns, at::Device device);
/// The same of numbers, in float64.
[[nodiscard]] at::Tensor numbers_on(const std::vector<double>& numbers, at::Device device);

} // namespace gradwind::ops
