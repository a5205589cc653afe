// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Steps of AdamW that a GPU takes by itself: norm, clipping and the decision whether to apply are made there.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/train/adamw_kernel.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>

namespace gradwind::train::detail
{

struct Verdict {
    double sum_of_squares = 0; ///< of all gradients, on all ranks of the group
    bool applied = true;
};

class DeviceAdamW
{
public:
    virtual ~DeviceAdamW() = default;
    /// Queues a step on the current stream and returns. The memory of the pieces has to live as long as work that is
    /// queued there. @param group  ranks that hold the other pieces; their squares are part of the norm
    virtual void queue(std::span<const AdamWPiece> pieces, const AdamWRates& rates, const parallel::Group& group) = 0;
    /// What became of the step queued last; waits for its norm.
    [[nodiscard]] virtual Verdict verdict() = 0;
    /// Steps that bias correction counts as done.
    virtual void set_steps(int64_t steps) = 0;
};

/// Null in a build without CUDA.
[[nodiscard]] std::unique_ptr<DeviceAdamW> make_device_adamw(at::Device device);

} // namespace gradwind::train::detail
