// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What surrounds a function on a GPU that has a backward of its own.
#pragma once
#include "gradwind/core/torch_version.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/cuda/CUDAGuard.h>

namespace gradwind::ops
{

/// The device of its tensors, the types that it chooses itself, and operations that do not go by way of autograd, which
/// has nothing to record and takes the host's time for each.
class OwnFunction
{
public:
    explicit OwnFunction(at::Device device) : device_(device), precision_({}) {}

private:
    const c10::cuda::CUDAGuard device_;
    const AutocastGuard precision_;
    const at::AutoDispatchBelowADInplaceOrView below_autograd_;
};

} // namespace gradwind::ops
