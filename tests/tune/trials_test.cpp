// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/trials.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace gradwind::tune
{
namespace
{

using parallel::Compression;
using parallel::WireType;

/// 400 MB of gradients that become ready evenly over 100 ms, on a link of 1 GB/s: four times too slow.
Learnt slow_link()
{
    Learnt learnt;
    learnt.world = 2;
    learnt.gradient_bytes = 400 << 20;
    learnt.compute_s = 0.15;
    learnt.fp32.link = {.latency_s = 100e-6, .bytes_per_s = 1e9, .contention = 0};
    learnt.bf16_link = learnt.fp32.link;
    for (int i = 1; i <= 400; ++i)
        learnt.fp32.parts.push_back({1 << 20, 0.1 * i / 400});
    learnt.fp32.backward_s = 0.1;
    return learnt;
}

const Trial& find(const std::vector<Trial>& trials, const std::string& beginning)
{
    for (const auto& trial : trials)
        if (trial.name.starts_with(beginning))
            return trial;
    throw std::runtime_error("no trial " + beginning);
}

bool says(const TuneReport& report, const std::string& words)
{
    for (const auto& sentence : report.verdict)
        if (sentence.find(words) != std::string::npos)
            return true;
    return false;
}

TEST(Link, ALineIsFoundAgain)
{
    std::vector<LinkPoint> points;
    for (int64_t bytes = 1000; bytes <= 1'000'000; bytes *= 10)
        points.push_back({bytes, 20e-6 + double(bytes) / 3e9});
    const auto link = fit_link(points);
    EXPECT_NEAR(link.latency_s, 20e-6, 1e-9);
    EXPECT_NEAR(link.bytes_per_s, 3e9, 1e4);
    EXPECT_TRUE(measure_link(parallel::Group::self(), at::kCPU, at::kFloat).empty());
}

TEST(Trials, AreDifferentAndCoverTheGradients)
{
    const auto learnt = slow_link();
    const auto trials = candidates(learnt, {.accuracy = Accuracy::Any, .rank = 6});
    EXPECT_TRUE(trials.front().name.starts_with("default"));
    for (size_t i = 0; i < trials.size(); ++i) {
        const auto& options = trials[i].options;
        EXPECT_EQ(trials[i].predicted_s > 0, trials[i].accuracy != Accuracy::Any) << trials[i].name;
        if (trials[i].accuracy != Accuracy::Any) {
            EXPECT_EQ(std::accumulate(options.bucket_bytes.begin(), options.bucket_bytes.end(), int64_t{0}),
                      learnt.gradient_bytes)
                << trials[i].name;
        }
        for (size_t k = 0; k < i; ++k)
            EXPECT_FALSE(options.bucket_bytes == trials[k].options.bucket_bytes &&
                         options.wire == trials[k].options.wire &&
                         options.compression.kind == trials[k].options.compression.kind)
                << trials[i].name << " is " << trials[k].name;
    }
    // 420 MB take as many milliseconds, of which the last parts of backward hide a hundred.
    EXPECT_NEAR(find(trials, "planned").predicted_s, 0.05 + 0.42, 0.01);
    EXPECT_NEAR(find(trials, "planned, bf16").predicted_s, 0.05 + 0.21, 0.01);
    EXPECT_NEAR(find(trials, "one bucket").predicted_s, 0.15 + 0.42, 0.005);
    EXPECT_EQ(find(trials, "acp").options.compression.rank, 6);
    for (const auto& trial : candidates(learnt, {.accuracy = Accuracy::Exact}))
        EXPECT_EQ(trial.options.wire, WireType::AsStored) << trial.name;
}

/// Times as a machine of that kind would give them, and compression at what it is said to add.
TuneReport measured(const Learnt& learnt, const TuneOptions& options, double added_s)
{
    TuneReport report;
    report.learnt = learnt;
    report.trials = candidates(learnt, options);
    for (auto& trial : report.trials) {
        trial.wire_bytes = trial.accuracy == Accuracy::Any        ? learnt.gradient_bytes / 100
                           : trial.options.wire == WireType::Bf16 ? learnt.gradient_bytes / 2
                                                                  : learnt.gradient_bytes;
        // Four messages in each of two steps; only the last quarter of the gradients, ready at the end, is not hidden.
        trial.sent.assign(2, std::vector<SentBucket>(4, {learnt.gradient_bytes / 4, trial.wire_bytes / 4}));
        const double last = learnt.fp32.link.seconds(double(trial.wire_bytes) / 4);
        trial.seconds = trial.accuracy == Accuracy::Any ? learnt.compute_s + added_s + last : trial.predicted_s;
    }
    judge(report, options);
    return report;
}

TEST(Verdict, CompressionWinsOnASlowLinkWhereItMay)
{
    const auto any = measured(slow_link(), {.accuracy = Accuracy::Any}, 0.02);
    EXPECT_EQ(any.trials[any.winner].options.compression.kind, Compression::Acp);
    EXPECT_TRUE(says(any, "wins: 171."));
    const auto bf16 = measured(slow_link(), {.accuracy = Accuracy::Rounded}, 0.02);
    EXPECT_EQ(bf16.trials[bf16.winner].name, "planned, bf16");
    EXPECT_TRUE(says(bf16, "--allow compression"));
    const auto fp32 = measured(slow_link(), {.accuracy = Accuracy::Exact}, 0.02);
    EXPECT_EQ(fp32.trials[fp32.winner].options.wire, WireType::AsStored);
    for (const auto* report : {&any, &bf16, &fp32})
        for (size_t i = 1; i < report->trials.size(); ++i)
            EXPECT_LE(report->trials[i - 1].seconds, report->trials[i].seconds);
}

TEST(Verdict, BreakEvenIsWhereTheTimesMeet)
{
    // Backward hides 100 ms of communication; compression adds 20: dense fp32 takes as long where its 420 MB need 120.
    const auto exact = measured(slow_link(), {.accuracy = Accuracy::Exact}, 0.02);
    EXPECT_NEAR(exact.break_even_bytes_per_s, 419e6 / 0.12, 0.05 * 419e6 / 0.12);
    // In bf16 half of that bandwidth will do.
    const auto rounded = measured(slow_link(), {.accuracy = Accuracy::Rounded}, 0.02);
    EXPECT_NEAR(rounded.break_even_bytes_per_s, exact.break_even_bytes_per_s / 2, 0.05 * exact.break_even_bytes_per_s);
    EXPECT_TRUE(says(rounded, "compression wins on links below 1.7"));
    // It does not depend on the link on which it was worked out.
    auto faster = slow_link();
    faster.fp32.link.bytes_per_s = faster.bf16_link.bytes_per_s = 20e9;
    const auto there = measured(faster, {.accuracy = Accuracy::Rounded}, 0.02);
    EXPECT_NEAR(there.break_even_bytes_per_s, rounded.break_even_bytes_per_s, 0.02 * rounded.break_even_bytes_per_s);
    EXPECT_TRUE(says(there, "loses"));
}

TEST(Verdict, BreakEvenKnowsWhenFactorsTravelAndThatStepsDiffer)
{
    // Every other step sends 40 MB in its last message, which nothing hides: 20 ms of 2 GB/s, and 10 in the mean.
    const auto learnt = slow_link();
    TuneReport report;
    report.learnt = learnt;
    report.trials = candidates(learnt, {.accuracy = Accuracy::Exact});
    for (auto& trial : report.trials) {
        trial.seconds = trial.predicted_s;
        if (trial.accuracy != Accuracy::Any)
            continue;
        const int64_t half = learnt.gradient_bytes / 2;
        trial.sent = {{{half, 4'000'000}, {half, 40'000'000}}, {{half, 4'000'000}, {half, 0}}};
        trial.seconds = learnt.compute_s + 0.02 + learnt.fp32.link.latency_s + 40e6 / 1e9 / 2;
    }
    judge(report, {.accuracy = Accuracy::Exact});
    // Dense: 419 MB beside 100 ms of backward. Compressed: 20 ms, and 20 MB.
    EXPECT_NEAR(report.break_even_bytes_per_s, (419e6 - 20e6) / 0.12, 0.05 * 399e6 / 0.12);
}

TEST(Trials, HopelessOnesAreLeftOut)
{
    const auto learnt = slow_link();
    const TuneOptions options = {.accuracy = Accuracy::Rounded};
    auto trials = candidates(learnt, options);
    const size_t all = trials.size();
    const auto gone = take_hopeless(trials, options);
    EXPECT_EQ(trials.size() + gone.size(), all);
    EXPECT_TRUE(trials.front().name.starts_with("default")) << "470 ms, where bf16 takes 260";
    EXPECT_EQ(find(trials, "planned, bf16").options.wire, WireType::Bf16);
    EXPECT_EQ(find(trials, "acp").accuracy, Accuracy::Any);
    EXPECT_TRUE(find(gone, "one bucket").predicted_s > 0);
    EXPECT_THROW((void)find(trials, "one bucket"), std::runtime_error);
    // In fp32 alone they are close enough.
    trials = candidates(learnt, {.accuracy = Accuracy::Exact});
    EXPECT_TRUE(take_hopeless(trials, {.accuracy = Accuracy::Exact}).empty());
}

TEST(Verdict, TheDefaultStaysWhereNothingIsGained)
{
    auto fast = slow_link();
    fast.fp32.link.bytes_per_s = fast.bf16_link.bytes_per_s = 100e9;
    const auto report = measured(fast, {}, 0.02);
    EXPECT_TRUE(report.trials[report.winner].name.starts_with("default"));
    EXPECT_TRUE(says(report, "the default is as good as anything"));
    // A gain within the scatter of the steps is none.
    auto noisy = measured(slow_link(), {.accuracy = Accuracy::Exact}, 0.02);
    EXPECT_EQ(noisy.winner, 1u) << "behind compression, which may not win";
    TuneReport alone = noisy;
    alone.learnt.world = 1;
    judge(alone, {.accuracy = Accuracy::Exact});
    EXPECT_TRUE(alone.trials[alone.winner].name.starts_with("default")) << "whatever was faster by chance";
    ASSERT_EQ(alone.verdict.size(), 1u);
    EXPECT_TRUE(says(alone, "one process exchanges nothing"));
    for (auto& trial : noisy.trials)
        trial.scatter_s = trial.seconds;
    judge(noisy, {.accuracy = Accuracy::Exact});
    EXPECT_TRUE(noisy.trials[noisy.winner].name.starts_with("default"));
}

} // namespace
} // namespace gradwind::tune
