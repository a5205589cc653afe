// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A number that a GPU writes and the host reads; private to parallel's CUDA sources.
#pragma once
#include "gradwind/core/error.h"
#include "gradwind/parallel/progress_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace gradwind::parallel::detail
{

class DevicePlace
{
public:
    explicit DevicePlace(at::Device device)
        : device_(device), word_(at::full({1}, -1, at::device(at::kCPU).dtype(at::kInt).pinned_memory(true)))
    {
    }

    /// Nothing is noted yet.
    void clear() { *where() = -1; }
    /// The calling thread's stream writes it when it comes here.
    void mark(int32_t place)
    {
        const c10::cuda::CUDAGuard guard(device_);
        const char* failure =
            note_progress_cuda(where(), place, c10::cuda::getCurrentCUDAStream(device_.index()).stream());
        GRADWIND_CHECK(failure == nullptr, InternalError, "[graph] the GPU reports: {}", failure);
    }
    /// -1: nothing.
    [[nodiscard]] int32_t noted() const { return *where(); }

private:
    [[nodiscard]] volatile int32_t* where() const { return word_.data_ptr<int32_t>(); }

    const at::Device device_;
    const at::Tensor word_; ///< written by the device
};

} // namespace gradwind::parallel::detail
