// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What has gradients to exchange in exchange_bench: a network, or a recording of one.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/gradient_piece.h"

#include <string>
#include <vector>

namespace gradwind::bench
{

struct NetworkOptions {
    /// gemm: 24 blocks like those of a transformer; timed: the same parameters, sleeps for compute; profile: parameters
    /// and times of a recorded step, sleeps for compute
    std::string compute = "gemm";
    int64_t blocks = 24, channels = 1024, tokens = 4096;
    double backward_ms = 30;      ///< of timed compute
    std::string profile;          ///< file of train_step_bench --profile
    double step_ms = 0, slow = 1; ///< of a profile
    int64_t shrink = 1;           ///< of a profile: tensors have this many times fewer elements, a square number
    /// Of a profile: what the device it was recorded on takes for the factors of a step, in ms; slept like all compute.
    double factor_ms = 0;
};

class Network
{
public:
    Network(const NetworkOptions& options, at::Device device);
    [[nodiscard]] const std::vector<parallel::NamedParameter>& parameters() const { return parameters_; }
    /// Forward; backward of the result gives every parameter a gradient.
    /// @param share  of the times of a profile: less while warming up
    [[nodiscard]] at::Tensor loss(double share = 1) const;
    /// After a step: sleeps for the device's work on factors, if gradients came as such.
    void work_on(const std::vector<parallel::GradientPiece>& pieces) const;

private:
    void make_blocks(at::Device device);
    void read_profile(at::Device device);
    [[nodiscard]] const at::Tensor& p(size_t block, size_t k) const
    {
        return parameters_[block * per_block_ + k].tensor;
    }
    [[nodiscard]] at::Tensor real(const at::Tensor& x, size_t block) const;
    [[nodiscard]] at::Tensor timed(const at::Tensor& x, size_t block) const;
    [[nodiscard]] at::Tensor replayed(double share) const;

    const NetworkOptions options_;
    size_t per_block_ = 0;
    std::vector<parallel::NamedParameter> parameters_; ///< of a profile: by the time at which they are ready
    std::vector<double> ready_ms_;
    double forward_ms_ = 0, backward_ms_ = 0;
    at::Tensor x_;
};

} // namespace gradwind::bench
