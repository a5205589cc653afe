// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A step whose gradients are not finite is left out, says where they came from, and does no harm to those after it.
#include "gradwind/core/error.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <limits>

namespace gradwind::train
{
namespace
{

/// In one step one rank computes with what is not finite, though the data are.
class Overflow : public StepHooks
{
public:
    static constexpr int64_t kStep = 7;
    explicit Overflow(bool is_culprit) : is_culprit_(is_culprit) {}
    void chosen(StepSamples&) override { ++step_; }
    void was_read(RawBatch& batch) override
    {
        if (is_culprit_ && step_ == kStep)
            batch.values.front().mul_(std::numeric_limits<double>::infinity());
    }

private:
    bool is_culprit_;
    int64_t step_ = 0;
};

TEST(SkippedStep, NamesParameterStepAndRankAndTheRunGoesOn)
{
    const TinyTraining training;
    if (testing::in_rank()) {
        const auto environment = parallel::resolve_environment(parallel::process_variables());
        Overflow hooks(environment.rank == 1);
        run_child(training, {}, &hooks);
    }
    const std::string compression = "training.strategy.gradient_compression={kind: acp, rank: 2, start_step: 2, "
                                    "min_ratio: 1}";
    for (const auto& [name, override_] : {std::pair{std::string("whole"), std::string("training.max_steps=20")},
                                          {"factors", compression},
                                          {"shared", "training.strategy.zero_group_size=2"}}) {
        SCOPED_TRACE(name);
        const auto output =
            start({.name = name, .overrides = {override_, "dataloader.batch_size.training=6"}, .n_processes = 2});
        EXPECT_NE(output.find(fmt::format("step {}: the gradient of `", Overflow::kStep)), std::string::npos) << output;
        EXPECT_NE(output.find("is not finite on rank 1, the step was skipped"), std::string::npos) << output;
        const auto rows = rows_of(training.run_dir(name), "train");
        ASSERT_EQ(rows.size(), 20u);
        for (const auto& row : rows)
            if (row["step"] != Overflow::kStep) {
                EXPECT_TRUE(row["train_multi_dataset_loss_step"].is_number()) << row.dump();
                EXPECT_LT(row["train_multi_dataset_loss_step"].get<double>(), 10) << row.dump();
            }
        for (const auto& [tensor_name, tensor] : weights_of(training.run_dir(name)))
            EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << tensor_name;
    }
}

} // namespace
} // namespace gradwind::train
