// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What is predicted of a process's memory and messages is what the engine and the optimiser allocate and send.
#include "gradwind/parallel/exchange_budget.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/train/adamw.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

namespace gradwind::train
{
namespace
{

using namespace gradwind::parallel;

/// Memory of tensors on the CPU while this lives.
class CountingAllocator : public c10::Allocator
{
public:
    CountingAllocator() : inner_(c10::GetAllocator(at::kCPU)) { c10::SetAllocator(at::kCPU, this, 100); }

    [[nodiscard]] static int64_t live() { return live_; }
    [[nodiscard]] static int64_t peak() { return peak_; }
    static void forget_peak() { peak_ = live_.load(); }

    // One of the two is torch's function, which of them depends on its version; and so does the next.
    [[nodiscard]] at::DataPtr allocate(size_t n) { return take(n); }
    [[nodiscard]] at::DataPtr allocate(size_t n) const { return take(n); }
    void copy_data(void* to, const void* from, size_t n) const { std::memcpy(to, from, n); }

private:
    struct Block {
        at::DataPtr inner;
        int64_t bytes = 0;
    };
    [[nodiscard]] at::DataPtr take(size_t n) const
    {
        auto* block = new Block{inner_->allocate(n), int64_t(n)};
        const int64_t now = live_ += block->bytes;
        for (int64_t peak = peak_; peak < now && !peak_.compare_exchange_weak(peak, now);)
            ;
        return {block->inner.get(), block, &give_back, at::Device(at::kCPU)};
    }
    static void give_back(void* context)
    {
        auto* block = static_cast<Block*>(context);
        live_ -= block->bytes;
        delete block;
    }
    c10::Allocator* inner_;
    static inline std::atomic<int64_t> live_ = 0, peak_ = 0;
};

/// Stays to the end of the program: tensors may outlive a test.
void count_tensors()
{
    static auto* const counter = new CountingAllocator;
    (void)counter;
}

/// Live bytes, once they are what is expected: threads of the library give tensors back a moment after wait().
int64_t settled(int64_t expected)
{
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (CountingAllocator::live() != expected && std::chrono::steady_clock::now() < until)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return CountingAllocator::live();
}

struct Net {
    std::vector<NamedParameter> parameters;
    Net()
    {
        const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
            {"a0", {170, 50}}, {"v0", {170}}, {"a1", {170, 50}}, {"b0", {60, 90}}, {"v1", {3}}, {"b1", {60, 90}}};
        for (const auto& [name, shape] : shapes)
            parameters.push_back({name, at::ones(shape).requires_grad_()});
    }
    void step(GradientEngine& engine) const
    {
        engine.begin_step();
        at::Tensor loss = at::zeros({});
        for (const auto& parameter : parameters)
            loss = loss + parameter.tensor.square().sum();
        engine.begin_backward(Sync::Reduce);
        torch::autograd::backward({loss}, {});
        engine.finish();
    }
};

std::vector<EngineOptions> all_options(int world)
{
    std::vector<EngineOptions> result;
    for (const auto wire : {WireType::AsStored, WireType::Bf16})
        for (const int row : {1, 2, 4}) {
            if (world % row != 0)
                continue;
            result.push_back({.bucket_cap_mb = 0.02, .first_bucket_mb = 0.01, .wire = wire, .node_size = row});
            if (row > 1)
                result.push_back(
                    {.bucket_cap_mb = 0.02, .first_bucket_mb = 0.01, .wire = wire, .zero_group_size = row});
            for (const auto kind : {Compression::Acp, Compression::PowerSgd})
                result.push_back({.wire = wire, .compression = {.kind = kind, .start_step = 2}, .node_size = row});
        }
    return result;
}

using Counts = std::map<std::pair<std::string, Verb>, std::pair<int64_t, int64_t>>;

Counts counts_of(const GradientEngine& engine, const Group& world)
{
    auto groups = engine.groups();
    groups.push_back(world);
    Counts counts;
    for (const auto& group : groups)
        for (size_t verb = 0; verb < kVerbs && group.size() > 1; ++verb) {
            const auto count = group.traffic().verbs[verb];
            counts[{group.name(), Verb(verb)}] = {count.calls, count.bytes};
        }
    return counts;
}

void expect_calls(const Counts& before, const Counts& after, const std::vector<PlannedCalls>& planned)
{
    Counts expected;
    for (const auto& call : planned)
        expected[{call.group, call.verb}] = {call.calls, call.bytes};
    for (const auto& [key, count] : after) {
        const auto& [calls, bytes] = before.at(key);
        const auto wanted = expected.count(key) ? expected[key] : std::pair<int64_t, int64_t>{};
        EXPECT_EQ(count.first - calls, wanted.first) << key.first << " " << name_of(key.second);
        EXPECT_EQ(count.second - bytes, wanted.second) << key.first << " " << name_of(key.second);
        expected.erase(key);
    }
    EXPECT_TRUE(expected.empty()) << "planned, and no such group: " << expected.begin()->first.first;
}

GRADWIND_MULTIRANK_TEST(StepMemory, PredictedIsAllocatedAndSent, RankCounts{1, 2, 3, 4})
{
    count_tensors();
    const int64_t before_all = CountingAllocator::live();
    for (auto options : all_options(world.size())) {
        SCOPED_TRACE(fmt::format("wire {} zero {} node {} compression {}", int(options.wire), options.zero_group_size,
                                 options.node_size, int(options.compression.kind)));
        const Net net;
        GradientEngine engine(net.parameters, world, options);
        net.step(engine); // which learns the order
        options.order = engine.order();
        const auto budget = exchange_budget(net.parameters, options, world.size());
        const int64_t arenas = budget.parameters + budget.gradients;
        EXPECT_EQ(settled(before_all + arenas + budget.dense.buffers) - before_all, arenas + budget.dense.buffers);

        auto before = counts_of(engine, world);
        net.step(engine);
        engine.share_parameters();
        expect_calls(before, counts_of(engine, world), budget.dense.calls);
        EXPECT_EQ(int64_t(engine.bucket_ends().size()), budget.buckets);

        const auto memory = engine.memory();
        EXPECT_EQ(memory.parameters, budget.parameters);
        EXPECT_EQ(memory.gradients, budget.gradients);
        EXPECT_EQ(memory.buffers, budget.dense.buffers);
        {
            const int64_t without = CountingAllocator::live();
            const AdamW optimiser(engine.slices(), engine.flat_parameters(), engine.own_gradients(), {}, {},
                                  engine.state_share());
            EXPECT_EQ(CountingAllocator::live() - without, 2 * budget.owned * 4);
        }
        if (budget.compressed.empty()) {
            const int64_t kept = settled(before_all + arenas + budget.dense.buffers);
            CountingAllocator::forget_peak();
            engine.begin_step();
            engine.finish(); // buckets of ranks that have no samples, with nothing beside them
            // What Gloo's threads still hold of the bucket before comes on top, or not.
            EXPECT_GE(CountingAllocator::peak() - kept, budget.work);
            EXPECT_LE(CountingAllocator::peak() - kept, 2 * budget.work);
            continue;
        }
        for (int step = 0; step < 4; ++step) {
            const auto& phase = budget.compressed[size_t(step) % budget.compressed.size()];
            before = counts_of(engine, world);
            net.step(engine);
            expect_calls(before, counts_of(engine, world), phase.calls);
            EXPECT_EQ(engine.memory().buffers, phase.buffers);
            EXPECT_EQ(settled(before_all + arenas + phase.buffers) - before_all, arenas + phase.buffers);
        }
    }
}

} // namespace
} // namespace gradwind::train
