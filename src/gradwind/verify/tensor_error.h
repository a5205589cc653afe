// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How far a tensor is from a stored one.
#pragma once
#include <ATen/core/Tensor.h>

namespace gradwind::verify
{

/// ‖value − expected‖ / ‖expected‖ in double over all elements; where both are NaN they agree, where one is, the result
/// is NaN. An expected tensor of zeros gives ‖value‖ itself; another shape gives infinity.
[[nodiscard]] double relative_error(const at::Tensor& value, const at::Tensor& expected);

} // namespace gradwind::verify
