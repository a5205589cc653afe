// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/tune/tune.h"

#include "gradwind/core/error.h"
#include "gradwind/train/job.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace gradwind::tune
{

namespace
{

using parallel::GradientEngine;

constexpr int64_t kWarmUp = 3;    // the first step learns the layout, the second is the first with the trial's plan
constexpr int64_t kReference = 7; ///< steps of what is not a trial

/// The value below which a fraction of the values lies.
double quantile(std::vector<double> values, double fraction)
{
    if (values.empty())
        return 0;
    std::sort(values.begin(), values.end());
    return values[size_t(std::lround(fraction * double(values.size() - 1)))];
}

/// The median, where steps of two kinds may alternate: of each kind by itself, then the mean.
double median_of_turns(const std::vector<double>& values)
{
    std::array<std::vector<double>, 2> kinds;
    for (size_t i = 0; i < values.size(); ++i)
        kinds[i % 2].push_back(values[i]);
    return kinds[1].empty() ? quantile(kinds[0], 0.5) : (quantile(kinds[0], 0.5) + quantile(kinds[1], 0.5)) / 2;
}

/// A trial that is under way.
struct Runner {
    Trial trial;
    std::vector<double> exposed = {};
    double round_s = 0;      ///< median of the round, slowest rank
    double over_default = 0; ///< sum over steps of the round's median over the default's
};

class Race
{
public:
    Race(Steps& steps, const parallel::Group& world, at::Device device, const TuneOptions& options,
         train::ProgressSink& progress)
        : steps_(steps), world_(world), device_(device), options_(options), progress_(progress)
    {
    }

    TuneReport run()
    {
        learn_order();
        learn_compute();
        learn_link();
        auto trials = candidates(learnt_, options_);
        if (learnt_.world > 1)
            for (const auto& gone : take_hopeless(trials, options_))
                progress_.note(fmt::format("{}: left out, {:.2f} ms are predicted", gone.name, 1e3 * gone.predicted_s));
        for (auto& trial : trials)
            runners_.push_back({.trial = std::move(trial)});
        race();
        report_.learnt = learnt_;
        for (auto& runner : runners_)
            report_.trials.push_back(std::move(runner.trial));
        judge(report_, options_);
        return std::move(report_);
    }

private:
    void learn_order()
    {
        GradientEngine engine(steps_.parameters(), world_, {.copy_engines = options_.copy_engines});
        engine.broadcast_parameters();
        steps_.step(engine, {});
        learnt_.world = world_.size();
        learnt_.order = engine.order();
        learnt_.gradient_bytes = int64_t(engine.flat_gradients().nbytes());
    }

    /// A step without exchange, and when its gradients are ready.
    void learn_compute()
    {
        GradientEngine alone(steps_.parameters(), parallel::Group::self("alone"), {.order = learnt_.order});
        learnt_.compute_s = world_.max(std::array{median_step(alone)})[0];
        alone.expect_new_graph();
        const double recorded_s = steps_.step(alone, {}).seconds;
        auto ready = alone.ready_times();
        for (auto& time : ready)
            time *= learnt_.compute_s / recorded_s; // of the recorded step only the shape counts
        ready = world_.max(ready);
        const auto& slices = alone.slices();
        const auto element_bytes = int64_t(alone.flat_gradients().element_size());
        for (size_t place = 0; place < slices.size(); ++place) {
            const int64_t end = place + 1 < slices.size() ? slices[place + 1].offset : alone.flat_gradients().numel();
            learnt_.fp32.parts.push_back({(end - slices[place].offset) * element_bytes, ready[place]});
        }
        learnt_.fp32.backward_s = *std::max_element(ready.begin(), ready.end());
    }

    void learn_link()
    {
        report_.link_points = measure_link(world_, device_, at::kFloat);
        if (report_.link_points.empty())
            return;
        learnt_.fp32.link = fit_link(report_.link_points);
        report_.bf16_points = measure_link(world_, device_, at::kBFloat16);
        learnt_.bf16_link = fit_link(report_.bf16_points);
        learnt_.contention = learnt_.fp32.link.contention = measure_contention();
        progress_.note(
            fmt::format("all-reduce: {:.0f} us and {:.3g} GB/s; a second of it beside the step costs {:.2f} s",
                        1e6 * learnt_.fp32.link.latency_s, 1e-9 * learnt_.fp32.link.bytes_per_s, learnt_.contention));
    }

    /// Steps without exchange beside all-reduces that keep the link busy for most of them.
    [[nodiscard]] double measure_contention()
    {
        constexpr int64_t messages = 8;
        constexpr double share = 0.6;
        const auto& link = learnt_.fp32.link;
        const double left = share * learnt_.compute_s / double(messages) - link.latency_s;
        const auto bytes = std::min(int64_t(left * link.bytes_per_s), learnt_.gradient_bytes / messages);
        if (bytes < 4096)
            return 0; // the step is too short to say
        std::vector<at::Tensor> tensors;
        for (int64_t i = 0; i < messages; ++i)
            tensors.push_back(at::zeros({bytes / 4}, at::device(device_)));
        std::vector<parallel::Work> works;
        GradientEngine alone(steps_.parameters(), parallel::Group::self("alone"), {.order = learnt_.order});
        const double loaded = world_.max(std::array{median_step(alone, [&] {
            for (auto& work : works)
                work.wait();
            works.clear();
            for (const auto& tensor : tensors)
                works.push_back(world_.all_reduce_sum_async_(tensor));
        })})[0];
        for (auto& work : works)
            work.wait();
        const double busy = double(messages) * link.seconds(double(bytes));
        return std::clamp((loaded - learnt_.compute_s) / busy, 0.0, 2.0);
    }

    double median_step(GradientEngine& engine, const std::function<void()>& beside = {})
    {
        std::vector<double> seconds;
        for (int64_t step = 0; step < kWarmUp + kReference; ++step) {
            world_.barrier();
            const auto done = steps_.step(engine, beside);
            if (step >= kWarmUp)
                seconds.push_back(done.seconds);
        }
        return quantile(std::move(seconds), 0.5);
    }

    static void note_sent(Trial& trial, const parallel::BucketReport& report)
    {
        auto& sent = trial.sent.emplace_back();
        for (const auto& bucket : report.buckets)
            sent.push_back({bucket.bytes, bucket.on_wire});
        int64_t bytes = 0;
        for (const auto& step : trial.sent)
            for (const auto& bucket : step)
                bytes += bucket.wire_bytes;
        trial.wire_bytes = bytes / int64_t(trial.sent.size());
    }

    void measure(Runner& runner, int64_t steps)
    {
        auto options = runner.trial.options;
        options.copy_engines = options_.copy_engines;
        GradientEngine engine(steps_.parameters(), world_, options);
        std::vector<double> seconds;
        auto& trial = runner.trial;
        trial.sent.clear();
        for (int64_t step = 0; step < kWarmUp + steps; ++step) {
            const auto done = steps_.step(engine, {});
            if (step + 2 >= kWarmUp + steps)
                note_sent(trial, engine.last_step());
            if (step < kWarmUp)
                continue;
            seconds.push_back(done.seconds);
            runner.exposed.push_back(done.exposed_s);
        }
        trial.buckets = trial.sent.back().size();
        const double quartiles = quantile(seconds, 0.75) - quantile(seconds, 0.25);
        const auto slowest =
            world_.max(std::array{median_of_turns(seconds), quartiles / 2, median_of_turns(runner.exposed)});
        runner.round_s = slowest[0];
        trial.scatter_s = slowest[1];
        trial.exposed_s = slowest[2];
        progress_.note(fmt::format("{}: {:.2f} ms over {} steps", trial.name, 1e3 * runner.round_s, steps));
    }

    /// Successive halving. A machine may become slower meanwhile, so times count as multiples of the default's in the
    /// same round: the default, which comes first, stays to the end, and so does what may not win.
    void race()
    {
        std::vector<Runner*> field, guests;
        for (auto& runner : runners_)
            (runner.trial.accuracy <= options_.accuracy ? field : guests).push_back(&runner);
        const auto rounds = std::max<int64_t>(1, int64_t(std::ceil(std::log2(double(field.size())))));
        int64_t steps = std::max<int64_t>(2, options_.steps / (rounds * int64_t(runners_.size())));
        double default_s = 0, default_steps = 0;
        int64_t spent = 0;
        for (;; steps *= 2) {
            auto running = field;
            running.insert(running.end(), guests.begin(), guests.end());
            spent += steps * int64_t(running.size());
            for (auto* runner : running) {
                measure(*runner, steps);
                runner->trial.steps += steps;
                runner->over_default += double(steps) * runner->round_s / field.front()->round_s;
            }
            default_s += double(steps) * field.front()->round_s;
            default_steps += double(steps);
            if (field.size() <= 2 || spent >= options_.steps)
                break;
            std::stable_sort(field.begin() + 1, field.end(), [](const Runner* a, const Runner* b) {
                return a->over_default * double(b->trial.steps) < b->over_default * double(a->trial.steps);
            });
            field.resize((field.size() + 1) / 2);
        }
        for (auto& runner : runners_)
            runner.trial.seconds = runner.over_default / double(runner.trial.steps) * (default_s / default_steps);
    }

    Steps& steps_;
    const parallel::Group world_;
    const at::Device device_;
    const TuneOptions options_;
    train::ProgressSink& progress_;
    Learnt learnt_;
    std::vector<Runner> runners_;
    TuneReport report_;
};

} // namespace

TuneReport race(Steps& steps, const parallel::Group& world, at::Device device, const TuneOptions& options,
                train::ProgressSink& progress)
{
    return Race(steps, world, device, options, progress).run();
}

TuneReport tune(const Config& config, const parallel::Environment& environment, const TuneOptions& options,
                train::ProgressSink& progress)
{
    std::vector<std::string> notes;
    auto job = train::make_job(config, environment, parallel::process_variables(), notes);
    train::NoProgress nobody;
    auto& sink = job.is_first() ? progress : nobody;
    for (const auto& note : notes)
        sink.note(note);
    TuneReport report;
    parallel::run_supervised(job.groups.world, [&] {
        StepReplay steps(job);
        auto of_job = options;
        of_job.copy_engines = train::engine_options(job.config, job.groups.layout, job.device, {}).copy_engines;
        report = race(steps, job.groups.world, job.device, of_job, sink);
    });
    return report;
}

} // namespace gradwind::tune
