// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The only place that tests the torch version. Torch 1.13 (Debian) to 2.11 and later.
#pragma once
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

#include <cmath>
#include <limits>

#define GRADWIND_TORCH_AT_LEAST(major, minor)                                                                          \
    (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))

namespace gradwind
{

/// Whether autocast is on for a kind of device, and to which type.
struct AutocastState {
    struct Device {
        bool enabled = false;
        at::ScalarType dtype = at::kBFloat16;
    };
    Device cpu;
    Device cuda;
    bool cache = true; ///< whether casts of weights are kept while autocast is on

    [[nodiscard]] static AutocastState current();
    /// Makes this the state of the calling thread.
    void apply() const;
};

/// Sets an autocast state for a scope. Casts of weights that were kept before are not used inside: a cast made without
/// gradients would cut the weight off.
class AutocastGuard
{
public:
    explicit AutocastGuard(AutocastState state) : before_(AutocastState::current())
    {
        state.cache = false;
        state.apply();
    }
    ~AutocastGuard() { before_.apply(); }
    AutocastGuard(const AutocastGuard&) = delete;
    AutocastGuard& operator=(const AutocastGuard&) = delete;

private:
    AutocastState before_;
};

#if GRADWIND_TORCH_AT_LEAST(2, 4)
inline AutocastState AutocastState::current()
{
    const auto of = [](at::DeviceType type) {
        return Device{at::autocast::is_autocast_enabled(type), at::autocast::get_autocast_dtype(type)};
    };
    return {of(at::kCPU), of(at::kCUDA), at::autocast::is_autocast_cache_enabled()};
}
inline void AutocastState::apply() const
{
    const auto set = [](at::DeviceType type, const Device& device) {
        at::autocast::set_autocast_enabled(type, device.enabled);
        at::autocast::set_autocast_dtype(type, device.dtype);
    };
    set(at::kCPU, cpu);
    set(at::kCUDA, cuda);
    at::autocast::set_autocast_cache_enabled(cache);
}
#else
inline AutocastState AutocastState::current()
{
    return {{at::autocast::is_cpu_enabled(), at::autocast::get_autocast_cpu_dtype()},
            {at::autocast::is_enabled(), at::autocast::get_autocast_gpu_dtype()},
            at::autocast::is_autocast_cache_enabled()};
}
inline void AutocastState::apply() const
{
    at::autocast::set_cpu_enabled(cpu.enabled);
    at::autocast::set_autocast_cpu_dtype(cpu.dtype);
    at::autocast::set_enabled(cuda.enabled);
    at::autocast::set_autocast_gpu_dtype(cuda.dtype);
    at::autocast::set_autocast_cache_enabled(cache);
}
#endif

/// The product of two matrices in float32, whatever type they have.
#if GRADWIND_TORCH_AT_LEAST(2, 9)
inline at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b)
{
    return a.scalar_type() == at::kFloat ? at::mm(a, b) : at::mm(a, b, at::kFloat);
}
#else
inline at::Tensor product_in_float(const at::Tensor& a, const at::Tensor& b)
{
    return at::mm(a, b).to(at::kFloat);
}
#endif

/// Attention of torch's own kernels, without a matrix of all scores in memory.
/// @param q, k, v [copies, heads, n, width], scores scaled by 1 / sqrt(width)
/// @param seen [n_queries, n_keys] bool, with a key for every query; undefined: all
#if GRADWIND_TORCH_AT_LEAST(2, 1)
inline at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& seen)
{
    return seen.defined() ? at::scaled_dot_product_attention(q, k, v, seen) : at::scaled_dot_product_attention(q, k, v);
}
#else
inline at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& seen)
{
    auto scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(double(q.size(3)));
    if (seen.defined())
        scores = scores.masked_fill(~seen, -std::numeric_limits<double>::infinity());
    return at::matmul(at::softmax(scores, -1), v);
}
#endif

} // namespace gradwind
