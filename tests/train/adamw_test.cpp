// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw.h"

#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <limits>

namespace gradwind::train
{
namespace
{

// Two orders of the same few float32 operations a step, over ten steps of weights near 1.
constexpr double kFloatTolerance = 2e-6;
constexpr double kDoubleTolerance = 1e-13;

struct Setting {
    at::ScalarType type = at::kFloat;
    AdamWOptions options{};
    ClipOptions clip{};
};

/// Runs ten steps of torch's own AdamW and clipping beside ours and compares the weights.
void compare_with_torch(const Setting& setting)
{
    at::manual_seed(3);
    const auto start = at::randn({100003}, at::kDouble).to(setting.type);
    const std::vector<int64_t> sizes = {70000, 3, 30000}; // three elements at the end belong to nobody
    auto arena = start.clone();
    auto gradients = at::zeros_like(arena);
    std::vector<parallel::Slice> slices;
    std::vector<at::Tensor> reference;
    int64_t begin = 0;
    for (const auto size : sizes) {
        slices.push_back({"p" + std::to_string(slices.size()), begin, size, {size}});
        reference.push_back(start.narrow(0, begin, size).clone().requires_grad_(true));
        begin += size;
    }
    torch::optim::AdamW torch_optimizer(reference, torch::optim::AdamWOptions(1e-2)
                                                       .betas({setting.options.beta1, setting.options.beta2})
                                                       .eps(setting.options.eps)
                                                       .weight_decay(setting.options.weight_decay));
    AdamW optimizer(slices, arena, gradients, setting.options, setting.clip);
    for (int step = 0; step < 10; ++step) {
        const double lr = step == 0 ? 0.0 : 1e-2 / (1 + step);
        gradients.copy_(at::randn({100003}, at::kDouble) * (step + 1));
        for (size_t i = 0; i < slices.size(); ++i)
            reference[i].mutable_grad() = gradients.narrow(0, slices[i].offset, slices[i].numel).clone();
        if (setting.clip.kind == ClipKind::Value)
            torch::nn::utils::clip_grad_value_(reference, setting.clip.threshold);
        const double norm = setting.clip.kind == ClipKind::Norm
                                ? torch::nn::utils::clip_grad_norm_(reference, setting.clip.threshold)
                                : 0;
        static_cast<torch::optim::AdamWOptions&>(torch_optimizer.param_groups()[0].options()).lr(lr);
        torch_optimizer.step();
        const auto done = optimizer.step(lr);
        EXPECT_TRUE(done.applied);
        if (setting.clip.kind == ClipKind::Norm) {
            EXPECT_NEAR(done.grad_norm, norm, 1e-5 * norm);
        }
    }
    const double tolerance = setting.type == at::kDouble ? kDoubleTolerance : kFloatTolerance;
    for (size_t i = 0; i < slices.size(); ++i) {
        const auto ours = arena.narrow(0, slices[i].offset, slices[i].numel);
        EXPECT_LT((ours - reference[i]).norm().item<double>(), tolerance * reference[i].norm().item<double>()) << i;
    }
    EXPECT_EQ(optimizer.steps(), 10);
}

TEST(AdamW, EqualsTorch)
{
    compare_with_torch({});
    compare_with_torch({.type = at::kDouble});
    compare_with_torch({.options = {.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0.5}});
}

TEST(AdamW, ClippingByAValueThatBitesEqualsTorch)
{
    compare_with_torch({.clip = {ClipKind::Value, 0.3}});
    compare_with_torch({.type = at::kDouble, .clip = {ClipKind::Value, 0.3}});
}

TEST(AdamW, ClippingByNormEqualsTorchWhetherItBitesOrNot)
{
    compare_with_torch({.clip = {ClipKind::Norm, 1500.0}});
    compare_with_torch({.type = at::kDouble, .clip = {ClipKind::Norm, 0.1}});
}

TEST(AdamW, DoesNotDependOnTheNumberOfThreads)
{
    std::vector<at::Tensor> results;
    const int before = at::get_num_threads();
    for (const int n_threads : {1, 2}) {
        at::set_num_threads(n_threads);
        at::manual_seed(5);
        auto arena = at::randn({200001}), gradients = at::randn({200001});
        AdamW optimizer({{"p", 0, 200001, {200001}}}, arena, gradients, {}, {ClipKind::Norm, 1.0});
        for (int step = 0; step < 3; ++step)
            optimizer.step(1e-3);
        results.push_back(arena);
    }
    at::set_num_threads(before);
    EXPECT_TRUE(at::equal(results[0], results[1]));
}

TEST(AdamW, AGradientThatIsNotFiniteChangesNothingAndIsNamed)
{
    for (const auto type : {at::kFloat, at::kDouble}) {
        auto arena = at::ones({10}, type), gradients = at::ones({10}, type);
        AdamW optimizer({{"first", 0, 4, {4}}, {"second", 4, 6, {2, 3}}}, arena, gradients, {}, {ClipKind::Value, 32});
        optimizer.step(0.1);
        const auto weights = arena.clone(), moments = optimizer.exp_avg().clone();
        gradients[7] = std::numeric_limits<double>::quiet_NaN();
        const auto done = optimizer.step(0.1);
        EXPECT_FALSE(done.applied);
        EXPECT_EQ(done.non_finite_parameter, "second");
        EXPECT_TRUE(at::equal(arena, weights) && at::equal(optimizer.exp_avg(), moments));
        EXPECT_EQ(optimizer.steps(), 1);
    }
}

TEST(AdamW, MomentsMoveWithTheArena)
{
    auto arena = at::ones({6}), gradients = at::arange(6, at::kFloat);
    AdamW optimizer({{"a", 0, 2, {2}}, {"b", 2, 4, {2, 2}}}, arena, gradients, {}, {});
    optimizer.step(0.1);
    const auto before = optimizer.state();
    optimizer.move_to({{"b", 0, 4, {2, 2}}, {"a", 4, 2, {2}}}, at::zeros({6}), at::zeros({6}));
    const auto after = optimizer.state();
    EXPECT_EQ(after[0].first, "exp_avg.b");
    EXPECT_TRUE(at::equal(after[0].second, before[2].second));
    EXPECT_TRUE(at::equal(after[3].second, before[1].second));
}

/// An arena of a vector, three matrices that leave gaps, and a vector, with factors for the matrices.
struct Factored {
    at::Tensor parameters, gradients; ///< the latter multiplied out
    std::vector<parallel::Slice> slices;
    std::vector<parallel::GradientPiece> pieces;

    Factored(at::ScalarType type, int64_t rows, int64_t columns, int64_t rank)
    {
        at::manual_seed(4);
        const int64_t stride = (rows * columns + 63) / 64 * 64, first = 64, last = first + 3 * stride;
        parameters = at::zeros({last + 64}, type);
        gradients = at::zeros({last + 64}, type);
        const auto options = parameters.options();
        const auto p = at::randn({3, rows, rank}, options), q = at::randn({3, columns, rank}, options);
        slices = {{"front", 0, 50, {50}}};
        for (int64_t k = 0; k < 3; ++k)
            slices.push_back({"m" + std::to_string(k), first + k * stride, rows * columns, {rows, columns}});
        slices.push_back({"back", last, 40, {40}});
        for (const auto& slice : slices)
            parameters.narrow(0, slice.offset, slice.numel).copy_(at::randn({slice.numel}, options));
        gradients.narrow(0, 0, 50).copy_(at::randn({50}, options));
        gradients.narrow(0, last, 40).copy_(at::randn({40}, options));
        pieces = {{.offset = 0, .dense = gradients.narrow(0, 0, 64).clone()},
                  {.offset = first, .p = p, .q = q, .stride = stride},
                  {.offset = last, .dense = gradients.narrow(0, last, 64).clone()}};
        pieces[1].matrices_of(gradients).copy_(at::bmm(p, q.transpose(1, 2)));
    }
};

TEST(AdamW, GradientsAsFactorsGiveTheSameStep)
{
    for (const auto type : {at::kFloat, at::kDouble})
        for (const auto& clip : {ClipOptions{}, ClipOptions{ClipKind::Norm, 3.0}, ClipOptions{ClipKind::Value, 0.5}})
            for (const int64_t rank : {1, 3, 20}) {
                // More columns than are worked on at once.
                const Factored factored(type, 23, 1501, rank);
                auto one = factored.parameters.clone(), other = factored.parameters.clone();
                AdamW whole(factored.slices, one, factored.gradients, {}, clip);
                AdamW in_factors(factored.slices, other, factored.gradients, {}, clip);
                for (int step = 0; step < 3; ++step) {
                    const auto expected = whole.step(0.01), found = in_factors.step(0.01, factored.pieces);
                    EXPECT_NEAR(found.grad_norm, expected.grad_norm, 1e-6 * expected.grad_norm) << rank;
                }
                const double tolerance = type == at::kDouble ? kDoubleTolerance : kFloatTolerance;
                EXPECT_LT((one - other).norm().item<double>(), tolerance * one.norm().item<double>()) << rank;
                EXPECT_LT((whole.exp_avg_sq() - in_factors.exp_avg_sq()).norm().item<double>(),
                          tolerance * whole.exp_avg_sq().norm().item<double>());
            }
}

TEST(AdamW, TheNormOfFactorsIsExact)
{
    // Far from the rounding of a product that is formed in float32: columns that nearly cancel.
    const Factored factored(at::kDouble, 40, 30, 4);
    auto parameters = factored.parameters.clone();
    AdamW optimizer(factored.slices, parameters, factored.gradients, {}, {});
    EXPECT_NEAR(optimizer.step(0.0, factored.pieces).grad_norm / factored.gradients.norm().item<double>(), 1, 1e-14);
}

TEST(AdamW, AFactorThatIsNotFiniteChangesNothingAndItsMatrixIsNamed)
{
    for (const auto type : {at::kFloat, at::kDouble}) {
        Factored factored(type, 6, 5, 2);
        factored.pieces[1].q[1][3][0] = std::numeric_limits<double>::infinity();
        auto parameters = factored.parameters.clone();
        AdamW optimizer(factored.slices, parameters, factored.gradients, {}, {});
        const auto done = optimizer.step(0.1, factored.pieces);
        EXPECT_FALSE(done.applied);
        EXPECT_EQ(done.non_finite_parameter, "m1");
        EXPECT_TRUE(at::equal(parameters, factored.parameters));
    }
}

/// A third of every bucket of 96, 48 and 12 elements on each of three ranks.
parallel::StateShare share_of(const parallel::Group& world)
{
    parallel::StateShare share{.group = world};
    int64_t begin = 0;
    for (const int64_t size : {96, 48, 12}) {
        share.owned.push_back({begin + world.rank() * size / world.size(), size / world.size()});
        begin += size;
    }
    return share;
}

GRADWIND_MULTIRANK_TEST(AdamW, SharesOfTheStateAddUpToTheWhole, RankCounts{1, 2, 3})
{
    for (const auto type : {at::kFloat, at::kDouble}) {
        at::manual_seed(9);
        const auto start = at::randn({156}, type);
        std::vector<parallel::Slice> slices = {{"a", 0, 70, {7, 10}}, {"b", 70, 86, {86}}};
        auto whole = start.clone(), shared = start.clone();
        auto gradients = at::zeros({156}, type);
        const ClipOptions clip{ClipKind::Norm, 2.0};
        AdamW reference(slices, whole, gradients, {}, clip);
        auto share = share_of(world);
        if (world.size() == 1)
            share = {};
        AdamW optimizer(slices, shared, gradients, {}, clip, share);
        EXPECT_EQ(optimizer.state_bytes() * world.size(), reference.state_bytes());
        for (int step = 0; step < 4; ++step) {
            gradients.copy_(at::randn({156}, type));
            if (step == 2) { // the part of one rank only
                gradients[100] = std::numeric_limits<double>::quiet_NaN();
                const auto done = optimizer.step(0.1);
                EXPECT_FALSE(done.applied);
                EXPECT_EQ(done.non_finite_parameter, "b");
                continue;
            }
            const auto expected = reference.step(0.01), found = optimizer.step(0.01);
            EXPECT_NEAR(found.grad_norm, expected.grad_norm, 1e-12 * expected.grad_norm);
        }
        auto mixed = world.size() == 1 ? whole.clone() : start.clone(); // what others own is theirs
        for (const auto& span : share.owned)
            mixed.narrow(0, span.begin, span.size).copy_(whole.narrow(0, span.begin, span.size));
        EXPECT_TRUE(at::allclose(shared, mixed, 1e-6, 1e-7));
        const auto expected = reference.state(), found = optimizer.state();
        EXPECT_EQ(found.size(), world.rank() == 0 ? expected.size() : 0u);
        for (size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].first, expected[i].first);
            EXPECT_TRUE(at::allclose(found[i].second, expected[i].second, 1e-6, 1e-9)) << found[i].first;
        }
        // From the whole state in a file, and into other parts.
        auto again = start.clone();
        AdamW resumed(slices, again, gradients, {}, clip, share);
        const auto blank = resumed.blank();
        blank.exp_avg.copy_(reference.exp_avg());
        blank.exp_avg_sq.copy_(reference.exp_avg_sq());
        resumed.adopt(blank);
        EXPECT_TRUE(at::allclose(resumed.exp_avg(), optimizer.exp_avg(), 1e-6, 1e-9));
        auto moved = share;
        int64_t begin = 0;
        for (size_t bucket = 0; bucket < moved.owned.size(); ++bucket) {
            const int64_t size = std::vector<int64_t>{12, 132, 12}[bucket] / world.size();
            moved.owned[bucket] = {begin + world.rank() * size, size};
            begin += size * world.size();
        }
        resumed.move_to(slices, again, gradients, moved);
        int64_t at = 0;
        for (const auto& span : moved.owned) {
            EXPECT_TRUE(at::equal(resumed.exp_avg().narrow(0, at, span.size),
                                  reference.exp_avg().narrow(0, span.begin, span.size)));
            at += span.size;
        }
    }
}

TEST(AdamW, NormOfLargeFloatGradientsDoesNotOverflow)
{
    auto arena = at::zeros({4}), gradients = at::full({4}, 1e30);
    AdamW optimizer({{"p", 0, 4, {4}}}, arena, gradients, {}, {ClipKind::Norm, 1.0});
    const auto done = optimizer.step(0.1);
    EXPECT_TRUE(done.applied);
    EXPECT_NEAR(done.grad_norm, 2e30, 1e24);
    EXPECT_NEAR(optimizer.exp_avg()[0].item<double>(), 0.05, 1e-7);
}

} // namespace
} // namespace gradwind::train
