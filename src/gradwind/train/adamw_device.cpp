// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw_device.h"

#include "gradwind/core/error.h"
#include "gradwind/train/adamw_cuda.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstring>

namespace gradwind::train::detail
{

namespace
{

void check(const char* failure)
{
    GRADWIND_CHECK(failure == nullptr, InternalError, "[adamw] the GPU reports: {}", failure);
}

class CudaAdamW : public DeviceAdamW
{
public:
    explicit CudaAdamW(at::Device device)
        : device_(device), state_(at::zeros({int64_t(sizeof(AdamWDevice))}, at::device(device).dtype(at::kByte))),
          total_(at::zeros({1}, at::device(device).dtype(at::kDouble))),
          read_(at::empty({int64_t(sizeof(AdamWDevice))}, at::device(at::kCPU).dtype(at::kByte).pinned_memory(true)))
    {
    }

    void queue(std::span<const AdamWPiece> pieces, const AdamWRates& rates, const parallel::Group& group) override
    {
        const c10::cuda::CUDAGuard guard(device_);
        void* stream = c10::cuda::getCurrentCUDAStream(device_.index()).stream();
        int64_t n = 0;
        for (const auto& piece : pieces)
            n += partial_sums(piece);
        if (!partial_.defined() || partial_.numel() < n)
            partial_ = at::empty({n}, total_.options());
        auto* partial = partial_.data_ptr<double>();
        for (const auto& piece : pieces) {
            check(squares_cuda(piece, partial, stream));
            partial += partial_sums(piece);
        }
        check(total_cuda(partial_.data_ptr<double>(), n, total_.data_ptr<double>(), stream));
        if (group.size() > 1)
            group.all_reduce_sum_(total_);
        check(decide_cuda(state(), total_.data_ptr<double>(), rates, stream));
        for (const auto& piece : pieces)
            check(apply_cuda(piece, state(), stream));
        read_.copy_(state_, /*non_blocking=*/true);
        known_.record(c10::cuda::getCurrentCUDAStream(device_.index()));
    }

    [[nodiscard]] Verdict verdict() override
    {
        known_.synchronize();
        AdamWDevice read;
        std::memcpy(&read, read_.data_ptr(), sizeof read);
        return {read.verdict.sum_of_squares, read.verdict.applied != 0};
    }

    void set_steps(int64_t steps) override
    {
        AdamWDevice fresh = {};
        fresh.verdict.steps = steps;
        const auto bytes = at::empty({int64_t(sizeof fresh)}, at::kByte);
        std::memcpy(bytes.data_ptr(), &fresh, sizeof fresh);
        state_.copy_(bytes);
    }

private:
    [[nodiscard]] AdamWDevice* state() const { return static_cast<AdamWDevice*>(state_.data_ptr()); }

    const at::Device device_;
    at::Tensor state_, total_, read_, partial_;
    at::cuda::CUDAEvent known_;
};

} // namespace

std::unique_ptr<DeviceAdamW> make_device_adamw(at::Device device)
{
    return std::make_unique<CudaAdamW>(device);
}

} // namespace gradwind::train::detail
