// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a run counts of its communication is what was predicted before it.
#include "gradwind/core/config_loader.h"
#include "gradwind/parallel/layout_config.h"
#include "gradwind/train/comm_account.h"
#include "gradwind/train/job_traffic.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::train
{
namespace
{

TEST(CommAccount, PredictedGradientBytesAreTheCountedOnes)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    // Buckets of about 4 kB, so that there are several.
    const std::vector<std::string> overrides = {"training.max_steps=6", "training.strategy.bucket_cap_mb=0.004",
                                                "training.strategy.first_bucket_mb=0.001"};
    auto all = overrides;
    all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
    const auto predicted = predict_job_traffic(load_config({.file = training.config_file(), .overrides = all}),
                                               parallel::Layout({.gpus_per_node = 1}))
                               .step;
    EXPECT_GT(predicted.gradient_calls, 3);
    EXPECT_GT(predicted.gradient_bytes, 4 * predicted.parameters);
    for (const int n_processes : {1, 2}) {
        const auto name = std::to_string(n_processes) + "-processes";
        start({.name = name, .overrides = overrides, .n_processes = n_processes});
        const auto rows = rows_of(training.run_dir(name), "train");
        ASSERT_EQ(rows.size(), 6u);
        for (const auto& row : rows) {
            if (n_processes == 1) {
                for (const auto& [key, value] : row.items())
                    EXPECT_FALSE(key.starts_with("comm/")) << key;
                continue;
            }
            EXPECT_EQ(row.value("comm/world/all_reduce_bytes", 0.0), double(predicted.gradient_bytes));
            EXPECT_EQ(row.value("comm/world/all_reduce_calls", 0.0), double(predicted.gradient_calls));
        }
    }
}

TEST(CommAccount, PredictedCollectivesOfRowsOfRanksAreTheCountedOnes)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    struct Rows {
        std::string name;
        std::vector<std::string> overrides;
        size_t n_collectives = 3;
    };
    const std::vector<Rows> kinds = {
        {"zero", {"training.strategy.zero_group_size=2"}},
        {"zero-of-all", {"training.strategy.zero_group_size=4", "training.strategy.wire_dtype=bf16"}, 2},
        {"nodes", {"training.strategy.hierarchical=true"}},
        {"nodes-factors",
         {"training.strategy.hierarchical=true", "training.strategy.gradient_compression.kind=acp",
          "training.strategy.gradient_compression.start_step=2"}}};
    for (const auto& kind : kinds) {
        SCOPED_TRACE(kind.name);
        auto all = kind.overrides;
        for (const char* text :
             {"training.max_steps=5", "dataloader.batch_size.training=3", "training.strategy.bucket_cap_mb=0.004",
              "system.hardware.num_nodes=2", "system.hardware.num_gpus_per_node=2"})
            all.emplace_back(text);
        start({.name = kind.name, .overrides = all, .n_processes = 4});
        all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
        const auto predicted = predict_job_traffic(load_config({.file = training.config_file(), .overrides = all}),
                                                   parallel::Layout({.nodes = 2, .gpus_per_node = 2}))
                                   .step.exchange;
        EXPECT_EQ(predicted.dense.calls.size(), kind.n_collectives);
        const auto rows = rows_of(training.run_dir(kind.name), "train");
        ASSERT_EQ(rows.size(), 5u);
        for (const auto& row : rows) {
            EXPECT_EQ(row.value("comm/world/all_reduce_bytes", 0.0), 0.0) << "gradients go by rows";
            if (!predicted.compressed.empty() && row.at("step").get<int64_t>() > 2)
                continue; // whose messages depend on the order of the gradients
            for (const auto& call : predicted.dense.calls) {
                if (row.at("step") == 1 && call.group == "zero" && call.verb == parallel::Verb::AllGather)
                    continue; // moments move, too, once the order of the gradients is known
                const auto name = "comm/" + call.group + "/" + parallel::name_of(call.verb);
                EXPECT_EQ(row.value(name + "_calls", 0.0), double(call.calls)) << name << " " << row.at("step");
                EXPECT_EQ(row.value(name + "_bytes", 0.0), double(call.bytes)) << name << " " << row.at("step");
                EXPECT_FALSE(row.contains(name + "_exposed_s")) << "that is in the exposure of gradients";
            }
        }
    }
}

/// A network and how a model group shares it.
struct SharedNetwork {
    std::string name;
    std::vector<std::string> overrides;
};

std::vector<std::string> of_all_parts(const std::string& setting, std::vector<std::string> others = {})
{
    for (const char* part : {"processor", "encoders.0.mapper", "decoders.0.mapper"})
        others.push_back(std::string("model.") + part + "." + setting);
    return others;
}

std::vector<SharedNetwork> shared_networks()
{
    const auto graph_transformer = of_all_parts("num_heads=4", {"model=graphtransformer"});
    auto transformer =
        of_all_parts("num_heads=4", {"model=transformer", "model.processor.window_size=9",
                                     "model.encoders.0.mapper.num_chunks=1", "model.decoders.0.mapper.num_chunks=1"});
    auto rollout = of_all_parts("mlp_implementation=swiglu");
    rollout.push_back("task.rollout={start: 2, epoch_increment: 0, maximum: 2}");
    return {{"gnn", {}},
            {"gnn-recomputed-rollout", rollout},
            {"graphtransformer", graph_transformer},
            {"graphtransformer-heads", of_all_parts("shard_strategy=heads", graph_transformer)},
            {"graphtransformer-heads-recomputed",
             of_all_parts("mlp_implementation=swiglu", of_all_parts("shard_strategy=heads", graph_transformer))},
            {"transformer", transformer},
            {"transformer-heads", of_all_parts("shard_strategy=heads", transformer)}};
}

TEST(CommAccount, PredictedBytesOfASharedModelAreTheCountedOnes)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    for (const auto& network : shared_networks())
        for (const char* partition : {"contiguous", "bisection"}) {
            SCOPED_TRACE(network.name + ", " + partition);
            auto all = network.overrides;
            for (const char* text :
                 {"training.max_steps=1", "dataloader.batch_size.training=3", "training.accum_grad_batches=2",
                  "training.precision=64-true", "system.hardware.num_gpus_per_model=3"})
                all.emplace_back(text);
            all.push_back(std::string("training.strategy.partition=") + partition);
            start({.name = network.name + "-" + partition, .overrides = all, .n_processes = 3});
            all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
            const auto predicted = predict_job_traffic(load_config({.file = training.config_file(), .overrides = all}),
                                                       parallel::Layout({.gpus_per_node = 3, .gpus_per_model = 3}))
                                       .step;
            const auto rows = rows_of(training.run_dir(network.name + "-" + partition), "train");
            ASSERT_EQ(rows.size(), 1u);
            ASSERT_EQ(predicted.groups.size(), 2u);
            for (const auto& group : predicted.groups)
                if (group.is_chosen) {
                    EXPECT_EQ(group.refusal, "");
                    EXPECT_GT(group.bytes_per_sample(0, predicted.cost), 0);
                    EXPECT_EQ(rows[0].value("comm/model/all_to_all_bytes", 0.0),
                              double(6 * group.bytes_per_sample(0, predicted.cost)));
                }
        }
}

/// A job, and what it must be seen to exchange.
struct PredictedJob {
    std::string name;
    int n_processes = 2;
    std::vector<std::string> overrides;
    std::vector<std::string> exchanges; ///< "group/verb", besides the gradients
    std::string config = "tiny";
};

std::vector<std::string> shared_by(int processes, const char* partition, std::vector<std::string> others = {})
{
    others.push_back("system.hardware.num_gpus_per_model=" + std::to_string(processes));
    others.push_back(std::string("training.strategy.partition=") + partition);
    return others;
}

std::vector<std::string> with(std::vector<std::string> all, const char* other)
{
    all.emplace_back(other);
    return all;
}

std::vector<std::string> ensemble_over(int processes, std::vector<std::string> others = {})
{
    others.push_back("system.hardware.num_gpus_per_ensemble=" + std::to_string(processes));
    others.emplace_back("training.ensemble_size_per_device=2");
    return others;
}

/// Residuals on the nodes of the graph, over a rollout of which the second step has gradients of fields.
std::vector<std::string> truncated(const std::vector<std::string>& datasets = {"data"})
{
    std::vector<std::string> all = {"task.rollout={start: 2, epoch_increment: 0, maximum: 2}"};
    for (const auto& name : datasets) {
        const std::string residual = "model.residual.datasets." + name + ".";
        for (const auto& text : {"~" + residual + "step", residual + "_target_=TruncatedConnection",
                                 "+" + residual + "truncation_down_edges_name=[" + name + ", to, hidden]",
                                 "+" + residual + "truncation_up_edges_name=[hidden, to, " + name + "]",
                                 "+" + residual + "edge_weight_attribute=edge_length"})
            all.push_back(text);
    }
    return all;
}

/// Two scales: the coarse one needs the fields of a whole model group.
std::vector<std::string> on_two_scales(std::vector<std::string> others)
{
    const std::string loss = "training.training_loss.datasets.data.";
    others.push_back(loss + "multiscale_config={loss_matrices: [smoothing.npz, null], loss_matrices_path: " +
                     GRADWIND_SOURCE_DIR "/tests/train/data}");
    others.push_back(loss + "weights=[0.5, 1.0]");
    return others;
}

std::vector<PredictedJob> predicted_jobs()
{
    const auto transformer = of_all_parts("num_heads=4", {"model=graphtransformer"});
    const auto heads = of_all_parts("shard_strategy=heads", transformer);
    return {
        {"gnn", 2, shared_by(2, "contiguous"), {"model/all_to_all"}},
        {"gnn-rollout",
         3,
         shared_by(3, "contiguous", {"task.rollout={start: 2, epoch_increment: 0, maximum: 2}"}),
         {"model/all_to_all"}},
        {"edges", 2, shared_by(2, "contiguous", transformer), {"model/all_to_all"}},
        {"heads", 2, shared_by(2, "contiguous", heads), {"model/all_to_all"}},
        {"readers-of-halves",
         4,
         shared_by(2, "bisection", with(heads, "dataloader.read_group_size=2")),
         {"model/all_to_all"}},
        {"readers-of-thirds",
         3,
         shared_by(3, "bisection", {"dataloader.read_group_size=3"}),
         {"model/all_to_all", "reader/all_to_all"}},
        {"readers-of-patches",
         4,
         shared_by(4, "bisection", {"dataloader.read_group_size=4"}),
         {"model/all_to_all", "reader/all_to_all"}},
        {"each-reads-its-own", 4, shared_by(4, "bisection", {"dataloader.read_group_size=1"}), {"model/all_to_all"}},
        {"truncated-residual", 2, shared_by(2, "bisection", truncated()), {"model/all_to_all"}},
        {"buffers",
         2,
         {"training.strategy.broadcast_buffers=true", "training.strategy.wire_dtype=bf16"},
         {"world/broadcast"}},
        {"members", 2, ensemble_over(2), {"subgroup/all_to_all", "ensemble/all_to_all"}, "tiny_ens"},
        {"members-over-three", 3, ensemble_over(3), {"subgroup/all_to_all", "ensemble/all_to_all"}, "tiny_ens"},
        {"members-of-shared-models",
         4,
         ensemble_over(4, on_two_scales(shared_by(2, "bisection"))),
         {"model/all_to_all", "model/all_gather", "model/reduce_scatter", "subgroup/all_to_all", "ensemble/all_to_all"},
         "tiny_ens"},
        {"two-data-sets", 3, shared_by(3, "contiguous"), {"model/all_to_all"}, "tiny_two"},
        {"two-data-sets-in-patches",
         4,
         shared_by(4, "bisection", {"dataloader.read_group_size=4"}),
         {"model/all_to_all", "reader/all_to_all"},
         "tiny_two"},
        {"two-truncated-residuals",
         2,
         shared_by(2, "bisection", truncated({"data", "other"})),
         {"model/all_to_all"},
         "tiny_two"},
        {"one-is-read-only",
         2,
         shared_by(2, "bisection", {"~model.decoders.1", "~training.training_loss.datasets.other"}),
         {"model/all_to_all"},
         "tiny_two"},
        {"members-of-two-data-sets",
         4,
         ensemble_over(4, on_two_scales(shared_by(2, "bisection"))),
         {"model/all_to_all", "model/all_gather", "model/reduce_scatter", "subgroup/all_to_all", "ensemble/all_to_all"},
         "tiny_two_ens"},
        {"two-data-sets-by-sequence",
         3,
         shared_by(3, "contiguous",
                   {"model=transformer", "model.processor.window_size=9", "model.processor.num_heads=4",
                    "model.encoders.0.mapper.num_heads=4", "model.decoders.0.mapper.num_heads=4",
                    "model.encoders.0.mapper.num_chunks=1", "model.decoders.0.mapper.num_chunks=1"}),
         {"model/all_to_all"},
         "tiny_two"}};
}

/// The bytes of a row of metrics.jsonl by "group/verb", zeros left out.
std::map<std::string, double> counted_in(const nlohmann::json& row)
{
    constexpr std::string_view kPrefix = "comm/", kSuffix = "_bytes";
    std::map<std::string, double> result;
    for (const auto& [key, value] : row.items())
        if (key.starts_with(kPrefix) && key.ends_with(kSuffix) && value != 0.0)
            result[key.substr(kPrefix.size(), key.size() - kPrefix.size() - kSuffix.size())] = value;
    return result;
}

std::map<std::string, double> predicted_of(const std::vector<PredictedBytes>& rows, int64_t PredictedBytes::*what,
                                           double times = 1)
{
    std::map<std::string, double> result;
    for (const auto& row : rows)
        if (row.*what > 0)
            result[row.group + "/" + parallel::name_of(row.verb)] = times * double(row.*what);
    return result;
}

/// Everything that steps and batches of validation count is predicted, byte for byte, and nothing else is.
void compare_with_prediction(const TinyTraining& training, const PredictedJob& job)
{
    constexpr int kSteps = 3;
    auto all = job.overrides;
    for (const char* text : {"training.precision=64-true", "training.max_steps=3", "dataloader.batch_size.training=3",
                             "training.accum_grad_batches=2", "dataloader.limit_batches.training=6",
                             "dataloader.batch_size.validation=3", "dataloader.limit_batches.validation=1"})
        all.emplace_back(text);
    all.push_back("system.hardware.num_gpus_per_node=" + std::to_string(job.n_processes));
    start({.name = job.name, .overrides = all, .n_processes = job.n_processes, .config = job.config});
    all.push_back("system.input.dataset=" + training.run_dir("tiny.zarr").string());
    const auto config = load_config({.file = training.config_file(job.config), .overrides = all});
    const auto predicted = predict_job_traffic(config, parallel::Layout(parallel::layout_from(config)));
    const auto run = training.run_dir(job.name);
    const auto steps = rows_of(run, "train"), validations = rows_of(run, "validation");
    ASSERT_EQ(steps.size(), size_t(kSteps));
    ASSERT_EQ(validations.size(), 1u);
    const auto in_step = predicted_of(predicted.ranks.at(0), &PredictedBytes::step);
    for (const auto& name : job.exchanges)
        EXPECT_TRUE(in_step.count(name)) << name;
    EXPECT_EQ(in_step.size(), job.exchanges.size() + 1);
    for (size_t i = 1; i < steps.size(); ++i) // the first step also tells all ranks the order of the gradients
        EXPECT_EQ(counted_in(steps[i]), in_step);
    EXPECT_EQ(counted_in(validations[0]), predicted_of(predicted.ranks[0], &PredictedBytes::validation_batch));
    for (int rank = 1; rank < job.n_processes; ++rank) {
        const auto& rows = predicted.ranks[size_t(rank) % predicted.ranks.size()];
        std::map<std::string, double> counted;
        for (const auto& [name, bytes] : step_bytes_of(run, rank))
            if (bytes > 0)
                counted[name] = double(bytes);
        auto expected = predicted_of(rows, &PredictedBytes::step, kSteps);
        for (const char* name : {"world/broadcast", "world/all_gather"}) { // rank 0's buffers, and the first step's
            expected.erase(name);
            counted.erase(name);
        }
        EXPECT_EQ(counted, expected) << "rank " << rank;
    }
}

TEST(CommAccount, EveryByteOfStepsAndValidationIsPredicted)
{
    const TinyTraining training;
    if (testing::in_rank())
        run_child(training);
    for (const auto& job : predicted_jobs()) {
        SCOPED_TRACE(job.name);
        compare_with_prediction(training, job);
    }
}

GRADWIND_MULTIRANK_TEST(CommAccount, StepsAndTheRestAreToldApart, RankCounts{2})
{
    const parallel::Layout layout({.gpus_per_node = 2});
    const auto groups = parallel::make_groups(layout, world);
    CommAccount account(groups);
    const auto x = at::ones({10}, at::kDouble);
    const auto before = account.totals();
    world.all_reduce_sum_(x); // outside of any step
    for (int step = 0; step < 3; ++step) {
        account.begin();
        world.all_reduce_sum_(x);
        world.all_reduce_sum_(x);
        account.end(CommPhase::Step);
        world.barrier();
        if (step == 0) {
            const auto means = account.take_means(CommPhase::Step);
            ASSERT_EQ(means.size(), 2u) << "barriers happened outside of steps only";
            EXPECT_EQ(means[0], std::pair(std::string("comm/world/all_reduce_calls"), 2.0));
            EXPECT_EQ(means[1], std::pair(std::string("comm/world/all_reduce_bytes"), 160.0));
        }
    }
    EXPECT_EQ(account.take_means(CommPhase::Step).at(1).second, 160.0) << "a mean over two steps";
    const auto totals = account.totals();
    EXPECT_EQ(totals.steps, 3);
    for (const auto& row : totals.rows) {
        EXPECT_EQ(row.group, "world");
        const auto earlier =
            std::find_if(before.rows.begin(), before.rows.end(), [&](const auto& r) { return r.verb == row.verb; });
        const auto other = row.other_calls - (earlier == before.rows.end() ? 0 : earlier->other_calls);
        if (row.verb == parallel::Verb::AllReduce) {
            EXPECT_EQ(row.step_calls, 6);
            EXPECT_EQ(row.step_bytes, 480);
            EXPECT_EQ(other, 1);
        } else {
            EXPECT_EQ(row.step_calls, 0);
            EXPECT_EQ(other, row.verb == parallel::Verb::Barrier ? 3 : 0);
        }
    }
}

} // namespace
} // namespace gradwind::train
