// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace gradwind
{

/// Starts this program again, at most once, with OMP_WAIT_POLICY=passive, unless the user has set that or
/// GOMP_SPINCOUNT. Threads of OpenMP that wait for work otherwise spin on the cores that the threads of the matrix
/// library need: the two are separate pools in OpenBLAS, and the runtime reads its policy when it is loaded, before
/// main. With it a step of a graph transformer on two cores takes half the time (bench/README.md). Call it first in
/// main(); child processes inherit the policy. If the program cannot be started again it goes on as it is.
/// @param argv as main() received it
void let_waiting_threads_sleep(char** argv);

} // namespace gradwind
