// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/edge_attention_kernels.h"

#include "gradwind/ops/instruction_set.h"

namespace gradwind::ops::edge_attention_kernels
{

#define GRADWIND_DECLARE_KERNELS(set)                                                                                  \
    namespace set                                                                                                      \
    {                                                                                                                  \
    const Kernels<float>& of(int64_t heads, float);                                                                    \
    const Kernels<double>& of(int64_t heads, double);                                                                  \
    }

GRADWIND_DECLARE_KERNELS(baseline)
#ifdef GRADWIND_X86_KERNELS
GRADWIND_DECLARE_KERNELS(avx2)
GRADWIND_DECLARE_KERNELS(avx512)
#endif

template <class T>
const Kernels<T>& kernels(int64_t heads)
{
#ifdef GRADWIND_X86_KERNELS
    const auto available = instruction_set();
    if (available == InstructionSet::Avx512)
        return avx512::of(heads, T());
    if (available == InstructionSet::Avx2)
        return avx2::of(heads, T());
#endif
    return baseline::of(heads, T());
}

template const Kernels<float>& kernels<float>(int64_t heads);
template const Kernels<double>& kernels<double>(int64_t heads);

} // namespace gradwind::ops::edge_attention_kernels
