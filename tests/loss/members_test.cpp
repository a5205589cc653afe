// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Losses of ensembles whose members, and whose grid, lie on several processes.
#include "tests/loss/support.h"
#include "tests/support/ranks.h"

#include <torch/csrc/autograd/autograd.h>

namespace gradwind::loss
{
namespace
{

using test::World;

constexpr int64_t kMembers = 4;

const char* const kCrps = R"({"_target_": "CRPS", "alpha": 0.95, "scalers": ["*"]})";
const char* const kScales = R"({"_target_": "MultiscaleLossWrapper", "weights": [0.5, 0.3, 1.0],
    "multiscale_config": {"loss_matrices": ["coarse", "medium", null]},
    "per_scale_loss": {"_target_": "CRPS", "alpha": 0.95, "scalers": ["*"]}})";
const char* const kEnergy = R"({"_target_": "EnergyScoreLoss", "norm_over": "variables", "scalers": ["nodes"]})";

/// A mean over `width` points on either side, around the grid.
grid::SparseMatrix running_mean(int64_t width)
{
    grid::SparseMatrix matrix{test::kNodes, test::kNodes, {0}, {}, {}};
    for (int64_t i = 0; i < test::kNodes; ++i) {
        for (int64_t j = i - width; j <= i + width; ++j) {
            matrix.col.push_back((j + test::kNodes) % test::kNodes);
            matrix.values.push_back(1.0 / double(2 * width + 1));
        }
        matrix.row_ptr.push_back(int64_t(matrix.col.size()));
    }
    return matrix;
}

std::unique_ptr<Loss> build_scales(const std::string& loss, const World& world)
{
    auto inputs = world.inputs();
    inputs.matrices = [](const std::string& name) -> std::optional<grid::SparseMatrix> {
        return running_mean(name == "coarse" ? 5 : 2);
    };
    return build_loss(test::config(loss), test::config(test::kScalers), test::config(test::kGroups), inputs);
}

/// Ranges of the grid, or points here and there: neither order nor size is the same on all ranks, and some have none.
parallel::Partition cut(bool is_scattered, int n_parts)
{
    if (!is_scattered)
        return parallel::Partition::contiguous(test::kNodes, n_parts);
    std::vector<int32_t> owner(test::kNodes);
    for (size_t i = 0; i < owner.size(); ++i)
        owner[i] = int32_t(i * i % 5) % n_parts;
    return parallel::Partition::from_owners(owner, n_parts);
}

struct Score {
    at::Tensor value, gradient;
};

Score score(const Loss& loss, const at::Tensor& pred, const at::Tensor& target, const LossContext& context)
{
    const auto leaf = pred.clone().requires_grad_(true);
    const auto value = loss(leaf, target, context);
    return {value, torch::autograd::grad({value}, {leaf})[0]};
}

/// Shares and gradients of the ranks of one ensemble against one process.
void compare(const std::string& config, const parallel::Groups& groups, bool is_scattered)
{
    const World data;
    const auto loss = build_scales(config, data);
    const auto batch = test::random_batch(kMembers, at::kDouble);
    LossContext context;
    context.nan_mask =
        (at::arange(2 * test::kNodes * 4, at::kDouble).remainder(5) > 0).to(at::kDouble).reshape({2, test::kNodes, 4});
    context.samples = 3;
    const auto whole = score(*loss, batch.pred, batch.target, context);

    const auto partition = cut(is_scattered, groups.model.size());
    const parallel::RowSet rows(partition.rows(groups.model.rank()), test::kNodes);
    const auto n_own = kMembers / groups.subgroup.size(), first = groups.subgroup.rank() * n_own;
    const auto own = [&](const at::Tensor& x) { return rows.of(x.narrow(2, first, n_own), 3); };
    context.share = std::make_shared<GridShare>(GridShare{groups.model, partition, rows});
    context.members = std::make_shared<parallel::MemberExchange>(groups.subgroup);
    context.nan_mask = rows.of(context.nan_mask, 1);
    const auto share = score(*loss, own(batch.pred), rows.of(batch.target, 3), context);
    const auto sum = groups.world.sum(std::array{share.value.item<double>()}).front();
    EXPECT_NEAR(sum, whole.value.item<double>(), 1e-13 * std::abs(sum));
    const auto part = own(whole.gradient);
    EXPECT_LE((share.gradient - part).norm().item<double>(), 1e-12 * part.norm().item<double>());
    // A metric is a share too.
    const std::vector<std::vector<int64_t>> ranges = {{0, 2}, {3}};
    const auto metric = loss->by_range(own(batch.pred), rows.of(batch.target, 3), ranges, context);
    auto alone = context;
    alone.share = nullptr;
    alone.members = nullptr;
    alone.nan_mask =
        (at::arange(2 * test::kNodes * 4, at::kDouble).remainder(5) > 0).to(at::kDouble).reshape({2, test::kNodes, 4});
    const auto expected = loss->by_range(batch.pred, batch.target, ranges, alone);
    EXPECT_LT((groups.world.all_reduce_sum(metric) - expected).abs().max().item<double>(), 1e-12);
}

GRADWIND_MULTIRANK_TEST(Members, SharesAndGradientsOfProcessesAddUpToTheWholeLoss, RankCounts{1, 2, 4})
{
    const auto combined = std::string(R"({"_target_": "CombinedLoss", "loss_weights": [2, 1], "losses": [)") + kCrps +
                          ", " + kScales + "]}";
    const auto aggregate = std::string(R"({"_target_": "TimeAggregateLossWrapper", "time_aggregation_types":
        ["mean", "diff"], "loss_fn": )") +
                           kScales + "}";
    for (int model_size = 1; model_size <= world.size(); model_size *= 2) {
        const auto groups = parallel::make_groups(parallel::Layout({.gpus_per_node = world.size(),
                                                                    .gpus_per_model = model_size,
                                                                    .gpus_per_ensemble = world.size(),
                                                                    .kind = parallel::JobKind::Ensemble}),
                                                  world);
        for (const auto& config : {std::string(kCrps), std::string(kScales), std::string(kEnergy), combined, aggregate})
            for (const bool is_scattered : {false, true}) {
                SCOPED_TRACE(config + ", " + std::to_string(model_size) + (is_scattered ? " scattered" : ""));
                compare(config, groups, is_scattered);
            }
    }
}

GRADWIND_MULTIRANK_TEST(Members, ALossThatIsNoSumOverTheGridIsRefused, RankCounts{2})
{
    const auto loss = test::build(R"({"_target_": "EnergyScoreLoss", "norm_over": "spatial"})");
    LossContext context;
    context.members = std::make_shared<parallel::MemberExchange>(world);
    const auto batch = test::random_batch(2, at::kDouble);
    EXPECT_THROW((void)(*loss)(batch.pred, batch.target, context), ConfigError);
}

} // namespace
} // namespace gradwind::loss
