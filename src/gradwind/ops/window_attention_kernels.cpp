// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/window_attention_kernels.h"

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
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        return avx512::of(T());
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return avx2::of(T());
#endif
    return baseline::of(T());
}

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

} // namespace gradwind::ops::window_attention_kernels
