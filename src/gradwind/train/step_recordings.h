// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Steps that a GPU has done before, started again with one call (training.strategy.cuda_graphs).
#pragma once
#include "gradwind/model/noise_source.h"
#include "gradwind/parallel/recorded_work.h"
#include "gradwind/train/step_loss.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// Records what steps do between a prepared batch and summed gradients, and starts it again for the next batch.
///
/// A recording keeps the memory of its step, so at any time there are only those of steps that come in turns: whole
/// gradients, or one for each of the two factors. They share their memory.
class StepRecordings
{
public:
    /// All that tells steps apart besides the values in their batches.
    struct Kind {
        int64_t n_rollout = 1;
        std::vector<std::pair<int64_t, double>> batches; ///< samples of each micro-batch, and the weight of one
        int64_t exchange = 0;                            ///< GradientEngine::kind_of_next_step()
        auto operator<=>(const Kind&) const = default;
        /// Whether the two come in turns.
        [[nodiscard]] bool alternates_with(const Kind& other) const;
    };
    /// The data sets of each micro-batch.
    using Inputs = std::vector<std::vector<RolloutDataset>>;
    /// Of the loss, by micro-batch.
    using Shares = std::vector<at::Tensor>;
    enum class Was { Recorded, Repeated };

    /// @param beside  as of RecordedWork
    using Make = std::function<std::unique_ptr<parallel::RecordedWork>(const parallel::RecordedWork* beside)>;

    explicit StepRecordings(Make make) : make_(std::move(make)) {}

    /// Whether a step of this kind is to go through run(): it has been here before, and so has what is made once. If
    /// not, the step has the memory of all recordings.
    [[nodiscard]] bool takes(const Kind& kind);
    /// Queues a step. @param work  the step, to be recorded where it is not yet; of tensors that stay
    /// @return its shares, to be read after wait() and before the next run() @collective as the step
    Was run(const Kind& kind, const Inputs& inputs, const std::function<Shares(const Inputs&)>& work, Shares& shares);
    /// Until the step queued last is done; at once if there is none. @throws CommError
    void wait();
    /// Something besides steps has been on the device, and is through.
    void after_other_work();
    void drop();

private:
    struct Recording {
        Inputs inputs; ///< where the recorded work reads
        Shares shares;
        std::unique_ptr<parallel::RecordedWork> work;
    };

    const Make make_;
    std::set<Kind> seen_;
    std::map<Kind, Recording> recordings_;
    Recording* last_ = nullptr;
};

/// For steps that are recorded: numbers that the host draws would stay as they were.
class NoNoise : public model::NoiseSource
{
public:
    /// @throws ConfigError
    [[nodiscard]] at::Tensor draw(const model::NoiseRequest& request) const override;
};

} // namespace gradwind::train
