// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::ops
{
namespace
{

struct Fixture {
    at::Tensor x = at::randn({6, 4}).requires_grad_(true);
    at::Tensor weight = at::randn({4, 4}).requires_grad_(true);
    int calls = 0;

    /// Uses the weight and the input several times.
    TensorFunction function()
    {
        return [this](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
            ++calls;
            const auto h = at::gelu(at::linear(in[0], weight));
            return {at::linear(h, weight) + in[0], h};
        };
    }
    std::vector<at::Tensor> gradients(Intermediates mode, int n_uses = 1)
    {
        x.mutable_grad() = at::Tensor();
        weight.mutable_grad() = at::Tensor();
        auto y = x * 1.5;
        for (int i = 0; i < n_uses; ++i) {
            const auto out = region(mode, function(), {y}, {weight});
            y = out[0] + 0.3 * out[1] + y;
        }
        y.square().sum().backward();
        return {x.grad().clone(), weight.grad().clone(), y.detach()};
    }
};

TEST(Region, RecomputationChangesNoBit)
{
    Fixture fixture;
    for (const int uses : {1, 3}) {
        const auto kept = fixture.gradients(Intermediates::Keep, uses);
        fixture.calls = 0;
        const auto recomputed = fixture.gradients(Intermediates::Recompute, uses);
        EXPECT_EQ(fixture.calls, 2 * uses);
        for (size_t i = 0; i < kept.size(); ++i)
            EXPECT_TRUE(at::equal(kept[i], recomputed[i])) << i;
    }
}

TEST(Region, GradientsEqualThoseOfPlainAutograd)
{
    Fixture fixture;
    const auto by_region = fixture.gradients(Intermediates::Recompute);
    fixture.x.mutable_grad() = at::Tensor();
    fixture.weight.mutable_grad() = at::Tensor();
    const auto y = fixture.x * 1.5;
    const auto out = fixture.function()({y});
    (out[0] + 0.3 * out[1] + y).square().sum().backward();
    EXPECT_TRUE(at::allclose(by_region[0], fixture.x.grad(), 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(by_region[1], fixture.weight.grad(), 1e-5, 1e-5));
}

TEST(Region, EachParameterReceivesOneGradientPerRegion)
{
    for (const auto mode : {Intermediates::Keep, Intermediates::Recompute}) {
        Fixture fixture;
        int n_gradients = 0;
        fixture.weight.register_hook([&](at::Tensor) { ++n_gradients; });
        (void)fixture.gradients(mode, 3);
        EXPECT_EQ(n_gradients, 3);
    }
}

TEST(Region, ParametersHaveTheirGradientsBeforeTheRegionEnds)
{
    // Two layers in a region: the gradient of the second is there before that of the first is computed.
    const auto first = at::randn({4, 4}).requires_grad_(true), second = at::randn({4, 4}).requires_grad_(true);
    const auto x = at::randn({6, 4}); // asks for no gradient itself
    for (const auto mode : {Intermediates::Keep, Intermediates::Recompute}) {
        first.mutable_grad() = second.mutable_grad() = at::Tensor();
        bool was_there = false;
        const auto function = [&](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
            const auto hidden = at::linear(in[0], first);
            if (hidden.requires_grad())
                hidden.register_hook([&](at::Tensor) { was_there = second.grad().defined(); });
            return {at::linear(hidden, second)};
        };
        const auto inner = [&](const std::vector<at::Tensor>& in) {
            return region(mode, function, in, {first, second});
        };
        region(Intermediates::Recompute, inner, {x}, {first, second})[0].sum().backward();
        EXPECT_TRUE(was_there);
        EXPECT_TRUE(first.grad().defined());
    }
}

TEST(Region, RunsAgainForASecondBackwardWhereItRecomputes)
{
    Fixture fixture;
    const auto loss = region(Intermediates::Recompute, fixture.function(), {fixture.x}, {fixture.weight})[0].sum();
    loss.backward({}, true);
    const auto once = fixture.x.grad().clone();
    loss.backward();
    EXPECT_TRUE(at::equal(fixture.x.grad(), once * 2));
    const auto kept = region(Intermediates::Keep, fixture.function(), {fixture.x}, {fixture.weight})[0].sum();
    kept.backward({}, true);
    EXPECT_THROW(kept.backward(), InternalError);
}

TEST(Region, KeepsNoInputThatItsBackwardDoesNotNeed)
{
    const auto weight = at::randn({4}).requires_grad_(true);
    for (const auto mode : {Intermediates::Keep, Intermediates::Recompute}) {
        auto x = at::randn({6, 4}).requires_grad_(true) * 1;
        const c10::weak_intrusive_ptr<c10::StorageImpl> storage(
            c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(x.storage().unsafeGetStorageImpl()));
        const auto function = [&](const std::vector<at::Tensor>& in) -> std::vector<at::Tensor> {
            return {in[0] + weight};
        };
        const auto out = region(mode, function, {x}, {weight});
        x.reset();
        EXPECT_EQ(storage.expired(), mode == Intermediates::Keep);
        out[0].sum().backward();
        EXPECT_TRUE(weight.grad().defined());
    }
}

TEST(Region, WithoutGradientsItOnlyCalls)
{
    Fixture fixture;
    const at::NoGradGuard no_gradients;
    const auto out = region(Intermediates::Recompute, fixture.function(), {fixture.x}, {fixture.weight});
    EXPECT_FALSE(out[0].requires_grad());
    EXPECT_EQ(fixture.calls, 1);
}

TEST(Region, RecomputesUnderTheAutocastOfTheForwardPass)
{
    Fixture fixture;
    AutocastState half;
    half.cpu.enabled = true;
    std::vector<at::Tensor> outputs;
    {
        const AutocastGuard autocast(half);
        outputs = region(Intermediates::Recompute, fixture.function(), {fixture.x}, {fixture.weight});
    }
    EXPECT_EQ(outputs[1].scalar_type(), at::kBFloat16);
    EXPECT_FALSE(AutocastState::current().cpu.enabled);
    outputs[1].to(at::kFloat).sum().backward();
    EXPECT_EQ(fixture.weight.grad().scalar_type(), at::kFloat);
    EXPECT_GT(fixture.weight.grad().abs().sum().item<double>(), 0);
}

} // namespace
} // namespace gradwind::ops
