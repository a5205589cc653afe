// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/noise_source.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <numbers>

namespace gradwind::model
{

namespace
{

using Words = std::array<uint32_t, 4>;

/// Philox 4x32 with ten rounds (Salmon et al. 2011).
Words philox(Words counter, uint64_t key)
{
    auto low = uint32_t(key), high = uint32_t(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const auto a = uint64_t(0xD2511F53) * counter[0], b = uint64_t(0xCD9E8D57) * counter[2];
        counter = {uint32_t(b >> 32) ^ counter[1] ^ low, uint32_t(b), uint32_t(a >> 32) ^ counter[3] ^ high,
                   uint32_t(a)};
        low += 0x9E3779B9;
        high += 0xBB67AE85;
    }
    return counter;
}

/// Four numbers of the standard normal distribution.
std::array<float, 4> normal(const Words& words)
{
    std::array<float, 4> out{};
    for (size_t pair = 0; pair < 2; ++pair) {
        // Neither 0 nor 1, whose logarithm would be of no use.
        const double radius = std::sqrt(-2 * std::log((double(words[2 * pair]) + 0.5) * 0x1p-32));
        const double angle = 2 * std::numbers::pi * double(words[2 * pair + 1]) * 0x1p-32;
        out[2 * pair] = float(radius * std::cos(angle));
        out[2 * pair + 1] = float(radius * std::sin(angle));
    }
    return out;
}

constexpr int64_t kMostMembers = 4096, kMostRolloutSteps = 1024;

} // namespace

at::Tensor CounterNoise::draw(const NoiseRequest& request) const
{
    GRADWIND_CHECK(request.batch == int64_t(place_.samples.size()), InternalError,
                   "[noise] expected a request for the {} samples of the batch, found {}", place_.samples.size(),
                   request.batch);
    GRADWIND_CHECK(place_.first_member + request.members <= kMostMembers && request.rollout_step < kMostRolloutSteps &&
                       request.channels <= kMostNoiseChannels,
                   InternalError, "[noise] {} members, rollout step {} and {} channels are beyond {}, {} and {}",
                   place_.first_member + request.members, request.rollout_step, request.channels, kMostMembers,
                   kMostRolloutSteps, kMostNoiseChannels);
    auto out = at::empty({request.batch, request.members, request.n_nodes, request.channels}, at::kFloat);
    auto* values = out.data_ptr<float>();
    at::parallel_for(0, request.batch * request.members * request.n_nodes, 256, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const auto node = i % request.n_nodes, copy = i / request.n_nodes;
            const auto sample = place_.samples[size_t(copy / request.members)];
            const auto member = place_.first_member + copy % request.members;
            for (int64_t channel = 0; channel < request.channels; channel += 4) {
                // 12 bits for the member, 10 for the rollout step and 10 for the block of channels.
                const auto word = uint32_t(member << 20 | request.rollout_step << 10 | channel / 4);
                const auto four =
                    normal(philox({uint32_t(node), uint32_t(sample), word, uint32_t(place_.step)}, place_.key));
                const auto count = std::min<int64_t>(4, request.channels - channel);
                std::copy(four.begin(), four.begin() + count, values + i * request.channels + channel);
            }
        }
    });
    return out;
}

} // namespace gradwind::model
