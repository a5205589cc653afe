// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Ensemble models: noise, conditions, residuals.
#include "gradwind/core/error.h"
#include "gradwind/model/noise.h"
#include "gradwind/model/residual.h"
#include "tests/support/gradients.h"
#include "tests/support/small_network.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace gradwind::model
{
namespace
{

using test::expect_true_gradients;
using test::small_graph;
using test::small_network;
using test::weighted_sum;
using Json = nlohmann::json;

Json ensemble_section()
{
    auto section = test::small_section();
    section["model"] = {{"_target_", "anemoi.models.models.AnemoiEnsModelEncProcDec"}};
    section["noise_injector"] = {
        {"_target_", "NoiseConditioning"}, {"noise_std", 1}, {"noise_channels_dim", 3}, {"noise_mlp_hidden_dim", 5}};
    section["processor"] = {
        {"_target_", "TransformerProcessor"},
        {"num_layers", 2},
        {"num_heads", 2},
        {"window_size", 2},
        {"gradient_checkpointing", false},
        {"layer_kernels",
         {{"LayerNorm", {{"_target_", "ConditionalLayerNorm"}, {"condition_shape", 3}, {"autocast", false}}}}}};
    return section;
}

at::Tensor input(int64_t batch, int64_t members)
{
    at::manual_seed(3);
    return at::randn({batch, 2, 1, 13, 3}, at::kDouble).repeat({1, 1, members, 1, 1});
}

/// The same numbers at every rollout step.
class FixedNoise : public NoiseSource
{
public:
    [[nodiscard]] at::Tensor draw(const NoiseRequest& request) const override
    {
        at::manual_seed(9);
        return at::randn({request.batch, request.members, request.n_nodes, request.channels});
    }
};

TEST(Noise, IsStandardNormal)
{
    const CounterNoise noise({.key = 5, .step = 3, .samples = {0, 1}, .first_member = 0});
    const auto x =
        noise.draw({.batch = 2, .members = 4, .n_nodes = 2000, .channels = 6, .rollout_step = 0}).to(at::kDouble);
    // 96000 numbers: 5 standard errors of mean, variance and fourth moment.
    EXPECT_NEAR(x.mean().item<double>(), 0, 0.017);
    EXPECT_NEAR(x.square().mean().item<double>(), 1, 0.023);
    EXPECT_NEAR(x.pow(4).mean().item<double>(), 3, 0.16);
    const auto rows = x.reshape({-1, 6});
    const auto correlation = at::mm(rows.t(), rows) / double(rows.size(0)) - at::eye(6, at::kDouble);
    EXPECT_LT(correlation.abs().max().item<double>(), 0.06);
}

TEST(Noise, DependsOnItsPlaceAndNotOnWhoAsks)
{
    const NoiseRequest all{.batch = 3, .members = 4, .n_nodes = 50, .channels = 5, .rollout_step = 2};
    const auto whole = CounterNoise({.key = 7, .step = 1, .samples = {10, 11, 12}, .first_member = 0}).draw(all);
    auto part = all;
    part.batch = 1;
    part.members = 2;
    const auto own = CounterNoise({.key = 7, .step = 1, .samples = {11}, .first_member = 2}).draw(part);
    EXPECT_TRUE(at::equal(own, whole.narrow(0, 1, 1).narrow(1, 2, 2)));
    const auto threads = at::get_num_threads();
    at::set_num_threads(3);
    const auto again = CounterNoise({.key = 7, .step = 1, .samples = {10, 11, 12}, .first_member = 0}).draw(all);
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(again, whole));
}

TEST(Noise, EveryCounterCounts)
{
    const NoiseRequest request{.batch = 1, .members = 2, .n_nodes = 4, .channels = 6, .rollout_step = 0};
    const NoisePlace place{.key = 7, .step = 1, .samples = {3}, .first_member = 0};
    const auto base = CounterNoise(place).draw(request);
    const auto differs = [&](NoisePlace other, NoiseRequest asked) {
        EXPECT_EQ((CounterNoise(std::move(other)).draw(asked) == base).sum().item<int64_t>(), 0);
    };
    differs({.key = 8, .step = 1, .samples = {3}, .first_member = 0}, request);
    differs({.key = 7ULL | 1ULL << 40, .step = 1, .samples = {3}, .first_member = 0}, request);
    differs({.key = 7, .step = 2, .samples = {3}, .first_member = 0}, request);
    differs({.key = 7, .step = 1, .samples = {4}, .first_member = 0}, request);
    differs({.key = 7, .step = 1, .samples = {3}, .first_member = 2}, request);
    auto later = request;
    later.rollout_step = 1;
    differs(place, later);
    EXPECT_EQ(std::get<0>(at::_unique(base.reshape({-1}))).numel(), base.numel());
    EXPECT_THROW((void)CounterNoise(place).draw({.batch = 2, .members = 1, .n_nodes = 1, .channels = 1}),
                 InternalError);
}

TEST(Ensemble, GradientsAgreeWithFiniteDifferences)
{
    auto on_residual = ensemble_section();
    on_residual["condition_on_residual"] = true;
    auto mixed = ensemble_section();
    mixed["noise_injector"]["_target_"] = "NoiseInjector";
    mixed["processor"].erase("layer_kernels");
    for (const auto& section : {ensemble_section(), on_residual, mixed}) {
        const auto network = small_network(section, small_graph());
        const CounterNoise noise({.key = 1, .step = 0, .samples = {0, 1}, .first_member = 0});
        const auto x = input(2, 2).requires_grad_(true);
        auto leaves = network->parameters();
        leaves.push_back(x);
        expect_true_gradients([&] { return weighted_sum(network->forward(x, {.rollout_step = 1, .noise = &noise})); },
                              leaves, 1e-6);
    }
}

TEST(Ensemble, MembersDifferByTheirNoiseAlone)
{
    const auto network = small_network(ensemble_section(), small_graph());
    const CounterNoise noise({.key = 1, .step = 0, .samples = {0}, .first_member = 0});
    const auto all = network->forward(input(1, 3), {.rollout_step = 0, .noise = &noise});
    EXPECT_GT((all.select(2, 0) - all.select(2, 1)).abs().max().item<double>(), 1e-3);
    const CounterNoise of_last({.key = 1, .step = 0, .samples = {0}, .first_member = 2});
    const auto last = network->forward(input(1, 1), {.rollout_step = 0, .noise = &of_last});
    EXPECT_LT((all.narrow(2, 2, 1) - last).abs().max().item<double>(), 1e-12);
    EXPECT_THROW((void)network->forward(input(1, 1)), InternalError);
}

TEST(Ensemble, TheFirstForecastStepIsToldFromTheOthers)
{
    const auto network = small_network(ensemble_section(), small_graph());
    const FixedNoise noise;
    const auto at_step = [&](int64_t step) {
        return network->forward(input(1, 2), {.rollout_step = step, .noise = &noise});
    };
    EXPECT_FALSE(at::equal(at_step(0), at_step(1)));
    EXPECT_TRUE(at::equal(at_step(1), at_step(2)));
}

TEST(Ensemble, ATruncatedResidualIsTakenToACoarseGridAndBack)
{
    grid::SparseMatrix down{3, 13, {0, 2, 3, 5}, {0, 4, 7, 9, 12}, {0.5, 0.5, 1, 0.25, 0.75}};
    grid::SparseMatrix up{13, 3, {0}, {}, {}};
    for (int64_t i = 0; i < 13; ++i) {
        up.col.push_back(i % 3);
        up.values.push_back(1 + double(i));
        up.row_ptr.push_back(i + 1);
    }
    const auto x = at::randn({1, 2, 2, 13, 3}, at::kDouble);
    const auto y = TruncatedConnection(down, up, parallel::Group::self(), parallel::Partition(13)).forward(x);
    const auto last = x.select(1, 1);
    const auto coarse = [&](int64_t row) {
        if (row == 1)
            return last.select(2, 7);
        return row == 0 ? 0.5 * last.select(2, 0) + 0.5 * last.select(2, 4)
                        : 0.25 * last.select(2, 9) + 0.75 * last.select(2, 12);
    };
    ASSERT_EQ(y.sizes(), (std::vector<int64_t>{1, 1, 2, 13, 3}));
    for (int64_t i = 0; i < 13; ++i)
        EXPECT_LT((y.select(1, 0).select(2, i) - (1 + double(i)) * coarse(i % 3)).abs().max().item<double>(), 1e-13);
}

TEST(Ensemble, MatricesMayBeEdgesOfTheGraph)
{
    auto section = test::small_section();
    section["residual"] = {{"_target_", "TruncatedConnection"},
                           {"truncation_down_edges_name", {"data", "to", "hidden"}},
                           {"truncation_up_edges_name", {"hidden", "to", "data"}},
                           {"edge_weight_attribute", "edge_length"},
                           {"row_normalize", true}};
    const auto network = small_network(section, small_graph());
    EXPECT_TRUE(at::isfinite(network->forward(input(1, 1))).all().item<bool>());
}

TEST(Ensemble, SectionsThatDoNotFitAreRefused)
{
    const auto refused = [](Json section, const char* says) {
        try {
            (void)small_network(section, small_graph());
            ADD_FAILURE() << "accepted, expected: " << says;
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
        }
    };
    auto section = ensemble_section();
    section.erase("noise_injector");
    refused(section, "needs a `noise_injector`");
    section = ensemble_section();
    section["noise_injector"]["noise_channels_dim"] = 4;
    refused(section, "condition_shape 3");
    section = ensemble_section();
    section["processor"].erase("layer_kernels");
    refused(section, "conditions nothing");
    section = ensemble_section();
    section.erase("model");
    refused(section, "condition_shape 3");
    section = ensemble_section();
    section["noise_injector"]["noise_edges_name"] = {"data", "to", "data"};
    refused(section, "no edges data -> data");
    section["residual"] = {{"_target_", "TruncatedConnection"}};
    refused(section, "needs truncation_down_file_path");
}

} // namespace
} // namespace gradwind::model
