// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Steps of a model on one stored batch, so that only the exchange of gradients differs between trials.
#pragma once
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/job.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace gradwind::tune
{

struct ReplayStep {
    double seconds = 0;   ///< from zeroing gradients to their sum, waiting for the device
    double exposed_s = 0; ///< of that, after backward
};

/// Steps whose exchange of gradients is to be tuned.
class Steps
{
public:
    virtual ~Steps() = default;
    [[nodiscard]] virtual std::vector<parallel::NamedParameter> parameters() const = 0;
    /// Forward, backward and exchange, all the same every time.
    /// @param engine  made of parameters()
    /// @param beside  called when the clock has started; what it puts under way runs beside the step
    /// @collective if the engine's world or the model's group has more than one rank
    virtual ReplayStep step(parallel::GradientEngine& engine, const std::function<void()>& beside) = 0;
};

class StepReplay : public Steps
{
public:
    /// Reads the first batch of this rank's replica. @param job  must outlive this
    explicit StepReplay(train::Job& job);
    [[nodiscard]] std::vector<parallel::NamedParameter> parameters() const override;
    ReplayStep step(parallel::GradientEngine& engine, const std::function<void()>& beside) override;

private:
    train::Job& job_;
    std::vector<train::RolloutDataset> datasets_;
    std::vector<int64_t> samples_; ///< positions in the global batch
};

} // namespace gradwind::tune
