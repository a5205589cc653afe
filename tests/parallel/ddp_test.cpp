// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The gradient engine beside torch's DistributedDataParallel, run by Debian's Python.
#include "gradwind/parallel/gradient_engine.h"
#include "gradwind/parallel/process.h"
#include "tests/support/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <fstream>

namespace gradwind::parallel
{
namespace
{

constexpr int kSteps = 3;

at::Tensor numbers(int64_t seed, std::vector<int64_t> shape)
{
    int64_t count = 1;
    for (const int64_t extent : shape)
        count *= extent;
    return ((at::arange(count) * 7919 + seed * 104729).remainder(1009) - 504).to(at::kFloat).div(2048).reshape(shape);
}

std::vector<NamedParameter> make_parameters()
{
    const std::vector<std::vector<int64_t>> shapes = {{64, 16}, {64}, {64, 64}, {64}, {8, 64}, {8}};
    std::vector<NamedParameter> parameters;
    for (size_t i = 0; i < shapes.size(); ++i)
        parameters.push_back({"p" + std::to_string(i), numbers(static_cast<int64_t>(i), shapes[i]).requires_grad_()});
    return parameters;
}

at::Tensor loss_of(const std::vector<NamedParameter>& p, const at::Tensor& x)
{
    auto h = at::tanh(at::linear(x, p[0].tensor, p[1].tensor));
    h = at::tanh(at::linear(h, p[2].tensor, p[3].tensor));
    return at::linear(h, p[4].tensor, p[5].tensor).square().mean();
}

at::Tensor oracle_of(const std::string& folder, int step)
{
    std::ifstream file(folder + "/ddp_" + std::to_string(step) + ".bin", std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    auto values = at::empty({static_cast<int64_t>(bytes.size() / sizeof(float))}, at::kFloat);
    std::memcpy(values.data_ptr(), bytes.data(), bytes.size());
    return values;
}

/// Exit code of the oracle's interpreter with arguments.
int run_python(const std::vector<std::string>& arguments)
{
    const char* python = std::getenv("GRADWIND_PYTHON");
    ChildOptions child;
    child.command = {python ? python : "/usr/bin/python3"};
    child.command.insert(child.command.end(), arguments.begin(), arguments.end());
    if (!std::filesystem::exists(child.command.front()))
        return 127;
    int status = 0;
    ::waitpid(spawn_child(child), &status, 0);
    return exit_code_of(status);
}

TEST(Ddp, TwoRanksAreBitIdentical)
{
    if (!gradwind::testing::in_rank()) {
        const PrivateFolder folder;
        if (run_python({"-c", "import torch.distributed as d; raise SystemExit(0 if d.is_available() else 1)"}) != 0)
            GTEST_SKIP()
                << "there is no python3 with torch to compare with (Debian: python3-torch; or set GRADWIND_PYTHON)";
        ASSERT_EQ(run_python({GRADWIND_SOURCE_DIR "/tests/parallel/ddp_oracle.py", folder.path().string(), "3"}), 0);
        ::setenv("GRADWIND_TEST_DDP", folder.path().c_str(), 1);
        for (const auto& result : gradwind::testing::run_ranks(2))
            EXPECT_EQ(result.exit_code, 0) << result.output;
        ::unsetenv("GRADWIND_TEST_DDP");
        return;
    }
    const Group world = gradwind::testing::rank_world();
    const auto parameters = make_parameters();
    GradientEngine engine(parameters, world, {.bucket_cap_mb = 0.01, .first_bucket_mb = 0.01});
    for (int step = 0; step < kSteps; ++step) {
        engine.begin_step();
        engine.begin_backward(Sync::Reduce);
        // The one factor is the loss's: half of it per rank.
        torch::autograd::backward({loss_of(parameters, numbers(1000 + 10 * step + world.rank(), {32, 16})) * 0.5}, {});
        engine.finish();
        std::vector<at::Tensor> gradients;
        for (const auto& parameter : parameters)
            gradients.push_back(parameter.tensor.grad().flatten());
        EXPECT_TRUE(at::equal(at::cat(gradients), oracle_of(std::getenv("GRADWIND_TEST_DDP"), step)))
            << "step " << step;
        engine.flat_parameters().sub_(engine.flat_gradients() * 0.125);
    }
    world.barrier();
}

} // namespace
} // namespace gradwind::parallel
