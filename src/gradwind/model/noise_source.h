// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Where the noise of ensembles comes from (spec §6.2, with numbers of our own).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace gradwind::model
{

constexpr int64_t kMostNoiseChannels = 4096;

/// What a network asks of a source of noise.
struct NoiseRequest {
    int64_t batch = 1;
    int64_t members = 1;
    int64_t n_nodes = 0;
    int64_t channels = 0;
    int64_t rollout_step = 0;
};

/// Numbers of the standard normal distribution.
class NoiseSource
{
public:
    virtual ~NoiseSource() = default;
    /// @return [batch, members, n_nodes, channels] float32 on the CPU; equal for equal requests
    [[nodiscard]] virtual at::Tensor draw(const NoiseRequest& request) const = 0;
};

/// Where one sample's noise stands among all that a run draws.
struct NoisePlace {
    uint64_t key = 0;             ///< of base seed and purpose
    int64_t step = 0;             ///< of the optimiser, over the whole run
    std::vector<int64_t> samples; ///< position of each sample of the batch in the global batch
    int64_t first_member = 0;     ///< number in the ensemble of the first member of this batch
};

/// Counter-based: each number depends on key, step, sample, member, rollout step, node and channel alone, so it is the
/// same whichever process asks for it (Philox with ten rounds, then Box and Muller's transform).
class CounterNoise : public NoiseSource
{
public:
    explicit CounterNoise(NoisePlace place) : place_(std::move(place)) {}
    /// @throws InternalError for a request of another batch size, or beyond 4096 members, 1024 rollout steps or
    ///         kMostNoiseChannels
    [[nodiscard]] at::Tensor draw(const NoiseRequest& request) const override;

private:
    NoisePlace place_;
};

} // namespace gradwind::model
