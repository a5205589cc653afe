// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How tensors are cut for sums by copies, and that the engine asks for them. What copies bring is for
// tests/gpu/copied_sums_check.cpp: here the library stands in for the copy engines.
#include "gradwind/core/error.h"
#include "gradwind/parallel/copied_sum.h"
#include "gradwind/parallel/exchange_budget.h"
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/passing_backend.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

namespace gradwind::parallel
{
namespace
{

using detail::plan_copied_sum;
using detail::Queue;
using detail::Repeatable;

TEST(CopiedSumPlan, PartsCoverTheTensorAndBeginWhereVectorsMay)
{
    for (const int ranks : {2, 3, 4, 8})
        for (const auto wire : {WireType::AsStored, WireType::Bf16})
            for (const int64_t numel : {int64_t{1}, int64_t{262144}, int64_t{524289}, int64_t{6553603}}) {
                SCOPED_TRACE(fmt::format("{} ranks, {} numbers, wire {}", ranks, numel, int(wire)));
                const int64_t sent = wire == WireType::Bf16 ? 2 : 4;
                const auto plan = plan_copied_sum(numel, 4, wire, Queue::Own, ranks);
                EXPECT_EQ(plan.whole, numel * sent * (ranks - 1) <= (1 << 20));
                EXPECT_EQ(plan_copied_sum(numel, 4, wire, Queue::Callers, ranks).whole,
                          numel * sent * (ranks - 1) <= (8 << 20));
                EXPECT_GE(plan.part * (plan.whole ? 1 : ranks), numel);
                EXPECT_LT(plan.part * (plan.whole ? 1 : ranks), numel + 128 * ranks);
                if (!plan.whole) {
                    EXPECT_EQ(plan.part * sent % 256, 0);
                }
                EXPECT_GE(plan.slot, plan.part * sent);
                EXPECT_EQ(plan.slot % 256, 0);
                EXPECT_EQ(plan.inbox, (ranks - 1) * plan.slot + 2 * ranks * 256);
                EXPECT_EQ(plan.outbox, wire == WireType::AsStored ? 0 : (plan.whole ? 1 : ranks - 1) * plan.slot);
            }
}

/// What copies would do, by the library.
class StandIn : public Repeatable
{
public:
    StandIn(std::unique_ptr<Repeatable> inner, at::Tensor x, WireType wire, int64_t buffer_bytes)
        : inner_(std::move(inner)), x_(std::move(x)), wire_(wire), buffer_bytes_(buffer_bytes)
    {
    }
    void start() override
    {
        if (wire_ == WireType::Bf16)
            x_.copy_(x_.to(at::kBFloat16));
        inner_->start();
    }
    void wait() override { inner_->wait(); }
    [[nodiscard]] int64_t buffer_bytes() const override { return buffer_bytes_; }

private:
    std::unique_ptr<Repeatable> inner_;
    at::Tensor x_;
    WireType wire_;
    int64_t buffer_bytes_;
};

class Copying : public detail::PassingBackend
{
public:
    Copying(std::shared_ptr<Backend> inner, int ranks) : PassingBackend(std::move(inner)), ranks_(ranks) {}
    [[nodiscard]] std::unique_ptr<Repeatable> copied_sum(at::Tensor x, WireType wire, detail::Queue queue) override
    {
        if (made == most)
            return nullptr;
        ++made;
        const auto plan = plan_copied_sum(x.numel(), int64_t(x.element_size()), wire, queue, ranks_);
        return std::make_unique<StandIn>(inner().repeated_sum(x), x, wire, plan.inbox + plan.outbox);
    }
    void give_up() noexcept override { ++given_up; }
    int made = 0, most = 1000, given_up = 0;

private:
    const int ranks_;
};

struct Net {
    std::vector<NamedParameter> parameters;
    Net()
    {
        for (const auto& [name, shape] : std::vector<std::pair<std::string, std::vector<int64_t>>>{
                 {"a0", {170, 50}}, {"v0", {170}}, {"a1", {170, 50}}, {"b0", {60, 90}}, {"b1", {60, 90}}})
            parameters.push_back({name, at::ones(shape).requires_grad_()});
    }
    /// One step, whose gradients differ between ranks. @return what is applied
    at::Tensor step(GradientEngine& engine, int rank) const
    {
        engine.begin_step();
        at::Tensor loss = at::zeros({});
        for (const auto& [name, tensor] : parameters)
            loss = loss + (tensor * at::arange(tensor.numel()).view(tensor.sizes()).cos()).sum() * (rank + 1.3);
        engine.begin_backward(Sync::Reduce);
        torch::autograd::backward({loss}, {});
        engine.finish();
        return engine.flat_gradients().clone();
    }
};

std::vector<EngineOptions> all_options()
{
    EngineOptions plain, rounded, acp, powersgd;
    plain.bucket_cap_mb = rounded.bucket_cap_mb = 0.03;
    rounded.wire = WireType::Bf16;
    acp.compression = {.kind = Compression::Acp, .rank = 2, .start_step = 1, .min_ratio = 0};
    powersgd.compression = {.kind = Compression::PowerSgd, .rank = 2, .start_step = 1, .min_ratio = 0};
    return {plain, rounded, acp, powersgd};
}

GRADWIND_MULTIRANK_TEST(CopiedSums, AreWhatTheEngineAsksForAndCounts, RankCounts{1, 2, 3, 4})
{
    for (auto options : all_options()) {
        SCOPED_TRACE(fmt::format("wire {} compression {}", int(options.wire), int(options.compression.kind)));
        std::vector<at::Tensor> applied[2];
        int64_t bytes[2] = {};
        const auto library = world.state()->backend;
        for (const bool copies : {false, true}) {
            options.copy_engines = copies;
            const auto backend = std::make_shared<Copying>(library, world.size());
            if (library)
                world.state()->backend = backend;
            const Net net;
            GradientEngine engine(net.parameters, world, options);
            const int64_t before = world.traffic().of(Verb::AllReduce).bytes;
            for (int step = 0; step < 4; ++step)
                applied[copies].push_back(net.step(engine, world.rank()));
            bytes[copies] = world.traffic().of(Verb::AllReduce).bytes - before;
            EXPECT_EQ(backend->made > 0, copies && world.size() > 1);
            options.order = engine.order();
            const auto budget = exchange_budget(net.parameters, options, world.size());
            EXPECT_EQ(engine.memory().buffers,
                      budget.compressed.empty() ? budget.dense.buffers : budget.compressed.front().buffers);
            options.order.clear();
            world.state()->backend = library;
        }
        EXPECT_EQ(bytes[0], bytes[1]);
        for (size_t step = 0; step < applied[0].size(); ++step) {
            // Rounded once by copies, and once more by the library.
            const double allowed = options.wire == WireType::Bf16 ? 1.0 / 256 : 0.0;
            EXPECT_TRUE(at::allclose(applied[0][step], applied[1][step], allowed, 0)) << "step " << step;
        }
    }
}

GRADWIND_MULTIRANK_TEST(CopiedSums, TheLibrarySumsWhereOneOfThemCannotBe, RankCounts{2, 3})
{
    for (auto options : all_options()) {
        options.copy_engines = true;
        const auto library = world.state()->backend;
        const auto backend = std::make_shared<Copying>(library, world.size());
        backend->most = 1;
        world.state()->backend = backend;
        const Net net;
        GradientEngine engine(net.parameters, world, options);
        at::Tensor expected = net.step(engine, world.rank());
        const auto whole = world.all_reduce_sum(at::full({}, world.rank() + 1.3));
        const auto& slice = engine.slices().front();
        const auto cosines = at::arange(slice.numel).cos() * whole;
        EXPECT_TRUE(at::allclose(expected.narrow(0, slice.offset, slice.numel), cosines, 1.0 / 64, 1e-3));
        world.state()->backend = library;
    }
}

TEST(CopiedSums, AreGivenUpOnceWhenTheWorldFails)
{
    if (gradwind::testing::in_rank()) {
        const Group world = gradwind::testing::rank_world();
        const auto backend = std::make_shared<Copying>(world.state()->backend, world.size());
        world.state()->health->add(backend);
        EXPECT_EQ(backend->given_up, 0);
        if (world.rank() == 0)
            world.fail("a reason");
        else
            EXPECT_THROW(world.state()->raise(Verb::AllReduce, "another"), CommError);
        EXPECT_EQ(backend->given_up, 1);
        world.fail("one more");
        EXPECT_EQ(backend->given_up, 1);
        return;
    }
    for (const auto& result : gradwind::testing::run_ranks(2))
        EXPECT_EQ(result.exit_code, 0) << result.output;
}

} // namespace
} // namespace gradwind::parallel
