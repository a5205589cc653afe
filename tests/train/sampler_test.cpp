// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/sampler.h"

#include "gradwind/core/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace gradwind::train
{
namespace
{

using Indices = std::vector<int64_t>;

uint32_t seed_for(uint64_t base, SeedContext context, uint32_t key)
{
    return derive_seed(base, context, {&key, 1});
}

TEST(NumpyRandom, SeedsAreNumpysSeedSequence)
{
    EXPECT_EQ(derive_seed(42, SeedContext::Trainer), 2684470948u);
    EXPECT_EQ(seed_for(42, SeedContext::Model, 0), 1174127800u);
    EXPECT_EQ(seed_for(42, SeedContext::Model, 3), 1850291428u);
    EXPECT_EQ(seed_for(42, SeedContext::DataLoader, 0), 1587909317u);
    EXPECT_EQ(seed_for(42, SeedContext::DataLoader, 3), 3087798466u);
}

TEST(NumpyRandom, PermutationsContinueOneStream)
{
    Pcg64 stream(1587909317);
    EXPECT_DOUBLE_EQ(stream.next_double(), 0.8135218551271903);
    EXPECT_EQ(stream.permutation(10), (Indices{7, 2, 4, 0, 1, 8, 6, 3, 9, 5}));
    EXPECT_EQ(stream.permutation(10), (Indices{5, 2, 4, 8, 1, 9, 0, 7, 3, 6}));
}

TEST(NumpyRandom, LargePermutationsTakeNumpysOtherPath)
{
    Pcg64 stream(1587909317);
    (void)stream.next_double();
    const auto first = stream.permutation(12000);
    EXPECT_EQ(Indices(first.begin(), first.begin() + 6), (Indices{6585, 7597, 931, 2323, 3798, 4319}));
    EXPECT_EQ(Indices(first.end() - 4, first.end()), (Indices{2591, 10222, 9409, 8812}));
    const auto second = stream.permutation(12000);
    EXPECT_EQ(Indices(second.begin(), second.begin() + 6), (Indices{4248, 2942, 1943, 2847, 4631, 478}));
}

TEST(NumpyRandom, StateContinuesWithinABufferedDraw)
{
    Pcg64 stream(7);
    (void)stream.next_u32(); // leaves the high half buffered
    Pcg64 copy(stream.state());
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(stream.next_u32(), copy.next_u32());
}

/// Samples of every step of an epoch, replicas one after the other.
std::vector<Indices> steps_of(int64_t n_anchors, int64_t n_replicas, SamplerOptions options, int64_t n_epochs = 1)
{
    std::vector<Indices> result;
    options.n_replicas = n_replicas;
    std::vector<Sampler> samplers;
    for (options.replica = 0; options.replica < n_replicas; ++options.replica)
        samplers.emplace_back(options);
    for (int64_t epoch = 0; epoch < n_epochs; ++epoch) {
        for (auto& sampler : samplers)
            sampler.begin_epoch(n_anchors);
        for (int64_t step = 0; step < samplers[0].n_steps(); ++step) {
            auto& samples = result.emplace_back();
            size_t n_passes = samplers[0].step(step).micro_batches.size();
            for (auto& sampler : samplers) {
                const auto part = sampler.step(step);
                EXPECT_EQ(part.micro_batches.size(), n_passes) << "every replica joins every collective";
                for (const auto& batch : part.micro_batches) {
                    EXPECT_LE(int64_t(batch.samples.size()), options.batch_size);
                    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
                }
                sampler.advance();
            }
        }
        for (auto& sampler : samplers)
            sampler.end_epoch();
    }
    return result;
}

TEST(Sampler, GlobalOrderIsTheSameForEveryLayout)
{
    const auto reference = steps_of(45, 1, {.batch_size = 12, .effective_batch = 12}, 3);
    EXPECT_EQ(reference.size(), 12u);
    EXPECT_EQ(reference[3].size(), 9u) << "the last short batch is kept";
    for (const int64_t n_replicas : {2, 3, 4, 5, 12})
        for (const int64_t batch_size : {1, 2, 12})
            EXPECT_EQ(steps_of(45, n_replicas, {.batch_size = batch_size, .effective_batch = 12}, 3), reference)
                << n_replicas << " replicas, batch size " << batch_size;
}

TEST(Sampler, LastShortBatchLeavesSomeReplicasEmpty)
{
    Sampler sampler({.shuffle = Shuffle::No, .batch_size = 2, .effective_batch = 6, .n_replicas = 3, .replica = 2});
    sampler.begin_epoch(8);
    const auto last = sampler.step(1);
    EXPECT_EQ(last.n_global, 2);
    ASSERT_EQ(last.micro_batches.size(), 1u);
    EXPECT_TRUE(last.micro_batches[0].samples.empty());
    EXPECT_DOUBLE_EQ(sampler.step(0).micro_batches[0].sample_weight, 1.0 / 6);
}

TEST(Sampler, AnemoiOrderAlternatesWorkersAndDropsTheTail)
{
    SamplerOptions options{.order = SampleOrder::Anemoi, .shuffle = Shuffle::No, .batch_size = 2, .n_replicas = 2};
    options.n_workers = 2;
    options.replica = 1;
    Sampler sampler(options);
    sampler.begin_epoch(15); // 7 samples a group: 7..13, worker 0 has 4 of them, worker 1 has 3
    const std::vector<Indices> expected = {{7, 8}, {11, 12}, {9, 10}, {13}};
    ASSERT_EQ(sampler.n_steps(), 4);
    for (int64_t step = 0; step < 4; ++step) {
        EXPECT_EQ(sampler.step(step).micro_batches[0].samples, expected[size_t(step)]);
        EXPECT_EQ(sampler.step(step).n_global, 2 * int64_t(expected[size_t(step)].size()));
    }
    EXPECT_DOUBLE_EQ(sampler.step(3).micro_batches[0].sample_weight, 0.5);
}

TEST(Sampler, ResumesInMidEpochAndInLaterEpochs)
{
    for (const auto stream : {Stream::Continued, Stream::RestartedEachEpoch}) {
        const SamplerOptions options{.stream = stream, .batch_size = 4, .effective_batch = 4};
        std::vector<Indices> uninterrupted, resumed;
        Sampler sampler(options);
        for (int64_t epoch = 0; epoch < 3; ++epoch, sampler.end_epoch()) {
            sampler.begin_epoch(18 - epoch); // a longer rollout leaves fewer anchors
            for (; sampler.next_step() < sampler.n_steps(); sampler.advance())
                uninterrupted.push_back(sampler.step(sampler.next_step()).micro_batches[0].samples);
        }
        SamplerState saved;
        int64_t n_anchors = 18;
        for (size_t done = 0; done < uninterrupted.size(); ++done) {
            Sampler again(options, saved);
            again.begin_epoch(n_anchors);
            resumed.push_back(again.step(again.next_step()).micro_batches[0].samples);
            again.advance();
            if (again.next_step() == again.n_steps()) {
                again.end_epoch();
                --n_anchors;
            }
            saved = again.state();
        }
        EXPECT_EQ(resumed, uninterrupted);
    }
}

TEST(Sampler, LimitBatchesCutsTheEpoch)
{
    SamplerOptions options{.batch_size = 2, .effective_batch = 8};
    options.limit.batches = 6; // passes; four of them are one step
    EXPECT_EQ(steps_of(100, 1, options).size(), 2u);
    EXPECT_EQ(steps_of(100, 2, {.batch_size = 2, .effective_batch = 8, .limit = {.batches = 3}}).size(), 2u);
    EXPECT_EQ(steps_of(100, 2, {.batch_size = 4, .effective_batch = 8, .limit = {.fraction = 0.5}}).size(), 6u);
    options.order = SampleOrder::Anemoi;
    options.accumulation = 4;
    Sampler sampler(options);
    sampler.begin_epoch(100);
    EXPECT_EQ(sampler.n_steps(), 2);
    EXPECT_EQ(sampler.step(1).micro_batches.size(), 2u);
    EXPECT_DOUBLE_EQ(sampler.step(1).micro_batches[0].sample_weight, 1.0 / 8);
}

TEST(Sampler, AnEpochWithoutStepsIsRefused)
{
    Sampler sampler({.order = SampleOrder::Anemoi, .n_replicas = 4});
    EXPECT_THROW(sampler.begin_epoch(3), ConfigError);
}

} // namespace
} // namespace gradwind::train
