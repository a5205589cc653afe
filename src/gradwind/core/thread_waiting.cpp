// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/thread_waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace gradwind
{

void let_waiting_threads_sleep(char** argv)
{
    if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr)
        return;
    // 2^16 cycles; its default of 2^26 is for threads that have the cores to themselves.
    if (::setenv("OMP_WAIT_POLICY", "passive", 0) == 0 && ::setenv("OPENBLAS_THREAD_TIMEOUT", "16", 0) == 0)
        ::execv("/proc/self/exe", argv);
}

} // namespace gradwind
