// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Normalisations with and without a condition.
#include "gradwind/core/error.h"
#include "gradwind/model/layers.h"
#include "tests/support/gradients.h"

#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

LayerKernels conditional(LayerKernels::ConditionStart start = LayerKernels::ConditionStart::Zero)
{
    LayerKernels kernels;
    kernels.condition_width = 3;
    kernels.condition_start = start;
    return kernels;
}

std::shared_ptr<Norm> random_norm(const LayerKernels& kernels)
{
    auto norm = make_norm(kernels, 6);
    norm->to(at::kDouble);
    at::manual_seed(2);
    const at::NoGradGuard no_gradients;
    for (auto& parameter : norm->parameters())
        parameter.copy_(at::randn(parameter.sizes(), at::kDouble));
    return norm;
}

std::vector<std::string> names_of(const torch::nn::Module& module)
{
    return module.named_parameters().keys();
}

TEST(Norms, ScaleAndShiftComeFromTheCondition)
{
    const auto norm = random_norm(conditional());
    EXPECT_EQ(names_of(*norm), (std::vector<std::string>{"scale.weight", "scale.bias", "bias.weight", "bias.bias"}));
    const auto p = norm->named_parameters();
    const auto x = at::randn({5, 6}, at::kDouble), cond = at::randn({5, 3}, at::kDouble);
    const auto expected = at::layer_norm(x, {6}) * (1 + at::linear(cond, p["scale.weight"], p["scale.bias"])) +
                          at::linear(cond, p["bias.weight"], p["bias.bias"]);
    EXPECT_LT((norm->forward(x, cond) - expected).abs().max().item<double>(), 1e-13);
}

TEST(Norms, GradientsAgreeWithFiniteDifferences)
{
    const auto norm = random_norm(conditional());
    auto operands = norm->parameters();
    operands.push_back(at::randn({5, 6}, at::kDouble).requires_grad_(true));
    operands.push_back(at::randn({5, 3}, at::kDouble).requires_grad_(true));
    test::expect_true_gradients([&] { return test::weighted_sum(norm->forward(operands[4], operands[5])); }, operands);
    const LayerKernels::NormForm scale_only = {.weights = LayerKernels::NormForm::Weights::Scale};
    const auto without_bias = std::make_shared<LayerNorm>(6, scale_only);
    without_bias->to(at::kDouble);
    test::expect_true_gradients([&] { return test::weighted_sum(without_bias->forward(operands[4])); },
                                {operands[4], without_bias->weight});
}

TEST(Norms, AConditionalOneStartsAsAPlainOne)
{
    for (const auto start : {LayerKernels::ConditionStart::Zero, LayerKernels::ConditionStart::Drawn}) {
        const auto norm = make_norm(conditional(start), 6);
        UniformStream stream(1), beside(1);
        norm->draw(stream);
        const auto x = at::randn({5, 6});
        const bool plain = at::allclose(norm->forward(x, at::ones({5, 3})), at::layer_norm(x, {6}), 0, 1e-6);
        EXPECT_EQ(plain, start == LayerKernels::ConditionStart::Zero);
        // Two maps of 3 columns to 6, weights and biases, were drawn in either case.
        for (int i = 0; i < 2 * (3 * 6 + 6); ++i)
            (void)beside.next(0, 1);
        EXPECT_EQ(stream.next(0, 1), beside.next(0, 1));
    }
}

TEST(Norms, OneOfAHeadHasNoBias)
{
    const LayerNorm norm(4, LayerKernels().query_norm);
    EXPECT_EQ(names_of(norm), std::vector<std::string>{"weight"});
    const auto x = at::randn({7, 2, 4});
    EXPECT_TRUE(at::allclose(norm.forward(x), at::layer_norm(x, {4}), 0, 1e-6));
}

TEST(Norms, AConditionThatDoesNotFitIsRefused)
{
    const auto norm = random_norm(conditional());
    const auto x = at::randn({5, 6}, at::kDouble);
    EXPECT_THROW((void)norm->forward(x), ShapeError);
    EXPECT_THROW((void)norm->forward(x, at::zeros({4, 3}, at::kDouble)), ShapeError);
    EXPECT_THROW((void)norm->forward(x, at::zeros({5, 2}, at::kDouble)), ShapeError);
}

} // namespace
} // namespace gradwind::model
