// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/trials.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/exchange_settings.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace gradwind::tune
{

namespace
{

using parallel::Compression;
using parallel::EngineOptions;
using parallel::WireType;

constexpr int64_t kMiB = 1 << 20;
constexpr double kNothing = 0.01; ///< gains below this fraction are none
constexpr double kHopeless = 1.5; ///< times the best prediction

/// Sizes of the buckets that the engine would make of some caps.
std::vector<int64_t> capped(int64_t total, const EngineOptions& caps)
{
    std::vector<int64_t> sizes;
    int64_t begin = 0;
    for (const auto end : parallel::plan_buckets(total, 1, caps)) {
        sizes.push_back(end - begin);
        begin = end;
    }
    return sizes;
}

class Candidates
{
public:
    Candidates(const Learnt& learnt, const TuneOptions& options) : learnt_(learnt), options_(options) {}

    std::vector<Trial> all()
    {
        const auto total = learnt_.gradient_bytes;
        dense("default (25 MiB)", capped(total, {}), WireType::AsStored);
        dense("planned", parallel::plan_exchange(learnt_.fp32), WireType::AsStored);
        if (options_.accuracy != Accuracy::Exact) {
            dense("25 MiB, bf16", capped(total, {}), WireType::Bf16);
            dense("planned, bf16", parallel::plan_exchange(learnt_.bf16()), WireType::Bf16);
        }
        for (const int64_t cap_mb : {5, 50, 100})
            dense(fmt::format("{} MiB, small tail", cap_mb), parallel::tail_shaped(total, cap_mb * kMiB, kMiB),
                  WireType::AsStored);
        dense("one bucket", {total}, WireType::AsStored);
        compressed(fmt::format("acp, rank {}", options_.rank), Compression::Acp);
        if (options_.accuracy == Accuracy::Any)
            compressed(fmt::format("powersgd, rank {}", options_.rank), Compression::PowerSgd);
        return std::move(trials_);
    }

private:
    void dense(const std::string& name, std::vector<int64_t> sizes, WireType wire)
    {
        for (const auto& other : trials_)
            if (other.options.bucket_bytes == sizes && other.options.wire == wire)
                return;
        auto& trial = trials_.emplace_back();
        trial.name = name;
        trial.accuracy = wire == WireType::Bf16 ? Accuracy::Rounded : Accuracy::Exact;
        const auto inputs = wire == WireType::Bf16 ? learnt_.bf16() : learnt_.fp32;
        trial.predicted_s = learnt_.compute_s - inputs.backward_s + parallel::predict_exchange(inputs, sizes).finish_s;
        trial.options.bucket_bytes = std::move(sizes);
        trial.options.wire = wire;
        trial.options.order = learnt_.order;
    }

    /// Without an order: compression lays the arena out in its own.
    void compressed(const std::string& name, Compression kind)
    {
        auto& trial = trials_.emplace_back();
        trial.name = name;
        trial.accuracy = Accuracy::Any;
        // Whatever factors make smaller: compression is for links on which every byte counts.
        trial.options.compression = {.kind = kind, .rank = options_.rank, .start_step = 0, .min_ratio = 1};
    }

    const Learnt& learnt_;
    const TuneOptions& options_;
    std::vector<Trial> trials_;
};

const Trial& named(const TuneReport& report, const std::string& beginning)
{
    const auto found = std::find_if(report.trials.begin(), report.trials.end(),
                                    [&](const Trial& trial) { return trial.name.starts_with(beginning); });
    GRADWIND_CHECK(found != report.trials.end(), InternalError, "[tune] there is no trial `{}`", beginning);
    return *found;
}

using Messages = std::vector<std::vector<parallel::Message>>;

/// What travelled under compression: a bucket is ready when the last of its gradients is, which lie in the order of the
/// dense arena but for what is moved inside of a bucket.
Messages messages_of(const Learnt& learnt, const Trial& compressed)
{
    Messages messages;
    for (const auto& step : compressed.sent) {
        auto& sent = messages.emplace_back();
        const auto& parts = learnt.fp32.parts;
        size_t part = 0;
        int64_t bytes = 0, end = 0;
        double ready = 0;
        for (const auto& bucket : step) {
            for (end += bucket.gradient_bytes; part < parts.size() && bytes < end; ++part) {
                bytes += parts[part].bytes;
                ready = std::max(ready, parts[part].ready_s);
            }
            sent.push_back({bucket.wire_bytes, ready});
        }
    }
    return messages;
}

/// Bandwidth at which the best plan of a dense exchange takes as long as compression.
double break_even(const Learnt& learnt, const Trial& compressed, const TuneOptions& options)
{
    const auto& link = learnt.fp32.link;
    auto messages = messages_of(learnt, compressed);
    const double forward = learnt.compute_s - learnt.fp32.backward_s;
    // What compression adds to the step besides its messages.
    const double added =
        std::max(0.0, compressed.seconds - forward - parallel::compressed_finish(learnt.fp32, messages));
    double least = parallel::break_even_bandwidth(learnt.fp32, messages, added);
    if (options.accuracy != Accuracy::Exact) {
        // The planner counts gradient bytes: its link is faster than ours by what bf16 saves.
        const auto inputs = learnt.bf16();
        const double saved = inputs.link.bytes_per_s / link.bytes_per_s;
        for (auto& step : messages)
            for (auto& message : step)
                message.bytes = int64_t(saved * double(message.bytes));
        least = std::min(least, parallel::break_even_bandwidth(inputs, messages, added) / saved);
    }
    return least;
}

std::string milliseconds(double seconds)
{
    return fmt::format("{:.2f} ms", 1e3 * seconds);
}

std::string of_compression(const TuneReport& report, const TuneOptions& options)
{
    const auto& acp = named(report, "acp");
    const auto best = std::find_if(report.trials.begin(), report.trials.end(), [&](const Trial& trial) {
        return trial.accuracy != Accuracy::Any && trial.accuracy <= options.accuracy &&
               trial.steps >= named(report, "default").steps;
    });
    const auto times =
        fmt::format("{} against {} ({})", milliseconds(acp.seconds), milliseconds(best->seconds), best->name);
    if (acp.seconds >= best->seconds)
        return fmt::format("compression ({}) loses: {}", acp.name, times);
    return fmt::format(
        "compression ({}) {}: {}", acp.name,
        options.accuracy == Accuracy::Any ? "wins" : "would win, but is inexact; --allow compression lets it", times);
}

std::string of_break_even(const TuneReport& report)
{
    const auto& link = report.learnt.fp32.link;
    const auto here = fmt::format("this link sums {:.3g} GB/s with {:.0f} us of latency", 1e-9 * link.bytes_per_s,
                                  1e6 * link.latency_s);
    const double even = report.break_even_bytes_per_s;
    if (even <= 0)
        return "compression would not win on any link; " + here;
    if (std::isinf(even))
        return "compression would win on any link; " + here;
    return fmt::format("compression wins on links below {:.3g} GB/s; {}", 1e-9 * even, here);
}

} // namespace

parallel::PlanInputs Learnt::bf16() const
{
    auto inputs = fp32;
    inputs.link = {.latency_s = bf16_link.latency_s,
                   .bytes_per_s = 2 * bf16_link.bytes_per_s, // two bytes of a gradient travel as one
                   .contention = fp32.link.contention};
    return inputs;
}

std::vector<Trial> candidates(const Learnt& learnt, const TuneOptions& options)
{
    return Candidates(learnt, options).all();
}

std::vector<Trial> take_hopeless(std::vector<Trial>& trials, const TuneOptions& options)
{
    double best_s = trials.front().predicted_s;
    for (const auto& trial : trials)
        if (trial.predicted_s > 0 && trial.accuracy <= options.accuracy)
            best_s = std::min(best_s, trial.predicted_s);
    const auto stays = [&, trials](const Trial& trial) {
        // Of compression there is no prediction. The best of each kind stays to be compared, however slow.
        const bool is_best = std::none_of(trials.begin() + 1, trials.end(), [&](const Trial& other) {
            return other.accuracy == trial.accuracy && other.predicted_s < trial.predicted_s;
        });
        return is_best || trial.predicted_s <= kHopeless * best_s;
    };
    const auto hopeless = std::stable_partition(trials.begin() + 1, trials.end(), stays);
    std::vector<Trial> gone(std::make_move_iterator(hopeless), std::make_move_iterator(trials.end()));
    trials.erase(hopeless, trials.end());
    return gone;
}

void judge(TuneReport& report, const TuneOptions& options)
{
    std::stable_sort(report.trials.begin(), report.trials.end(),
                     [](const Trial& a, const Trial& b) { return a.seconds < b.seconds; });
    const auto& fallback = named(report, "default");
    const auto allowed = std::find_if(report.trials.begin(), report.trials.end(), [&](const Trial& trial) {
        return trial.accuracy <= options.accuracy && trial.steps >= fallback.steps;
    });
    const double gain = fallback.seconds / allowed->seconds - 1;
    const double scatter = std::max(fallback.scatter_s, allowed->scatter_s) / allowed->seconds;
    const bool is_better = report.learnt.world > 1 && gain >= std::max(kNothing, scatter); // alone, a gain is chance
    report.winner = size_t((is_better ? &*allowed : &fallback) - report.trials.data());
    report.verdict.clear();
    if (report.learnt.world == 1)
        report.verdict.emplace_back("one process exchanges nothing: run this with as many as you train on");
    else if (is_better)
        report.verdict.push_back(fmt::format("{} is {:.1f} % faster than the default", allowed->name, 100 * gain));
    else
        report.verdict.push_back(
            fmt::format("the default is as good as anything: {} was {:.1f} % faster, steps scatter by "
                        "{:.1f} %",
                        allowed->name, 100 * gain, 100 * scatter));
    if (report.learnt.world == 1)
        return;
    report.verdict.push_back(of_compression(report, options));
    report.break_even_bytes_per_s = break_even(report.learnt, named(report, "acp"), options);
    report.verdict.push_back(of_break_even(report));
}

std::string plan_of(const TuneReport& report)
{
    const auto& best = report.trials[report.winner];
    return train::plan_to_yaml(
        best.options, fmt::format("{}: {} a step without the optimiser, measured on {} processes by gradwind tune",
                                  best.name, milliseconds(best.seconds), report.learnt.world));
}

} // namespace gradwind::tune
