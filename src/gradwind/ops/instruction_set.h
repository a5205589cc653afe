// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which of the instruction sets that kernels are compiled for this machine has.
#pragma once

namespace gradwind::ops
{

enum class InstructionSet { Baseline, Avx2, Avx512 };

/// The widest set that the processor has; Baseline on anything but x86.
[[nodiscard]] inline InstructionSet instruction_set()
{
#if defined(__x86_64__) || defined(_M_X64)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return InstructionSet::Avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return InstructionSet::Avx2;
#endif
    return InstructionSet::Baseline;
}

} // namespace gradwind::ops
