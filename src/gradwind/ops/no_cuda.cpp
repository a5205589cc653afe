// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for the sources of a GPU where the build has none: nothing is taken, so nothing is called.
#include "gradwind/core/error.h"
#include "gradwind/ops/device_memory_cuda.h"
#include "gradwind/ops/edge_attention_impl.h"
#include "gradwind/ops/layer_norm_impl.h"
#include "gradwind/ops/linear_impl.h"
#include "gradwind/ops/row_mlp_call.h"

namespace gradwind::ops
{

namespace
{

[[noreturn]] void refuse()
{
    throw ConfigError("[ops] this build knows no GPU: configure with -DGRADWIND_CUDA=ON");
}

} // namespace

DeviceMemory cuda_memory(at::DeviceIndex)
{
    refuse();
}

void reset_cuda_peak(at::DeviceIndex)
{
    refuse();
}

variable_list row_mlp_cuda_forward(const RowMlpCall&, const variable_list&)
{
    refuse();
}

variable_list row_mlp_cuda_backward(const RowMlpCall&, const variable_list&, const variable_list&,
                                    const std::vector<bool>&)
{
    refuse();
}

bool detail::edge_attention_cuda_takes(const at::Tensor&, const EdgeTerm&)
{
    return false;
}

at::Tensor detail::edge_attention_on_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&, const EdgeTerm&,
                                          const EdgeIndex&)
{
    refuse();
}

bool detail::linear_cuda_takes(const at::Tensor&, const std::vector<LinearMap>&)
{
    return false;
}

std::vector<at::Tensor> detail::linear_on_cuda(const at::Tensor&, const std::vector<LinearMap>&)
{
    refuse();
}

bool detail::layer_norm_cuda_takes(const at::Tensor&, const at::Tensor&)
{
    return false;
}

at::Tensor detail::layer_norm_on_cuda(const at::Tensor&, const at::Tensor&, const at::Tensor&, double)
{
    refuse();
}

} // namespace gradwind::ops
