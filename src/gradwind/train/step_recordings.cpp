// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_recordings.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

namespace
{

void copy_to(const at::Tensor& place, const at::Tensor& values)
{
    GRADWIND_CHECK(place.defined() == values.defined() && (!place.defined() || place.sizes() == values.sizes()),
                   InternalError, "[train] a batch has another shape than that of the recorded step of its kind");
    if (place.defined())
        place.copy_(values, /*non_blocking=*/true);
}

StepRecordings::Inputs copy_of(const StepRecordings::Inputs& inputs)
{
    auto result = inputs;
    for (auto& batch : result)
        for (auto& dataset : batch) {
            dataset.batch = dataset.batch.clone();
            if (dataset.context.nan_mask.defined())
                dataset.context.nan_mask = dataset.context.nan_mask.clone();
        }
    return result;
}

} // namespace

bool StepRecordings::Kind::alternates_with(const Kind& other) const
{
    return n_rollout == other.n_rollout && batches == other.batches && exchange / 2 == other.exchange / 2;
}

bool StepRecordings::takes(const Kind& kind)
{
    if (!recordings_.empty() && !recordings_.begin()->first.alternates_with(kind))
        drop();
    return !seen_.insert(kind).second;
}

StepRecordings::Was StepRecordings::run(const Kind& kind, const Inputs& inputs,
                                        const std::function<Shares(const Inputs&)>& work, Shares& shares)
{
    auto found = recordings_.find(kind);
    const auto was = found == recordings_.end() ? Was::Recorded : Was::Repeated;
    if (was == Was::Recorded) {
        Recording fresh{copy_of(inputs), {}, nullptr};
        fresh.work = make_(recordings_.empty() ? nullptr : recordings_.begin()->second.work.get());
        fresh.work->record([&] { fresh.shares = work(fresh.inputs); });
        found = recordings_.emplace(kind, std::move(fresh)).first;
    } else {
        for (size_t i = 0; i < inputs.size(); ++i)
            for (size_t k = 0; k < inputs[i].size(); ++k) {
                const auto& place = found->second.inputs[i][k];
                copy_to(place.batch, inputs[i][k].batch);
                copy_to(place.context.nan_mask, inputs[i][k].context.nan_mask);
            }
    }
    last_ = &found->second;
    last_->work->start();
    shares = last_->shares;
    return was;
}

void StepRecordings::wait()
{
    if (last_)
        last_->work->wait();
}

void StepRecordings::after_other_work()
{
    if (last_)
        last_->work->after_other_work();
}

void StepRecordings::drop()
{
    last_ = nullptr;
    recordings_.clear();
}

at::Tensor NoNoise::draw(const model::NoiseRequest&) const
{
    throw ConfigError(
        "[train] expected training.strategy.cuda_graphs=false for a network with a noise injector: what is "
        "recorded once would draw the same noise in every step");
}

} // namespace gradwind::train
