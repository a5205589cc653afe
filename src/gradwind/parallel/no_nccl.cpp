// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for nccl.cpp in a build without CUDA.
#include "gradwind/core/error.h"
#include "gradwind/parallel/backend.h"

namespace gradwind::parallel::detail
{

std::shared_ptr<Backend> connect_nccl(StoreHandle&, const Connection&)
{
    throw ConfigError(
        "[comm] this build has no NCCL: build with -DGRADWIND_CUDA=ON against a PyTorch with CUDA, or train on "
        "the CPU");
}

bool has_nccl()
{
    return false;
}

} // namespace gradwind::parallel::detail
