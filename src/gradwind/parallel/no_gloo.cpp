// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for gloo.cpp where Gloo's headers are absent.
#include "gradwind/core/error.h"
#include "gradwind/parallel/backend.h"

namespace gradwind::parallel::detail
{

std::shared_ptr<Backend> connect_gloo(StoreHandle&, const Connection&)
{
    throw ConfigError(
        "[comm] this build has no Gloo, so several CPU processes cannot work together: install Gloo's headers "
        "(Debian: libgloo-dev) and build again, or use NCCL on GPUs");
}

bool has_gloo()
{
    return false;
}

} // namespace gradwind::parallel::detail
