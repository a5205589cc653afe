// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Linear maps of rows.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwind::ops
{

struct LinearMap {
    at::Tensor weight; ///< [out, in]
    at::Tensor bias;   ///< [out]; undefined for none
};

/// x W^T + b for maps of the same rows, as one product: either all have a bias or none.
///
/// On a GPU, in float32 or in the type of autocast, by a function of its own: weights are cast where they are used and
/// not kept, columns are filled up to a multiple of 8 where there are many rows, and gradients of weights come out of
/// the product in float32. Elsewhere by torch's.
///
/// @param x [..., in] @return [..., out] of each map, possibly columns of one matrix
/// @gradient once, for x, weights and biases
[[nodiscard]] std::vector<at::Tensor> linear(const at::Tensor& x, const std::vector<LinearMap>& maps);

} // namespace gradwind::ops
