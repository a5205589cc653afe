// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace gradwind
{

/// Starts this program again, at most once, with OMP_WAIT_POLICY=passive and OPENBLAS_THREAD_TIMEOUT=16, unless the
/// user has set OMP_WAIT_POLICY or GOMP_SPINCOUNT. OpenMP and OpenBLAS have a pool of threads each; those of one that
/// wait for work otherwise spin on the cores that the other's need. Both read their policy when they are loaded, before
/// main. A step of a graph transformer on two cores takes half the time with the first and a fifth less with the second
/// (bench/README.md). Call it first in main(); child processes inherit both. If the program cannot be started again it
/// goes on as it is.
/// @param argv as main() received it
void let_waiting_threads_sleep(char** argv);

} // namespace gradwind
