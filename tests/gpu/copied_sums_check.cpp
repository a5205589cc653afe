// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Compares sums by copy engines with what they should be, bit for bit, while the GPUs are busy otherwise: started as
// they come and recorded, of tensors that are sent whole and of such that are cut. Prints a table; exit code 1 if one
// is off.
//   gpu_copied_sums_check --nproc 2
#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/recorded_work.h"
#include "gradwind/parallel/repeated_sum.h"
#include "gradwind/parallel/world.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/cuda.h>

#include <cstdio>
#include <filesystem>

namespace
{

using namespace gradwind;
using namespace gradwind::parallel;
using parallel::detail::Queue;
using parallel::detail::RepeatedSum;

constexpr int kTurns = 40;

/// What rank brings in a turn: whole numbers of which sums are exact in bf16.
at::Tensor brought(int64_t n, int rank, int turn, at::TensorOptions options)
{
    return ((at::arange(n, options.dtype(at::kLong)) * (2 * rank + 3) + 7 * turn + rank) % 16 - 8).to(options);
}

class Check
{
public:
    Check(const Group& world, at::Device device) : world_(world), device_(device), busy_(at::ones({2048, 2048}, device))
    {
    }

    void run(int64_t n, at::ScalarType type, WireType wire, Queue queue, bool is_recorded)
    {
        const auto x = at::zeros({n}, at::device(device_).dtype(type));
        const auto given = at::zeros_like(x);
        auto sum = RepeatedSum::by_copies(world_, x, wire, queue);
        const std::string name =
            fmt::format("{} numbers {}{}{}{}", n, c10::toString(type), wire == WireType::Bf16 ? " rounded" : "",
                        queue == Queue::Callers ? " in line" : "", is_recorded ? ", recorded" : "");
        if (!sum) {
            report(name + ": these GPUs do not reach each other", 1);
            return;
        }
        const auto work = [&] {
            (void)at::mm(busy_, busy_);
            x.copy_(given);
            sum->start();
            (void)at::mm(busy_, busy_);
            sum->wait();
        };
        RecordedWork recorded(device_, std::chrono::seconds(20));
        int64_t wrong = 0;
        for (int turn = 0; turn < kTurns; ++turn) {
            given.copy_(brought(n, world_.rank(), turn, x.options()));
            if (world_.rank() == turn % world_.size())
                for (int i = 0; i < 4; ++i) // others have to wait for this one
                    (void)at::mm(busy_, busy_);
            if (turn == 1 && is_recorded)
                recorded.record(work);
            if (turn == 0 || !is_recorded) {
                work();
            } else {
                recorded.start();
                recorded.wait();
            }
            auto expected = at::zeros_like(x);
            for (int rank = 0; rank < world_.size(); ++rank)
                expected += brought(n, rank, turn, x.options());
            wrong += x.ne(expected).sum().item<int64_t>();
        }
        report(name, wrong);
    }

    [[nodiscard]] bool has_failed() const { return failed_; }

private:
    void report(const std::string& name, int64_t wrong)
    {
        const auto all = world_.sum(std::vector<double>{double(wrong)});
        failed_ = failed_ || all[0] > 0;
        if (world_.rank() == 0)
            std::puts(fmt::format("{:50} {:8} wrong {}", name, all[0], all[0] > 0 ? "FAILED" : "ok").c_str());
    }

    const Group& world_;
    const at::Device device_;
    const at::Tensor busy_;
    bool failed_ = false;
};

int run()
{
    const auto environment = resolve_environment(process_variables());
    const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(environment.local_rank));
    const Group world = connect_world(environment, {.backend = BackendKind::Nccl, .timeout = std::chrono::seconds(60)});
    compute_beside_default_stream(device);
    Check check(world, device);
    for (const int64_t n : {1, 7, 4096, 262147, 6553600, 6553603})
        for (const bool is_recorded : {false, true}) {
            for (const auto queue : {Queue::Own, Queue::Callers})
                check.run(n, at::kFloat, WireType::AsStored, queue, is_recorded);
            check.run(n, at::kBFloat16, WireType::AsStored, Queue::Own, is_recorded);
            check.run(n, at::kFloat, WireType::Bf16, Queue::Own, is_recorded);
        }
    return check.has_failed() ? 1 : 0;
}

} // namespace

int main(int argc, char** argv)
{
    try {
        if (argc == 3 && std::string_view(argv[1]) == "--nproc")
            return launch_local({std::filesystem::read_symlink("/proc/self/exe").string()},
                                {.processes = std::stoi(argv[2])});
        return run();
    } catch (const Error& error) {
        std::fprintf(stderr, "gpu_copied_sums_check: %s\n", error.what());
        return static_cast<int>(error.code());
    }
}
