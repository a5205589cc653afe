// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/progress_cuda.h"

#include <cuda_runtime.h>

namespace gradwind::parallel::detail
{

namespace
{

__global__ void note(volatile int32_t* where, int32_t number)
{
    *where = number;
}

} // namespace

const char* note_progress_cuda(volatile int32_t* where, int32_t number, void* stream)
{
    note<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(where, number);
    const cudaError_t status = cudaGetLastError();
    return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

} // namespace gradwind::parallel::detail
