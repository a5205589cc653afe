// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/uniform_stream.h"

#include <ATen/ATen.h>

#include <cmath>

namespace gradwind::model
{

float UniformStream::next(float low, float high)
{
    constexpr uint32_t mask = 0xFFFFFF;
    const auto unit = float(generator_() & mask) * 0x1p-24F;
    return std::fma(unit, high - low, low);
}

void UniformStream::fill(at::Tensor& tensor, double low, double high)
{
    const at::NoGradGuard no_gradients;
    auto values = at::empty(tensor.sizes(), at::kFloat);
    auto* data = values.data_ptr<float>();
    for (int64_t i = 0; i < values.numel(); ++i)
        data[i] = next(float(low), float(high));
    tensor.copy_(values);
}

} // namespace gradwind::model
