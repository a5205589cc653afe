// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/sampler.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/layout.h"

#include <algorithm>
#include <numeric>

namespace gradwind::train
{

namespace
{

int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

} // namespace

int64_t BatchLimit::of(int64_t n_batches) const
{
    return batches ? std::min(*batches, n_batches) : int64_t(fraction * double(n_batches));
}

Sampler::Sampler(const SamplerOptions& options, const SamplerState& state) : options_(options), state_(state)
{
    GRADWIND_ASSERT(options.batch_size > 0 && options.effective_batch > 0 && options.accumulation > 0);
    GRADWIND_ASSERT(options.n_replicas > 0 && options.replica >= 0 && options.replica < options.n_replicas);
    GRADWIND_ASSERT(options.n_workers > 0);
    if (state.stream)
        stream_.emplace(*state.stream);
}

void Sampler::begin_epoch(int64_t n_anchors)
{
    if (options_.shuffle == Shuffle::Yes) {
        // A resumed epoch draws again from the state that its first drawing started with.
        if (!stream_ || (options_.stream == Stream::RestartedEachEpoch && state_.steps_done == 0)) {
            const uint32_t key = uint32_t(state_.epoch);
            stream_.emplace(derive_seed(options_.base_seed, SeedContext::DataLoader, {&key, 1}));
            (void)stream_->next_double(); // the original draws one number for a log line
        }
        state_.stream = stream_->state();
        order_ = stream_->permutation(n_anchors);
    } else {
        order_.resize(size_t(n_anchors));
        std::iota(order_.begin(), order_.end(), int64_t(0));
    }
    if (options_.order == SampleOrder::Global)
        plan_global(n_anchors);
    else
        plan_anemoi(n_anchors);
    GRADWIND_CHECK(n_steps_ > 0, ConfigError,
                   "[sampler] expected at least one step in an epoch, found none: {} usable samples for {} replicas; "
                   "widen `dataloader.<part>.datasets.<name>.start` ... `end`, or use fewer replicas",
                   n_anchors, options_.n_replicas);
}

void Sampler::plan_global(int64_t n_anchors)
{
    const int64_t passes = ceil_div(ceil_div(options_.effective_batch, options_.n_replicas), options_.batch_size);
    const int64_t n_passes = ceil_div(n_anchors, options_.effective_batch) * passes;
    const int64_t allowed = options_.limit.of(n_passes);
    n_used_ = std::min(n_anchors, ceil_div(allowed, passes) * options_.effective_batch);
    n_steps_ = ceil_div(n_used_, options_.effective_batch);
}

void Sampler::plan_anemoi(int64_t n_anchors)
{
    const int64_t shard = n_anchors / options_.n_replicas;
    std::vector<std::vector<std::vector<int64_t>>> of_worker(static_cast<size_t>(options_.n_workers));
    std::vector<int64_t> own;
    size_t most = 0;
    for (int64_t worker = 0; worker < options_.n_workers; ++worker) {
        const auto part = parallel::balanced_span(shard, options_.n_workers, worker);
        const auto low = part.begin + options_.replica * shard, high = low + part.size;
        own.insert(own.end(), order_.begin() + low, order_.begin() + high);
        auto& batches = of_worker[size_t(worker)];
        for (int64_t at = low; at < high; at += options_.batch_size)
            batches.emplace_back(order_.begin() + at, order_.begin() + std::min(at + options_.batch_size, high));
        most = std::max(most, batches.size());
    }
    order_ = std::move(own);
    batches_.clear();
    for (size_t i = 0; i < most; ++i)
        for (auto& batches : of_worker)
            if (i < batches.size())
                batches_.push_back(std::move(batches[i]));
    batches_.resize(size_t(options_.limit.of(int64_t(batches_.size()))));
    n_steps_ = ceil_div(int64_t(batches_.size()), options_.accumulation);
}

StepSamples Sampler::step(int64_t step_in_epoch) const
{
    GRADWIND_ASSERT(step_in_epoch >= 0 && step_in_epoch < n_steps_);
    StepSamples result{.epoch = state_.epoch, .step_in_epoch = step_in_epoch, .micro_batches = {}, .n_global = 0};
    if (options_.order == SampleOrder::Anemoi) {
        const auto first = size_t(step_in_epoch * options_.accumulation);
        const auto last = std::min(first + size_t(options_.accumulation), batches_.size());
        for (size_t i = first; i < last; ++i) {
            const auto n = int64_t(batches_[i].size());
            // The original's mean of means: over samples, over passes (always divided by the configured number, also
            // where an epoch ends early), over ranks.
            const double weight = 1.0 / (double(n) * double(options_.accumulation) * double(options_.n_replicas));
            const auto position =
                ((int64_t(i) - int64_t(first)) * options_.n_replicas + options_.replica) * options_.batch_size;
            result.micro_batches.push_back({batches_[i], weight, position});
            result.n_global += n * options_.n_replicas;
        }
        return result;
    }
    const int64_t begin = first_sample(step_in_epoch);
    result.n_global = std::min(options_.effective_batch, n_used_ - begin);
    const int64_t passes = ceil_div(ceil_div(result.n_global, options_.n_replicas), options_.batch_size);
    const auto share = parallel::balanced_span(result.n_global, options_.n_replicas, options_.replica);
    for (int64_t pass = 0; pass < passes; ++pass) {
        const auto part = parallel::balanced_span(share.size, passes, pass);
        const auto start = order_.begin() + begin + share.begin;
        result.micro_batches.push_back(
            {{start + part.begin, start + part.end()}, 1.0 / double(result.n_global), share.begin + part.begin});
    }
    return result;
}

void Sampler::advance()
{
    state_.samples_done += step(state_.steps_done).n_global;
    ++state_.steps_done;
}

void Sampler::end_epoch()
{
    ++state_.epoch;
    state_.samples_done = state_.steps_done = 0;
    if (options_.shuffle == Shuffle::Yes)
        state_.stream = stream_->state();
}

} // namespace gradwind::train
