// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/orthonormal.h"

#include "gradwind/parallel/low_rank_device.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

namespace gradwind::parallel::detail
{
namespace
{

/// Beside a matrix of unit norm. Its square is far above the rounding of the Gram matrix, itself far below what
/// matters.
constexpr double kDirectionWeight = 1e-6;
/// Of the mean diagonal element of the Gram matrix.
constexpr double kRelativeShift = 1e-14;

/// splitmix64: counter in, well mixed bits out.
uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

at::Tensor cholesky_qr(const at::Tensor& a)
{
    auto gram = at::matmul(a.transpose(1, 2), a);
    auto diagonal = gram.diagonal(0, 1, 2);
    diagonal.add_(diagonal.mean(1, /*keepdim=*/true), kRelativeShift);
    const auto lower = std::get<0>(at::linalg_cholesky_ex(gram));
    // a = q lower^T
    return at::linalg_solve_triangular(lower.transpose(1, 2), a, /*upper=*/true, /*left=*/false);
}

void orthonormalise_by_library(const at::Tensor& matrices, const at::Tensor& directions, const at::Tensor& result)
{
    auto a = matrices.to(at::kDouble);
    const auto norm = a.flatten(1).norm(2, {1}, /*keepdim=*/true).unsqueeze(2);
    // A zero matrix stays zero here, and the directions take its place.
    a = at::where(norm > 0, a / norm, at::zeros({}, a.options())).add_(directions, kDirectionWeight);
    a = cholesky_qr(cholesky_qr(a));
    result.copy_(a);
}

} // namespace

at::Tensor fixed_directions(uint64_t key, int64_t n, int64_t r, at::Device device)
{
    std::vector<double> values(static_cast<size_t>(n * r));
    const double length = std::sqrt(3.0 / static_cast<double>(n)); // uniform in +-length: unit columns
    uint64_t counter = mixed(key);
    for (double& value : values)
        value = length * (static_cast<double>(mixed(++counter) >> 11) * 0x1p-52 - 1.0);
    return at::tensor(values, at::kDouble).view({n, r}).to(device);
}

void orthonormalise(const at::Tensor& matrices, const at::Tensor& directions, const at::Tensor& result)
{
    const ToOrthonormalise one{matrices, directions, result};
    orthonormalise({&one, 1});
}

void orthonormalise(std::span<const ToOrthonormalise> all)
{
    if (orthonormalise_on_device(all, kDirectionWeight, kRelativeShift))
        return;
    for (const auto& [matrices, directions, result] : all)
        orthonormalise_by_library(matrices, directions, result);
}

} // namespace gradwind::parallel::detail
