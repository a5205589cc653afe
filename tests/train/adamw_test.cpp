// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw.h"

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
