// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/ops/row_mlp_call.h"

namespace gradwind::ops
{

variable_list row_mlp_cuda_forward(const RowMlpCall&, const variable_list&)
{
    throw InternalError("[row_mlp] this build knows no GPU");
}

variable_list row_mlp_cuda_backward(const RowMlpCall&, const variable_list&, const variable_list&,
                                    const std::vector<bool>&)
{
    throw InternalError("[row_mlp] this build knows no GPU");
}

} // namespace gradwind::ops
