// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/linear.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/linear_impl.h"

#include <ATen/ATen.h>

namespace gradwind::ops
{

std::vector<at::Tensor> linear(const at::Tensor& x, const std::vector<LinearMap>& maps)
{
    GRADWIND_ASSERT(!maps.empty());
    if (detail::linear_cuda_takes(x, maps))
        return detail::linear_on_cuda(x, maps);
    if (maps.size() == 1)
        return {at::linear(x, maps[0].weight, maps[0].bias)};
    std::vector<at::Tensor> weights, biases;
    std::vector<int64_t> widths;
    for (const auto& map : maps) {
        weights.push_back(map.weight);
        widths.push_back(map.weight.size(0));
        if (map.bias.defined())
            biases.push_back(map.bias);
    }
    return at::linear(x, at::cat(weights), biases.empty() ? at::Tensor() : at::cat(biases))
        .split_with_sizes(widths, -1);
}

} // namespace gradwind::ops
