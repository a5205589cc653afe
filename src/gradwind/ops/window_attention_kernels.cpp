// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/window_attention_kernels.h"

#include "gradwind/ops/instruction_set.h"

namespace gradwind::ops::window_attention_kernels
{

#define GRADWIND_DECLARE_KERNELS(set)                                                                                  \
    namespace set                                                                                                      \
    {                                                                                                                  \
    const Kernels<float>& of(float);                                                                                   \
    const Kernels<double>& of(double);                                                                                 \
    }

GRADWIND_DECLARE_KERNELS(baseline)
#ifdef GRADWIND_X86_KERNELS
GRADWIND_DECLARE_KERNELS(avx2)
GRADWIND_DECLARE_KERNELS(avx512)
#endif

template <class T>
const Kernels<T>& kernels()
{
#ifdef GRADWIND_X86_KERNELS
    const auto available = instruction_set();
    if (available == InstructionSet::Avx512)
        return avx512::of(T());
    if (available == InstructionSet::Avx2)
        return avx2::of(T());
#endif
    return baseline::of(T());
}

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

} // namespace gradwind::ops::window_attention_kernels
