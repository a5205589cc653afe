// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Inexact exchanges: what may be lost in a step, and what must never be (spec data-parallel §3.5).
#include "gradwind/core/error.h"
#include "gradwind/parallel/gradient_engine.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <map>

namespace gradwind::parallel
{
namespace
{

using Gradients = std::map<std::string, at::Tensor>;

/// Matrices whose sizes leave gaps in the arena, several of one shape, and things that stay dense.
struct Net {
    std::vector<NamedParameter> parameters;
    Net(at::ScalarType type = at::kDouble)
    {
        const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
            {"a0", {17, 5}}, {"v0", {17}},   {"a1", {17, 5}},     {"tiny", {2, 2}}, {"a2", {17, 5}}, {"b0", {6, 9}},
            {"v1", {3}},     {"b1", {6, 9}}, {"cube", {8, 3, 4}}, {"scalar", {}},   {"sq", {7, 7}}};
        for (const auto& [name, shape] : shapes)
            parameters.push_back({name, at::zeros(shape, type).requires_grad_()});
    }
};

/// Random, different in every step and on every rank, the same wherever it is made.
Gradients noise(const Net& net, int step, int rank)
{
    auto generator = at::detail::createCPUGenerator(uint64_t(1000 * step + rank));
    Gradients result;
    for (const auto& [name, tensor] : net.parameters)
        result[name] = at::randn(tensor.sizes(), generator, tensor.detach().options());
    return result;
}

/// One step whose micro-batches have these gradients; a rank may have none.
void step(GradientEngine& engine, const Net& net, const std::vector<Gradients>& micros)
{
    engine.begin_step();
    for (size_t k = 0; k < micros.size(); ++k) {
        engine.begin_backward(k + 1 == micros.size() ? Sync::Reduce : Sync::Accumulate);
        at::Tensor loss = at::zeros({}, net.parameters.front().tensor.detach().options());
        for (const auto& [name, tensor] : net.parameters)
            loss = loss + (tensor * micros[k].at(name)).sum();
        torch::autograd::backward({loss}, {});
    }
    engine.finish();
}

at::Tensor applied(const GradientEngine& engine, const std::string& name)
{
    for (const Slice& slice : engine.slices())
        if (slice.name == name)
            return engine.flat_gradients().narrow(0, slice.offset, slice.numel).view(slice.shape);
    throw InternalError("no slice " + name);
}

/// Sums over ranks of the errors, by name; nothing for what is dense.
Gradients errors(const GradientEngine& engine, const Group& world)
{
    Gradients result;
    for (const auto& [name, tensor] : engine.compression_state().errors)
        result[name] = world.all_reduce_sum(tensor);
    return result;
}

double distance(const at::Tensor& a, const at::Tensor& b)
{
    return ((a - b).norm() / b.norm().clamp_min(1e-300)).item<double>();
}

EngineOptions compressed(Compression kind, int64_t rank = 2, int64_t start_step = 0, int node_size = 1)
{
    return {.compression = {.kind = kind, .rank = rank, .start_step = start_step, .min_ratio = 1},
            .node_size = node_size};
}

constexpr Compression kKinds[] = {Compression::Acp, Compression::PowerSgd};

GRADWIND_MULTIRANK_TEST(Compression, EveryGradientIsAppliedOrKept, RankCounts{1, 2, 3})
{
    for (const auto kind : kKinds) {
        const Net net;
        GradientEngine engine(net.parameters, world, compressed(kind));
        Gradients given, taken;
        for (const auto& [name, tensor] : net.parameters) {
            given[name] = at::zeros_like(tensor.detach());
            taken[name] = at::zeros_like(tensor.detach());
        }
        for (int k = 0; k < 20; ++k) {
            std::vector<Gradients> own;
            for (int rank = 0; rank < world.size(); ++rank)
                for (int micro = 0; micro < 2 && !(k % 5 == 2 && rank == 0);
                     ++micro) { // rank 0 at times has no samples
                    const auto g = noise(net, 100 * k + micro, rank);
                    for (const auto& [name, tensor] : g)
                        given[name] += tensor;
                    if (rank == world.rank())
                        own.push_back(g);
                }
            step(engine, net, own);
            for (auto& [name, tensor] : taken)
                tensor += applied(engine, name);
            const auto left = errors(engine, world);
            EXPECT_EQ(left.size(), k == 0 ? 0u : 7u); // a0 a1 a2 b0 b1 cube sq, after the step that learns the layout
            for (const auto& [name, tensor] : taken) {
                const auto all = left.count(name) ? at::Tensor(tensor + left.at(name)) : tensor;
                EXPECT_LT(distance(all, given.at(name)), 1e-12) << name << " step " << k;
                if (k > 0 && !left.count(name)) {
                    EXPECT_LT(distance(tensor, given.at(name)), 1e-14) << name << " is dense";
                }
            }
        }
        EXPECT_GT(errors(engine, world).at("a0").norm().item<double>(), 0.1) << "nothing was compressed";
    }
}

GRADWIND_MULTIRANK_TEST(Compression, FactorsAreTheSameBitsOnAllRanks, RankCounts{2, 3})
{
    for (const auto kind : kKinds) {
        const Net net(at::kFloat);
        GradientEngine engine(net.parameters, world, compressed(kind));
        for (int k = 0; k < 7; ++k) {
            step(engine, net, {noise(net, k, world.rank())});
            std::string bytes;
            for (const auto& [name, tensor] : engine.compression_state().factors) {
                const auto dense = tensor.contiguous();
                bytes += name + std::string(static_cast<const char*>(dense.data_ptr()), dense.nbytes());
            }
            bytes += std::string(static_cast<const char*>(engine.flat_gradients().data_ptr()),
                                 engine.flat_gradients().nbytes());
            for (const auto& other : world.all_gather_bytes(bytes))
                EXPECT_TRUE(other == bytes) << k;
        }
    }
}

/// What a step hands to collectives of a group, in bytes.
int64_t bytes_in(const std::vector<Group>& groups)
{
    int64_t bytes = 0;
    for (const auto& group : groups)
        bytes += group.traffic().bytes();
    return bytes;
}

GRADWIND_MULTIRANK_TEST(Compression, NodesSumFactorsFirst, RankCounts{2, 4, 6})
{
    const int node_size = world.size() == 6 ? 3 : 2; // messages of factors are no multiples of 3
    for (const auto kind : kKinds) {
        const Net flat_net, net;
        GradientEngine flat(flat_net.parameters, world, compressed(kind));
        GradientEngine engine(net.parameters, world, compressed(kind, 2, 0, node_size));
        EXPECT_EQ(engine.groups().size(), world.size() == node_size ? 0u : 2u);
        for (int k = 0; k < 6; ++k) {
            step(flat, flat_net, {noise(net, k, world.rank())});
            const int64_t before = bytes_in(engine.groups()), in_world = bytes_in({world});
            step(engine, net, {noise(net, k, world.rank())});
            for (const auto& [name, tensor] : net.parameters)
                EXPECT_LT(distance(applied(engine, name), applied(flat, name)), 1e-9) << name << " step " << k;
            std::string bits(static_cast<const char*>(engine.flat_gradients().data_ptr()),
                             engine.flat_gradients().nbytes());
            if (k > 0 && world.size() > node_size) {
                EXPECT_EQ(bytes_in({world}), in_world) << "all of it goes by nodes";
                int64_t handed = 0;
                for (const auto& bucket : engine.last_step().buckets)
                    handed += bucket.on_wire;
                EXPECT_EQ(bytes_in(engine.groups()) - before, handed);
            }
            for (const auto& other : world.all_gather_bytes(bits))
                EXPECT_TRUE(other == bits) << "equal on all ranks, step " << k;
        }
    }
}

GRADWIND_MULTIRANK_TEST(Compression, AConstantGradientOfLowRankIsReproduced, RankCounts{1, 2})
{
    for (const auto kind : kKinds) {
        const Net net;
        Gradients constant = noise(net, 0, world.rank());
        for (const char* name : {"a0", "b1"}) {
            auto& g = constant[name];
            auto generator = at::detail::createCPUGenerator(5);
            const auto options = g.options();
            g = at::matmul(at::randn({g.size(0), 2}, generator, options),
                           at::randn({2, g.size(1)}, generator, options));
        }
        GradientEngine engine(net.parameters, world, compressed(kind));
        // What a P step leaves out moves the basis of the next, so single steps of ACP differ from g while each pair of
        // steps applies 2 g.
        const int pair = kind == Compression::Acp ? 2 : 1;
        Gradients sums;
        for (int k = 0; k < 7; ++k) {
            step(engine, net, {constant});
            for (const char* name : {"a0", "b1"})
                if (k >= 7 - pair)
                    sums[name] = sums.count(name) ? sums[name] + applied(engine, name) : applied(engine, name).clone();
        }
        for (const char* name : {"a0", "b1"})
            EXPECT_LT(distance(sums[name], pair * world.all_reduce_sum(constant[name])), 1e-4) << name;
    }
}

GRADWIND_MULTIRANK_TEST(Compression, FullRankIsDense, RankCounts{1, 2, 3})
{
    for (const auto kind : kKinds) {
        const Net net;
        auto options = compressed(kind, 100);
        options.compression.min_ratio = 0;
        GradientEngine engine(net.parameters, world, options);
        for (int k = 0; k < 6; ++k) {
            const auto own = noise(net, k, world.rank());
            step(engine, net, {own});
            for (const auto& [name, tensor] : own) {
                // A basis of a square matrix spans everything. One of another spans what the gradients do, but for the
                // small weight of the directions that keep lost subspaces alive; ACP's is that of the step before.
                const bool is_square = name == "sq" || name == "tiny";
                if (kind == Compression::PowerSgd || is_square) {
                    EXPECT_LT(distance(applied(engine, name), world.all_reduce_sum(tensor)), is_square ? 1e-12 : 1e-5)
                        << name << " step " << k;
                }
            }
        }
        EXPECT_EQ(engine.compression_state().errors.size(), 8u); // tiny, too
        for (const auto& [name, tensor] : engine.compression_state().errors)
            if (name == "sq" || name == "tiny") {
                EXPECT_LT(tensor.abs().max().item<double>(), 1e-11) << name;
            }
    }
}

TEST(Compression, ErrorsStayBounded)
{
    Net net;
    net.parameters.resize(2); // a0 and v0
    const Group one = Group::self();
    GradientEngine engine(net.parameters, one, compressed(Compression::Acp, 1));
    double early = 0, late = 0;
    for (int k = 0; k < 10000; ++k) {
        step(engine, net, {noise(net, k, 0)});
        if (k < 2)
            continue;
        double norm = 0;
        for (const auto& [name, tensor] : engine.compression_state().errors)
            norm += tensor.norm().item<double>();
        (k < 2000 ? early : late) = std::max(k < 2000 ? early : late, norm);
    }
    EXPECT_GT(early, 1);
    EXPECT_LT(late, 1.3 * early);
}

GRADWIND_MULTIRANK_TEST(Compression, ASkippedStepDoesNotPoisonTheError, RankCounts{1, 2})
{
    for (const auto kind : kKinds) {
        const Net net;
        GradientEngine engine(net.parameters, world, compressed(kind));
        for (int bad : {4, 5, 9}) {
            for (int k = 0; k < bad; ++k)
                step(engine, net, {noise(net, k, world.rank())});
            auto broken = noise(net, 77, world.rank());
            if (world.rank() == world.size() - 1)
                broken["b0"][2][3] =
                    bad == 5 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
            step(engine, net, {broken});
            EXPECT_FALSE(at::isfinite(engine.flat_gradients()).all().item<bool>()) << "every rank has to see it";
            engine.discard_step();
            Gradients given, taken;
            for (const auto& [name, tensor] : net.parameters) {
                given[name] = at::zeros_like(tensor.detach());
                taken[name] = at::zeros_like(tensor.detach());
            }
            for (int k = 0; k < 5; ++k) {
                const auto own = noise(net, 300 + k, world.rank());
                step(engine, net, {own});
                for (auto& [name, tensor] : taken) {
                    tensor += applied(engine, name);
                    given[name] += world.all_reduce_sum(own.at(name));
                }
            }
            const auto left = errors(engine, world);
            for (const auto& [name, tensor] : taken)
                EXPECT_LT(distance(left.count(name) ? at::Tensor(tensor + left.at(name)) : tensor, given.at(name)),
                          1e-12)
                    << name;
        }
    }
}

GRADWIND_MULTIRANK_TEST(Compression, ARestoredEngineGoesOnBitForBit, RankCounts{1, 2})
{
    for (const auto kind : kKinds)
        for (const int at_step : {3, 4}) {
            const Net net(at::kFloat), again(at::kFloat);
            GradientEngine engine(net.parameters, world, compressed(kind));
            for (int k = 0; k < at_step; ++k)
                step(engine, net, {noise(net, k, world.rank())});
            auto options = compressed(kind);
            options.order = engine.order();
            GradientEngine resumed(again.parameters, world, options);
            const auto state = engine.compression_state();
            resumed.restore(engine.reduced_steps(), state);
            const auto fresh = resumed.compression_state();
            ASSERT_EQ(fresh.factors.size(), state.factors.size());
            for (size_t i = 0; i < state.factors.size(); ++i)
                fresh.factors[i].second.copy_(state.factors[i].second);
            for (size_t i = 0; i < state.errors.size(); ++i)
                fresh.errors[i].second.copy_(state.errors[i].second);
            EXPECT_EQ(resumed.bucket_ends(), engine.bucket_ends());
            for (int k = at_step; k < at_step + 4; ++k) {
                step(engine, net, {noise(net, k, world.rank())});
                step(resumed, again, {noise(net, k, world.rank())});
                EXPECT_TRUE(at::equal(resumed.flat_gradients(), engine.flat_gradients())) << k;
            }
        }
}

GRADWIND_MULTIRANK_TEST(Compression, IsDenseUntilItsStart, RankCounts{1, 2})
{
    const Net net;
    GradientEngine engine(net.parameters, world, compressed(Compression::Acp, 2, 3));
    for (int k = 0; k < 5; ++k) {
        const auto own = noise(net, k, world.rank());
        const auto version = engine.layout_version();
        step(engine, net, {own});
        EXPECT_EQ(engine.compression_state().active, k >= 3);
        if (k == 3) {
            EXPECT_GT(engine.layout_version(), version) << "the optimiser has to look for the gradients again";
        }
        const double error = distance(applied(engine, "a0"), world.all_reduce_sum(own.at("a0")));
        EXPECT_EQ(error < 1e-14, k < 3) << error;
    }
    // Other buckets: whole matrices still, and the factors go on.
    const auto before = engine.compression_state().factors[0].second.clone();
    engine.replan({100, engine.flat_gradients().numel()});
    EXPECT_EQ(engine.bucket_ends().size(), 2u);
    EXPECT_NE(engine.bucket_ends()[0], 100);
    EXPECT_TRUE(at::equal(engine.compression_state().factors[0].second, before));
}

GRADWIND_MULTIRANK_TEST(Compression, TheFirstAndTheLastMessageAreSmall, RankCounts{1, 2})
{
    Net net;
    net.parameters.clear();
    for (int layer = 0; layer < 20; ++layer) {
        net.parameters.push_back({fmt::format("w{}", layer), at::zeros({32, 32}, at::kDouble).requires_grad_()});
        net.parameters.push_back({fmt::format("v{}", layer), at::zeros({32}, at::kDouble).requires_grad_()});
    }
    GradientEngine engine(net.parameters, world, compressed(Compression::Acp));
    for (int k = 0; k < 2; ++k)
        step(engine, net, {noise(net, k, world.rank())});
    const auto& ends = engine.bucket_ends();
    ASSERT_EQ(ends.size(), 5u);
    EXPECT_LE(100 * ends[0], 15 * ends[4]) << "a slow link starts early";
    EXPECT_LE(100 * (ends[4] - ends[3]), 10 * ends[4]) << "nothing hides the last one";
}

GRADWIND_MULTIRANK_TEST(Compression, Bf16OnTheWireKeepsItsBound, RankCounts{1, 2, 3})
{
    const Net net(at::kFloat);
    GradientEngine engine(net.parameters, world,
                          {.bucket_cap_mb = 0.0005, .first_bucket_mb = 0.0005, .wire = WireType::Bf16});
    for (int k = 0; k < 4; ++k) {
        const auto own = noise(net, k, world.rank());
        step(engine, net, {own});
        for (const auto& [name, tensor] : own) {
            const auto sum = world.all_reduce_sum(tensor.to(at::kDouble));
            const auto magnitudes = world.all_reduce_sum(tensor.abs().to(at::kDouble));
            const auto result = applied(engine, name);
            const auto bound = (magnitudes + result.abs()) * 0x1p-8;
            EXPECT_TRUE(((result - sum).abs() <= bound).all().item<bool>()) << name;
            const bool is_bf16 = at::equal(result, result.to(at::kBFloat16).to(at::kFloat));
            EXPECT_EQ(is_bf16, world.size() > 1) << name << ": in a world of one there is no wire";
        }
        int64_t bytes = 0;
        for (const auto& bucket : engine.last_step().buckets)
            bytes += bucket.on_wire;
        EXPECT_EQ(bytes, world.size() > 1 ? 2 * engine.flat_gradients().numel() : 0);
    }
}

GRADWIND_MULTIRANK_TEST(Compression, OptionsMustAgreeBetweenRanks, RankCounts{2})
{
    EXPECT_THROW(GradientEngine(Net().parameters, world, compressed(Compression::Acp, 1 + world.rank())), ConfigError);
    EngineOptions planned{.bucket_bytes = {256, 512}};
    EXPECT_THROW(GradientEngine(Net().parameters, world, planned), ConfigError);
}

} // namespace
} // namespace gradwind::parallel
