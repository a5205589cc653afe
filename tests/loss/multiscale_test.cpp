// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Losses on several scales.
#include "tests/loss/support.h"
#include "tests/support/gradients.h"

namespace gradwind::loss
{
namespace
{

using test::World;

const char* const kCrps = R"({"_target_": "CRPS", "alpha": 0.95, "scalers": ["*"]})";
const char* const kScales = R"({"_target_": "MultiscaleLossWrapper", "weights": [0.5, 0.3, 1.0],
    "multiscale_config": {"loss_matrices": ["coarse", "medium", null]},
    "per_scale_loss": {"_target_": "CRPS", "alpha": 0.95, "scalers": ["*"]}})";

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

std::unique_ptr<Loss> build_scales(const char* loss, const World& world)
{
    auto inputs = world.inputs();
    inputs.matrices = [](const std::string& name) -> std::optional<grid::SparseMatrix> {
        return running_mean(name == "coarse" ? 5 : 2);
    };
    return build_loss(test::config(loss), test::config(test::kScalers), test::config(test::kGroups), inputs);
}

TEST(Multiscale, SumsTheLossOfTheCoarsestScaleAndOfDifferences)
{
    const World world;
    const auto batch = test::random_batch(3, at::kDouble);
    const auto smooth = [](const at::Tensor& x, int64_t width) {
        at::Tensor sum = at::zeros_like(x);
        for (int64_t shift = -width; shift <= width; ++shift)
            sum += at::roll(x, {shift}, {3});
        return sum / double(2 * width + 1);
    };
    const auto crps = test::build(kCrps, world);
    const auto part = [&](const at::Tensor& p, const at::Tensor& t) { return (*crps)(p, t).item<double>(); };
    const auto p0 = smooth(batch.pred, 5), p1 = smooth(batch.pred, 2);
    const auto t0 = smooth(batch.target, 5), t1 = smooth(batch.target, 2);
    const auto expected = 0.5 * part(p0, t0) + 0.3 * part(p1 - p0, t1 - t0) + part(batch.pred - p1, batch.target - t1);
    const auto loss = build_scales(kScales, world);
    // Matrices hold float32 values in files; these are given in double.
    EXPECT_NEAR((*loss)(batch.pred, batch.target).item<double>(), expected, 1e-12 * std::abs(expected));
    EXPECT_TRUE(loss->needs_whole_grid());
    EXPECT_FALSE(crps->needs_whole_grid());
    const auto leaf = batch.pred.clone().requires_grad_(true);
    gradwind::test::expect_true_gradients([&] { return (*loss)(leaf, batch.target); }, {leaf}, 1e-6);
}

TEST(Multiscale, ListsThatDoNotFitAreRefused)
{
    const World world;
    EXPECT_THROW((void)test::build(R"({"_target_": "MultiscaleLossWrapper", "weights": [1.0, 1.0],
        "per_scale_loss": {"_target_": "CRPS"}})"),
                 ConfigError);
    EXPECT_THROW((void)test::build(R"({"_target_": "MultiscaleLossWrapper", "loss_matrices": ["/absent.npz", null],
        "per_scale_loss": {"_target_": "CRPS"}})"),
                 DataError);
}

} // namespace
} // namespace gradwind::loss
