// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/gradient_engine.h"

#include "gradwind/core/error.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <chrono>
#include <csignal>
#include <map>
#include <thread>

namespace gradwind::parallel
{
namespace
{

using gradwind::testing::in_rank;
using gradwind::testing::rank_world;
using gradwind::testing::run_ranks;

/// Whole numbers from -2 to 2: sums of their products are exact, so results must be equal whatever the order of
/// summation.
at::Tensor whole_numbers(int64_t seed, std::vector<int64_t> shape)
{
    int64_t count = 1;
    for (const int64_t extent : shape)
        count *= extent;
    return ((at::arange(count) * 7 + seed * 5 + at::arange(count).div(3, "floor")).remainder(5) - 2)
        .to(at::kDouble)
        .reshape(shape);
}

/// Runs a function again in backward, in a backward of its own, so that gradients of what it uses arrive there.
struct Checkpoint : torch::autograd::Function<Checkpoint> {
    using Segment = std::function<at::Tensor(const at::Tensor&)>;
    static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor x, const Segment* segment)
    {
        context->save_for_backward({x});
        context->saved_data["segment"] = reinterpret_cast<int64_t>(segment);
        return (*segment)(x);
    }
    static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::tensor_list grads)
    {
        const auto* segment = reinterpret_cast<const Segment*>(context->saved_data["segment"].toInt());
        const at::AutoGradMode on(true);
        const auto x = context->get_saved_variables()[0].detach().requires_grad_();
        torch::autograd::backward({(*segment)(x)}, {grads[0]});
        return {x.grad(), at::Tensor()};
    }
};

/// Slow: a backward that gives a bucket which left too early the time to arrive.
enum class Style { Plain, Checkpointed, Slow };

/// A small model with a parameter used twice, one used on odd ranks only, one never used, and one without a dimension.
struct Model {
    std::vector<NamedParameter> parameters;
    Checkpoint::Segment middle = [this](const at::Tensor& h) { return h.matmul(of("shared")) + of("bias"); };

    Model()
    {
        const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes = {
            {"first", {3, 9}}, {"shared", {9, 9}}, {"bias", {}}, {"never", {5}}, {"odd", {9}}, {"last", {9, 40}}};
        for (const auto& [name, shape] : shapes)
            parameters.push_back(
                {name, whole_numbers(static_cast<int64_t>(parameters.size()), shape).requires_grad_()});
    }
    [[nodiscard]] const at::Tensor& of(const std::string& name) const
    {
        return std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.name == name; })
            ->tensor;
    }
    /// @param sample [2, 3]
    [[nodiscard]] at::Tensor loss(const at::Tensor& sample, int rank, Style style) const
    {
        at::Tensor h = sample.matmul(of("first"));
        for (int turn = 0; turn < 2; ++turn)
            h = style == Style::Checkpointed ? Checkpoint::apply(h, &middle) : middle(h);
        if (style == Style::Slow)
            h.register_hook([](const at::Tensor&) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); });
        if (rank % 2 == 1)
            h = h * of("odd");
        return h.matmul(of("last")).sum();
    }
};

struct Case {
    const char* name;
    Style style = Style::Plain;
    int accumulation = 1;
    int rank_without_samples = -1;
    double bucket_mib = 25;
};

at::Tensor sample_of(int step, int rank, int micro)
{
    return whole_numbers(100 * step + 10 * rank + micro, {2, 3});
}

/// What one process gets for the samples of all ranks.
std::map<std::string, at::Tensor> reference_gradients(const Model& model, const Case& what, int step, int size)
{
    const Model copy;
    for (const auto& [name, tensor] : model.parameters)
        at::Tensor(copy.of(name)).detach().copy_(tensor.detach());
    for (int rank = 0; rank < size; ++rank)
        for (int micro = 0; micro < what.accumulation && rank != what.rank_without_samples; ++micro)
            torch::autograd::backward({copy.loss(sample_of(step, rank, micro), rank, Style::Plain)}, {});
    std::map<std::string, at::Tensor> gradients;
    for (const auto& [name, tensor] : copy.parameters)
        gradients[name] = tensor.grad().defined() ? tensor.grad() : at::zeros_like(tensor);
    return gradients;
}

void run_backwards(GradientEngine& engine, const Model& model, const Case& what, int step, const Group& world)
{
    engine.begin_step();
    for (int micro = 0; micro < what.accumulation && world.rank() != what.rank_without_samples; ++micro) {
        engine.begin_backward(micro + 1 == what.accumulation ? Sync::Reduce : Sync::Accumulate);
        torch::autograd::backward({model.loss(sample_of(step, world.rank(), micro), world.rank(), what.style)}, {});
    }
    engine.finish();
}

void expect_reference(const GradientEngine& engine, const Model& model, const Case& what, int step, const Group& world)
{
    const auto expected = reference_gradients(model, what, step, world.size());
    for (const Slice& slice : engine.slices()) {
        const auto& tensor = model.of(slice.name);
        const auto& reference = expected.at(slice.name);
        EXPECT_TRUE(at::equal(tensor.grad(), reference)) << what.name << " step " << step << " " << slice.name;
        const auto flat = engine.flat_gradients().narrow(0, slice.offset, slice.numel);
        EXPECT_TRUE(at::equal(flat, reference.flatten())) << slice.name;
        EXPECT_EQ(flat.data_ptr(), tensor.grad().data_ptr()) << slice.name;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(flat.data_ptr()) % 64, 0u);
        EXPECT_EQ(slice.offset * 8 % 256, 0);
    }
}

constexpr Case kCases[] = {
    {.name = "plain"},
    {.name = "small buckets", .bucket_mib = 0.0005},
    {.name = "slow backward", .style = Style::Slow, .bucket_mib = 0.0005},
    {.name = "checkpointed", .style = Style::Checkpointed, .bucket_mib = 0.0005},
    {.name = "accumulated", .accumulation = 3, .bucket_mib = 0.001},
    {.name = "rank 0 without samples", .rank_without_samples = 0, .bucket_mib = 0.0005},
    {.name = "rank 1 without samples", .accumulation = 2, .rank_without_samples = 1},
};

GRADWIND_MULTIRANK_TEST(GradientEngine, EqualsOneProcessExactly, RankCounts{1, 2, 3, 4})
{
    for (const Case& what : kCases) {
        SCOPED_TRACE(what.name);
        const Model model;
        GradientEngine engine(model.parameters, world,
                              {.bucket_cap_mb = what.bucket_mib, .first_bucket_mb = what.bucket_mib});
        engine.broadcast_parameters();
        for (int step = 0; step < 4; ++step) {
            run_backwards(engine, model, what, step, world);
            expect_reference(engine, model, what, step, world);
            engine.flat_parameters().add_(step % 2 == 0 ? 1.0
                                                        : -1.0); // the model must see it: its parameters lie there
        }
        if (what.rank_without_samples != 0 || world.size() > 1) {
            EXPECT_EQ(engine.layout_version(), 1);
        }
    }
}

GRADWIND_MULTIRANK_TEST(GradientEngine, BucketsLeaveDuringBackwardInReadyOrder, RankCounts{1, 2})
{
    const Case what{.name = "overlap", .style = Style::Checkpointed, .bucket_mib = 0.0005};
    const Model model;
    GradientEngine engine(model.parameters, world, {.bucket_cap_mb = 0.0005, .first_bucket_mb = 0.0005});
    run_backwards(engine, model, what, 0, world);
    EXPECT_EQ(engine.last_step().launched_in_backward, 0u);
    EXPECT_EQ(engine.order().front(), "last");
    EXPECT_TRUE(engine.order().back() == "never" || engine.order().back() == "odd");
    run_backwards(engine, model, what, 1, world);
    const BucketReport report = engine.last_step();
    // "last" is 360 doubles: its buckets of 64 can go at once; what "never" reaches into has to wait for finish().
    EXPECT_GE(report.launched_in_backward, 5u);
    EXPECT_LT(report.launched_in_backward, report.buckets.size());
    int64_t bytes = 0;
    for (const auto& bucket : report.buckets)
        bytes += bucket.bytes;
    EXPECT_EQ(bytes, engine.flat_gradients().numel() * 8);
    EXPECT_LE(report.buckets[0].ready, report.buckets[0].launched);
    EXPECT_LE(report.buckets[0].launched, report.backward);
}

GRADWIND_MULTIRANK_TEST(GradientEngine, PlansChangeBetweenStepsAndMayCutTensors, RankCounts{1, 2, 3})
{
    const Case what{.name = "replan"};
    const Model model;
    GradientEngine engine(model.parameters, world);
    const int64_t end = engine.flat_gradients().numel();
    const std::vector<std::vector<int64_t>> plans = {{end}, {1, 2, 500, end}, {end / 2, end}, {7, end - 1, end}};
    for (int step = 0; step < 4; ++step) {
        engine.replan(plans[step]);
        run_backwards(engine, model, what, step, world);
        expect_reference(engine, model, what, step, world);
        EXPECT_EQ(engine.last_step().buckets.size(), plans[step].size());
    }
    EXPECT_THROW(engine.replan({end - 1}), ConfigError);
    EXPECT_THROW(engine.replan({5, 5, end}), ConfigError);
    if (world.size() > 1) {
        EXPECT_THROW(engine.replan({world.rank() + 1, end}), ConfigError);
    }
    run_backwards(engine, model, what, 9, world);
    expect_reference(engine, model, what, 9, world);
}

GRADWIND_MULTIRANK_TEST(GradientEngine, OrderOfAnEarlierRunIsTakenOver, RankCounts{1, 2})
{
    const Case what{.name = "resume"};
    const Model model, again;
    GradientEngine engine(model.parameters, world);
    const auto before = engine.slices();
    auto moments = at::zeros_like(engine.flat_parameters());
    for (const Slice& slice : before)
        moments.narrow(0, slice.offset, slice.numel).fill_(static_cast<double>(slice.name.size()));
    run_backwards(engine, model, what, 0, world);
    moments = rearrange(moments, before, engine.slices());
    for (const Slice& slice : engine.slices())
        EXPECT_EQ(moments.narrow(0, slice.offset, slice.numel).sum().item<double>(),
                  static_cast<double>(slice.name.size()) * static_cast<double>(slice.numel));

    GradientEngine resumed(again.parameters, world, {.order = engine.order()});
    EXPECT_EQ(resumed.order(), engine.order());
    run_backwards(resumed, again, what, 0, world);
    EXPECT_EQ(resumed.layout_version(), 0);
    EXPECT_TRUE(at::equal(resumed.flat_gradients(), engine.flat_gradients()));
    EXPECT_THROW(GradientEngine(Model().parameters, world, {.order = {"first"}}), ConfigError);
    EXPECT_THROW(GradientEngine(Model().parameters, world, {.order = {"nobody"}}), ConfigError);
}

GRADWIND_MULTIRANK_TEST(GradientEngine, GradientAfterItsBucketIsAnErrorUntilAnnounced, RankCounts{1, 2})
{
    const Case plain{.name = "plain", .bucket_mib = 0.0005};
    const Case more{.name = "more uses", .style = Style::Checkpointed, .bucket_mib = 0.0005};
    for (const bool announced : {false, true}) {
        const Model model;
        GradientEngine engine(model.parameters, world, {.bucket_cap_mb = 0.0005, .first_bucket_mb = 0.0005});
        run_backwards(engine, model, plain, 0, world);
        if (announced) {
            engine.expect_new_graph();
            run_backwards(engine, model, more, 1, world);
            run_backwards(engine, model, more, 2, world);
            expect_reference(engine, model, more, 2, world);
            run_backwards(engine, model, plain, 3, world); // fewer uses are always safe
            expect_reference(engine, model, plain, 3, world);
        } else {
            EXPECT_THROW(run_backwards(engine, model, more, 1, world), InternalError);
        }
    }
}

GRADWIND_MULTIRANK_TEST(GradientEngine, AllRanksExpectWhatAnyOfThemHasSeen, RankCounts{1, 2, 3, 4})
{
    const Case plain{.name = "plain", .bucket_mib = 0.0005};
    const Case more{.name = "more uses", .style = Style::Checkpointed, .bucket_mib = 0.0005};
    const bool is_last = world.rank() == world.size() - 1;
    for (const bool others_have_samples : {false, true}) {
        const Model model;
        GradientEngine engine(model.parameters, world, {.bucket_cap_mb = 0.0005, .first_bucket_mb = 0.0005});
        if (is_last || others_have_samples) {
            run_backwards(engine, model, is_last ? more : plain, 0, world);
        } else {
            engine.begin_step();
            engine.finish();
        }
        for (int step = 1; step <= 2; ++step) {
            run_backwards(engine, model, more, step, world);
            expect_reference(engine, model, more, step, world);
        }
    }
}

GRADWIND_MULTIRANK_TEST(GradientEngine, DifferentModelsAreAnErrorOnEveryRank, RankCounts{2, 3})
{
    auto parameters = Model().parameters;
    if (world.rank() == 1)
        parameters[1].tensor = at::zeros({9, 8}, at::kDouble).requires_grad_();
    try {
        const GradientEngine engine(parameters, world);
        ADD_FAILURE() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_STREQ(
            error.what(),
            "[gradients] the ranks do not agree on the model's parameters: rank 1 has `parameter shared Double [9, 8]` "
            "where rank 0 has `parameter shared Double [9, 9]`. Start all processes with the same configuration and "
            "version");
    }
    EXPECT_THROW(GradientEngine(Model().parameters, world, {.bucket_cap_mb = 1.0 + world.rank()}), ConfigError);
}

GRADWIND_MULTIRANK_TEST(GradientEngine, ParametersOfRankZeroArriveEverywhere, RankCounts{1, 3})
{
    const Model model;
    for (const auto& [name, tensor] : model.parameters)
        at::Tensor(tensor).detach().add_(world.rank());
    GradientEngine engine(model.parameters, world);
    engine.broadcast_parameters();
    const Model fresh;
    for (const auto& [name, tensor] : model.parameters)
        EXPECT_TRUE(at::equal(tensor.detach(), fresh.of(name).detach())) << name;
}

TEST(GradientEngine, MisuseIsAnError)
{
    const Group one = Group::self();
    const Case what{.name = "misuse"};
    const Model model;
    GradientEngine engine(model.parameters, one);
    run_backwards(engine, model, what, 0, one);
    engine.begin_step();
    engine.begin_backward(Sync::Reduce);
    EXPECT_THROW(engine.begin_backward(Sync::Reduce), InternalError);
    engine.finish();
    for (const auto& parameter : model.parameters) // as zero_grad() does
        at::Tensor(parameter.tensor).mutable_grad() = at::Tensor();
    run_backwards(engine, model, what, 1, one); // begin_step() puts the views back
    expect_reference(engine, model, what, 1, one);
    for (const auto sync : {Sync::Accumulate, Sync::Reduce}) {
        const Model fresh;
        GradientEngine other(fresh.parameters, one);
        other.begin_step();
        at::Tensor(fresh.of("bias")).mutable_grad() = at::Tensor();
        other.begin_backward(sync);
        torch::autograd::backward({fresh.loss(sample_of(0, 0, 0), 0, Style::Plain)}, {});
        EXPECT_THROW(other.finish(), InternalError) << "a gradient that is not in the arena";
    }

    auto twice = model.parameters;
    twice.push_back({"alias", model.of("first")});
    EXPECT_THROW(GradientEngine(twice, one), ConfigError);
    EXPECT_THROW(GradientEngine({{"frozen", at::zeros({2})}}, one), ConfigError);
    EXPECT_THROW(
        GradientEngine({{"a", at::zeros({2}).requires_grad_()}, {"b", at::zeros({2}, at::kDouble).requires_grad_()}},
                       one),
        ConfigError);
    EXPECT_THROW(GradientEngine({}, one), ConfigError);
    EXPECT_THROW(GradientEngine(Model().parameters, one, {.bucket_cap_mb = 0}), ConfigError);
}

/// Options under which a bucket is cut over a row of ranks.
std::vector<EngineOptions> sharing(int world)
{
    std::vector<EngineOptions> result;
    for (const int row : {1, 2, 3, 4})
        if (world % row == 0)
            for (const double cap : {0.0005, 25.0}) {
                result.push_back({.bucket_cap_mb = cap, .first_bucket_mb = cap, .zero_group_size = row});
                result.push_back({.bucket_cap_mb = cap, .first_bucket_mb = cap, .node_size = row});
            }
    return result;
}

GRADWIND_MULTIRANK_TEST(GradientEngine, RowsOfRanksSumWhatAllRanksSum, RankCounts{1, 2, 3, 4})
{
    const Case what{.name = "rows", .accumulation = 2};
    for (const auto& options : sharing(world.size())) {
        const Model model;
        GradientEngine engine(model.parameters, world, options);
        const bool shared = options.zero_group_size > 1 && world.size() > 1;
        EXPECT_EQ(engine.state_share().group.size(), shared ? options.zero_group_size : 1);
        for (int step = 0; step < 3; ++step) {
            run_backwards(engine, model, what, step, world);
            // Whole numbers: equal to the last bit.
            const auto expected = reference_gradients(model, what, step, world.size());
            const auto whole = engine.whole_gradients();
            for (const Slice& slice : engine.slices())
                EXPECT_TRUE(at::equal(whole.narrow(0, slice.offset, slice.numel), expected.at(slice.name).flatten()))
                    << slice.name << " step " << step;
            int64_t covered = 0;
            for (const auto& piece : engine.gradient_pieces()) {
                EXPECT_TRUE(at::equal(piece.dense, whole.narrow(0, piece.offset, piece.dense.numel())));
                covered += piece.dense.numel();
            }
            EXPECT_EQ(covered * (shared ? options.zero_group_size : 1), whole.numel());
            // Each rank changes what it owns; then all have all of it.
            const auto before = engine.flat_parameters().clone();
            for (const auto& piece : engine.gradient_pieces())
                engine.flat_parameters().narrow(0, piece.offset, piece.dense.numel()).sub_(piece.dense);
            engine.share_parameters();
            EXPECT_TRUE(at::equal(engine.flat_parameters(), before - whole));
            engine.flat_parameters().copy_(before);
            if (step == 1) {
                const auto version = engine.layout_version();
                engine.replan({64, 65, engine.flat_parameters().numel()});
                EXPECT_EQ(engine.layout_version() > version, shared) << "other parts of the state are ours";
            }
        }
    }
}

GRADWIND_MULTIRANK_TEST(GradientEngine, RowsOfRanksAreDeterministicAndRoundOnlyWhatIsAsked, RankCounts{4})
{
    for (const auto wire : {WireType::AsStored, WireType::Bf16}) {
        std::vector<std::string> bits;
        at::Tensor flat, rows;
        for (const int node : {1, 2, 2}) {
            at::manual_seed(world.rank());
            const auto parameter = at::zeros({1000, 3}).requires_grad_();
            const auto gradient = at::randn({1000, 3});
            GradientEngine engine({{"p", parameter}}, world, {.bucket_cap_mb = 0.003, .wire = wire, .node_size = node});
            for (int step = 0; step < 2; ++step) {
                engine.begin_step();
                const auto loss = (parameter * gradient).sum();
                engine.begin_backward(Sync::Reduce);
                torch::autograd::backward({loss}, {});
                engine.finish();
            }
            (node == 1 ? flat : rows) = parameter.grad().clone();
            bits.emplace_back(static_cast<const char*>(parameter.grad().data_ptr()), parameter.grad().nbytes());
            const auto magnitudes = world.all_reduce_sum(gradient.abs().to(at::kDouble));
            const auto sum = world.all_reduce_sum(gradient.to(at::kDouble));
            // bf16: shares, the sum of a node and that of all are rounded.
            const double bound = wire == WireType::Bf16 ? 3 * 0x1p-8 : 4 * 0x1p-24;
            EXPECT_TRUE(((parameter.grad() - sum).abs() <= bound * magnitudes).all().item<bool>());
        }
        EXPECT_TRUE(bits[1] == bits[2]) << "the same again";
        for (const auto& other : world.all_gather_bytes(bits[1]))
            EXPECT_TRUE(other == bits[1]) << "the same on all ranks";
    }
}

GRADWIND_MULTIRANK_TEST(GradientEngine, RowsThatDoNotFillTheWorldAreRefused, RankCounts{3})
{
    EXPECT_THROW(GradientEngine(Model().parameters, world, {.zero_group_size = 2}), ConfigError);
    EXPECT_THROW(GradientEngine(Model().parameters, world, {.node_size = 2}), ConfigError);
    EXPECT_THROW(
        GradientEngine(Model().parameters, world, {.compression = {.kind = Compression::Acp}, .zero_group_size = 3}),
        ConfigError);
}

TEST(GradientEngine, BucketsKeepToTheirCap)
{
    const EngineOptions options{.bucket_cap_mb = 2, .first_bucket_mb = 1};
    const int64_t mib = 1024 * 1024 / 4;
    EXPECT_EQ(plan_buckets(6 * mib, 4, options), (std::vector<int64_t>{mib, 3 * mib, 5 * mib, 6 * mib}));
    EXPECT_EQ(plan_buckets(mib, 4, options), (std::vector<int64_t>{mib}));
    EXPECT_EQ(plan_buckets(10, 4, options), (std::vector<int64_t>{10}));
}

TEST(GradientEngine, KilledRankEndsTheOthersInBoundedTime)
{
    if (in_rank()) {
        const Group world = rank_world();
        const Case what{.name = "kill", .bucket_mib = 0.0005};
        const Model model;
        GradientEngine engine(model.parameters, world, {.bucket_cap_mb = 0.0005, .first_bucket_mb = 0.0005});
        run_backwards(engine, model, what, 0, world);
        world.set_step(1);
        if (world.rank() == 1)
            ::raise(SIGKILL);
        try {
            run_backwards(engine, model, what, 1, world);
        } catch (const CommError& error) {
            std::puts(error.what());
            std::fflush(stdout);
            ::_exit(static_cast<int>(error.code()));
        }
        return;
    }
    const auto results = run_ranks(3, {.watchdog_seconds = 30, .timeout_seconds = 3});
    for (const int rank : {0, 2}) {
        EXPECT_EQ(results[rank].exit_code, 4) << results[rank].output;
        EXPECT_LT(results[rank].seconds, 10);
        EXPECT_NE(results[rank].output.find("all_reduce in group world (ranks 0,1,2) failed at step 1"),
                  std::string::npos)
            << results[rank].output;
    }
}

} // namespace
} // namespace gradwind::parallel
