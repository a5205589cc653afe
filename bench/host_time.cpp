// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "bench/host_time.h"

#include "bench/allocation_counter.h"
#include "bench/counting_backend.h"
#include "bench/statistics.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/exposure.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

namespace gradwind::bench
{

using namespace gradwind::parallel;

namespace
{

/// Processor time of this thread, which other work on the machine does not enlarge by much.
double thread_milliseconds()
{
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return 1e3 * static_cast<double>(now.tv_sec) + 1e-6 * static_cast<double>(now.tv_nsec);
}

/// A hook that does nothing, to know what torch takes for calling one.
struct EmptyHook : torch::autograd::FunctionPostHook {
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                              const torch::autograd::variable_list&) override
    {
        return outputs;
    }
};

enum class Hooks { None, Empty };

/// 1000 small parameters and a backward that reaches all of them.
struct SmallParameters {
    std::vector<NamedParameter> parameters;
    std::vector<std::shared_ptr<torch::autograd::Node>> nodes; ///< that add to gradients
    std::optional<Arena> arena;                                ///< unless an engine has one
    at::Tensor sum;

    SmallParameters()
    {
        sum = at::zeros({});
        for (int i = 0; i < 1000; ++i) {
            const auto tensor = at::ones({16}).requires_grad_();
            parameters.push_back({fmt::format("p{}", i), tensor});
            nodes.push_back(torch::autograd::impl::grad_accumulator(tensor));
            sum = sum + tensor.sum();
        }
    }
    explicit SmallParameters(Hooks hooks) : SmallParameters()
    {
        std::vector<size_t> order(parameters.size());
        std::iota(order.rbegin(), order.rend(), size_t{0});
        arena.emplace(parameters).lay_out(order);
        for (const auto& node : nodes)
            if (hooks == Hooks::Empty)
                node->add_post_hook(std::make_unique<EmptyHook>());
    }
    void backward() const { torch::autograd::backward({sum}, {}, /*retain_graph=*/true); }
    /// Brings what adding to a gradient uses into the caches: the node, the parameter and the gradient.
    [[nodiscard]] int64_t touch() const
    {
        int64_t sum = 0;
        for (const auto& node : nodes) {
            const auto& tensor = static_cast<torch::autograd::AccumulateGrad*>(node.get())->variable;
            sum += int64_t(node->post_hooks().size()) + tensor.numel() + tensor.grad().numel();
        }
        return sum;
    }
    /// The hooks that backward calls, in its order, and nothing else.
    void call_hooks() const
    {
        const torch::autograd::variable_list nothing;
        for (auto node = nodes.rbegin(); node != nodes.rend(); ++node)
            for (const auto& hook : (*node)->post_hooks())
                (void)(*hook)(nothing, nothing);
    }
};

/// What a piece of work took of this thread, and allocated in all threads and in this one.
struct Taken {
    double ms = 0;
    int64_t allocations = 0, of_own = 0;
    Taken& operator+=(const Taken& other)
    {
        ms += other.ms;
        allocations += other.allocations;
        of_own += other.of_own;
        return *this;
    }
};

Taken taken_by(const auto& work)
{
    const int64_t before = n_allocations, own_before = n_allocations_of_own;
    const double start = thread_milliseconds();
    work();
    const double end = thread_milliseconds();
    return {end - start, n_allocations - before, n_allocations_of_own - own_before};
}

/// One step of bench_host_time().
struct HostStep {
    Taken bare, empty; ///< backward without hooks, and with hooks that do nothing
    Taken calls;       ///< of the engine's functions
    Taken hooks;       ///< of the engine's hooks
    Taken account;
};

} // namespace

/// What the engine costs the host in a step of 1000 parameters: its own calls, and its hooks, called as backward does
/// but without one, right after another's, which has used the caches. What torch takes for having hooks at all is the
/// difference of two backwards.
void print_host_time(const Group& world)
{
    constexpr int kWarmUp = 20, kSteps = 400;
    std::shared_ptr<CountingBackend> backend;
    if (world.size() > 1)
        world.state()->backend = backend = std::make_shared<CountingBackend>(world.state()->backend);
    const SmallParameters bare(Hooks::None), empty(Hooks::Empty), own;
    GradientEngine engine(own.parameters, world, {.bucket_cap_mb = 0.01, .first_bucket_mb = 0.01});
    train::ExposureAccount account(world);
    std::vector<HostStep> steps;
    int64_t in_library = 0, touched = 0;
    for (int number = 0; number < kWarmUp + kSteps; ++number) {
        HostStep step;
        in_library = backend ? backend->allocations() : 0;
        for (int turn = 0; turn < 2; ++turn) {
            const bool with = (number + turn) % 2 == 1;
            (with ? step.empty : step.bare) = taken_by([&] { (with ? empty : bare).backward(); });
        }
        step.calls = taken_by([&] {
            engine.begin_step();
            engine.begin_backward(Sync::Reduce);
        });
        touched += own.touch();
        step.hooks = taken_by([&] { own.call_hooks(); });
        step.calls += taken_by([&] { engine.finish(); });
        step.account = taken_by([&] { account.add(engine.last_step()); });
        in_library = (backend ? backend->allocations() : 0) - in_library;
        if (number >= kWarmUp)
            steps.push_back(step);
    }
    const double line_ms = taken_by([&] { (void)account.take_means(); }).ms;
    if (world.rank() != 0 || touched == 0)
        return;
    const auto over_steps = [&](double fraction, const auto& value) {
        std::vector<double> values;
        for (const auto& step : steps)
            values.push_back(value(step));
        return percentile(values, fraction);
    };
    const auto us = [&](double fraction, const auto& ms) { return 1e3 * over_steps(fraction, ms); };
    const auto engine_ms = [](const HostStep& s) { return s.calls.ms + s.hooks.ms; };
    const auto allocations = [&](int64_t Taken::*count) {
        return over_steps(0.5, [&](const HostStep& s) { return double(s.calls.*count + s.hooks.*count); });
    };
    const nlohmann::json line = {{"bench", "exchange_host_time"},
                                 {"parameters", own.parameters.size()},
                                 {"world", world.size()},
                                 {"buckets", engine.last_step().buckets.size()},
                                 {"calls_us", us(0.5, [](const HostStep& s) { return s.calls.ms; })},
                                 {"hooks_us", us(0.5, [](const HostStep& s) { return s.hooks.ms; })},
                                 {"total_us", us(0.5, engine_ms)},
                                 {"total_p10_us", us(0.1, engine_ms)},
                                 {"total_p90_us", us(0.9, engine_ms)},
                                 {"torch_backward_us", us(0.5, [](const HostStep& s) { return s.bare.ms; })},
                                 {"torch_hooks_us", us(0.5, [](const HostStep& s) { return s.empty.ms - s.bare.ms; })},
                                 {"exposure_us", us(0.5, [](const HostStep& s) { return s.account.ms; })},
                                 {"exposure_log_line_us", 1e3 * line_ms},
                                 {"allocations", allocations(&Taken::allocations)},
                                 {"allocations_of_own_thread", allocations(&Taken::of_own)},
                                 {"allocations_of_own_thread_in_library", in_library}};
    std::puts(line.dump().c_str());
}

} // namespace gradwind::bench
