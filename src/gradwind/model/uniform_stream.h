// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The random numbers that initial weights are made of.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <random>

namespace gradwind::model
{

/// Uniform float32 numbers as torch's CPU generator gives them for a seed (spec §2.7): 24 bits of a 32-bit Mersenne
/// twister for each element, row by row, scaled with one rounding.
class UniformStream
{
public:
    explicit UniformStream(uint32_t seed) : generator_(seed) {}
    /// One number in [low, high).
    [[nodiscard]] float next(float low, float high);
    /// Fills a tensor of any type and device, without recording gradients.
    void fill(at::Tensor& tensor, double low, double high);

private:
    std::mt19937 generator_;
};

} // namespace gradwind::model
