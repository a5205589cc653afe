// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/replay.h"

#include "gradwind/core/error.h"
#include "gradwind/train/batch_check.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>
#include <torch/cuda.h>

#include <chrono>
#include <numeric>

namespace gradwind::tune
{

StepReplay::StepReplay(train::Job& job) : job_(job)
{
    const auto& training = *job.training;
    const auto relative = job.settings.task.relative_indices(training.frequency_s(), 1);
    const auto anchors = training.anchors(relative);
    GRADWIND_CHECK(!anchors.empty(), DataError, "[tune] the training data have no sample");
    const auto batch_size = job.settings.training.batch_size;
    const int64_t replicas = job.groups.layout.replicas();
    const int64_t replica = job.groups.world.rank() * replicas / job.groups.world.size();
    std::vector<int64_t> own;
    for (int64_t i = 0; i < batch_size; ++i)
        own.push_back(anchors[size_t(replica * batch_size + i) % anchors.size()]);
    train::BatchFeeder feeder(training, {own},
                              {.device = job.device,
                               .dtype = job.dtype,
                               .n_threads = 1,
                               .prefetch_batches = 1,
                               .relative_indices = relative});
    auto raw = feeder.next();
    samples_.resize(raw.anchors.size());
    std::iota(samples_.begin(), samples_.end(), replica * batch_size);
    std::vector<model::BatchMasks> masks;
    datasets_ = job.prepare(training, raw.values,
                            job.additive() ? std::optional(double(batch_size * replicas)) : std::nullopt, masks);
}

std::vector<parallel::NamedParameter> StepReplay::parameters() const
{
    return train::trainable_parameters(*job_.model);
}

ReplayStep StepReplay::step(parallel::GradientEngine& engine, const std::function<void()>& beside)
{
    const auto synchronize = [&] {
        if (job_.device.is_cuda())
            torch::cuda::synchronize(job_.device.index());
    };
    synchronize();
    const auto start = std::chrono::steady_clock::now();
    if (beside)
        beside();
    engine.begin_step();
    at::Tensor share;
    {
        const AutocastGuard autocast(train::autocast_for(job_.settings.precision, job_.device));
        const auto noise = job_.noise(train::NoisePurpose::Training, 0, samples_);
        share = train::rollout_loss(*job_.model, datasets_, job_.settings.task, 1, {},
                                    {job_.settings.members_per_process, &noise})
                    .total;
    }
    engine.begin_backward(parallel::Sync::Reduce);
    share.backward();
    engine.finish();
    synchronize();
    return {.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
            .exposed_s = engine.last_step().exposed};
}

} // namespace gradwind::tune
