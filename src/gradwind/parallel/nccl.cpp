// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Collectives on CUDA tensors over c10d's NCCL.
#include "gradwind/core/error.h"
#include "gradwind/parallel/c10d_seam.h"
#include "gradwind/parallel/copied_sum.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

namespace gradwind::parallel::detail
{
namespace
{

using Rows = std::span<const int64_t>;

/// What the caller waits for anyway is done in its stream: a GPU that goes to and fro between streams starts all its
/// kernels later (fast_starts_cuda.h).
template <class Options>
Options in_callers_queue()
{
    Options options;
    if constexpr (requires { options.asyncOp; })
        options.asyncOp = false;
    return options;
}

void finish(const c10::intrusive_ptr<c10d::Work>& work)
{
    if (work) // c10d may have none for what is in the caller's stream
        work->wait();
}

class Nccl : public Backend
{
public:
    Nccl(c10::intrusive_ptr<c10d::ProcessGroupNCCL> group, at::Device device)
        : group_(std::move(group)), device_(device),
          copied_sums_(std::make_shared<CopiedSums>(device, group_->getRank(), group_->getSize(),
                                                    [this](const std::string& own) { return ask(own); }))
    {
    }

    Nccl(const Nccl&) = delete;
    Nccl& operator=(const Nccl&) = delete;
    /// c10d leaves its threads and communicators to the owner of a group; a process that does not end them crashes at
    /// its own end. After an error nobody can be waited for.
    ~Nccl() override
    {
        if (const auto given_up = end_of_abort(); given_up.valid()) {
            (void)given_up.wait_for(kPatience);
            return;
        }
        try {
            if (std::uncaught_exceptions() > 0)
                group_->abort();
            else
                group_->shutdown();
        } catch (const std::exception&) {
            // The group is gone either way.
        }
    }

    [[nodiscard]] at::Device device() const override { return device_; }

    [[nodiscard]] std::unique_ptr<Ticket> all_reduce_sum(at::Tensor x, Queue queue) override
    {
        std::vector<at::Tensor> tensors = {x.detach()};
        const auto options =
            queue == Queue::Callers ? in_callers_queue<c10d::AllreduceOptions>() : c10d::AllreduceOptions();
        return std::make_unique<C10dTicket>(group_->allreduce(tensors, options), tensors);
    }

    [[nodiscard]] std::unique_ptr<Repeatable> repeated_sum(at::Tensor x) override
    {
        return std::make_unique<C10dRepeatedSum>(group_, x);
    }

    /// In threads of its own: NCCL lets the kernels of this group end and then waits for the device, which may be
    /// waiting in a kernel of another group that is given up next; and a call of the device may have to wait for that
    /// of another thread.
    void give_up() noexcept override
    {
        try {
            std::promise<void> ended;
            {
                const std::lock_guard lock(mutex_);
                abort_ended_ = ended.get_future().share();
            }
            std::thread([group = group_, sums = copied_sums_, ended = std::move(ended)]() mutable {
                std::thread copies([&] { sums->give_up(); });
                try {
                    group->abort();
                } catch (const std::exception&) {
                    // This process leaves anyway.
                }
                copies.join();
                ended.set_value();
            }).detach();
        } catch (const std::exception&) {
            // Without a thread c10d's watchdog has to do.
        }
    }

    [[nodiscard]] std::unique_ptr<Repeatable> copied_sum(at::Tensor x, WireType wire, Queue queue) override
    {
        return copied_sums_->make(x, wire, queue);
    }

    void all_gather(at::Tensor out, at::Tensor in, Rows rows) override
    {
        if (std::all_of(rows.begin(), rows.end(), [&](int64_t count) { return count == rows[0]; })) {
            if (in.numel() > 0)
                finish(group_->_allgather_base(out, in, in_callers_queue<c10d::AllgatherOptions>()));
            return;
        }
        // Uneven: every rank sends its rows to all, which is an all-to-all of repeated input.
        const int size = group_->getSize();
        auto shape = in.sizes().vec();
        shape[0] *= size;
        const at::Tensor repeated = in.unsqueeze(0).expand(with_front(in.sizes(), size)).reshape(shape);
        all_to_all(out, repeated, rows, std::vector<int64_t>(size, in.size(0)))->wait();
    }

    void reduce_scatter_sum(at::Tensor out, at::Tensor in, Rows rows) override
    {
        const int size = group_->getSize();
        const std::vector<int64_t> mine(size, rows[group_->getRank()]);
        auto shape = with_front(out.sizes(), size);
        const at::Tensor blocks = at::empty(shape, in.options());
        all_to_all(blocks.flatten(0, 1), in, mine, rows)->wait();
        // Own sum in rank order: the same bits whatever algorithm NCCL would choose, and bf16 is summed in fp32.
        const auto type =
            in.scalar_type() == at::kBFloat16 || in.scalar_type() == at::kHalf ? at::kFloat : in.scalar_type();
        at::Tensor sum = blocks[0].to(type, /*non_blocking=*/false, /*copy=*/true);
        for (int rank = 1; rank < size; ++rank)
            sum.add_(blocks[rank]);
        out.copy_(sum);
    }

    [[nodiscard]] std::unique_ptr<Ticket> all_to_all(at::Tensor out, at::Tensor in, Rows receive_rows,
                                                     Rows send_rows) override
    {
        std::vector<int64_t> receive(receive_rows.begin(), receive_rows.end());
        std::vector<int64_t> send(send_rows.begin(), send_rows.end());
        return std::make_unique<C10dTicket>(group_->alltoall_base(out, in, receive, send),
                                            std::vector<at::Tensor>{out, in});
    }

    void broadcast(at::Tensor x, int root) override
    {
        if (x.numel() == 0)
            return;
        std::vector<at::Tensor> tensors = {x};
        auto options = in_callers_queue<c10d::BroadcastOptions>();
        options.rootRank = root;
        finish(group_->broadcast(tensors, options));
    }

    void barrier() override
    {
        at::Tensor one = at::ones({1}, at::device(device_).dtype(at::kInt));
        std::vector<at::Tensor> tensors = {one};
        finish(group_->allreduce(tensors, in_callers_queue<c10d::AllreduceOptions>()));
        (void)one.item<int>(); // the host waits, as a barrier must
    }

private:
    static constexpr auto kPatience = std::chrono::seconds(1); ///< with an abort, at the end of the process

    [[nodiscard]] std::shared_future<void> end_of_abort()
    {
        const std::lock_guard lock(mutex_);
        return abort_ended_;
    }

    /// As many bytes of every rank, in rank order.
    [[nodiscard]] std::vector<std::string> ask(const std::string& own)
    {
        const auto length = int64_t(own.size());
        at::Tensor host = at::empty({length}, at::kByte);
        std::memcpy(host.data_ptr(), own.data(), own.size());
        at::Tensor mine = host.to(device_), all = at::empty({group_->getSize() * length}, mine.options());
        finish(group_->_allgather_base(all, mine, in_callers_queue<c10d::AllgatherOptions>()));
        host = all.cpu();
        std::vector<std::string> words;
        for (int rank = 0; rank < group_->getSize(); ++rank)
            words.emplace_back(static_cast<const char*>(host.data_ptr()) + rank * length, own.size());
        return words;
    }

    static std::vector<int64_t> with_front(at::IntArrayRef sizes, int64_t front)
    {
        std::vector<int64_t> result = {front};
        result.insert(result.end(), sizes.begin(), sizes.end());
        return result;
    }

    c10::intrusive_ptr<c10d::ProcessGroupNCCL> group_;
    at::Device device_;
    const std::shared_ptr<const CopiedSums> copied_sums_;
    std::mutex mutex_; ///< guards what follows
    std::shared_future<void> abort_ended_;
};

} // namespace

std::shared_ptr<Backend> connect_nccl(StoreHandle& store, const Connection& connection)
{
    // After a timeout c10d waits four times this for dumps that nobody asked for, a minute by default, before it ends
    // the process.
    (void)::setenv("TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC", "500", /*overwrite=*/0);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = connection.timeout;
    auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(store.store, connection.rank, connection.size, options);
    group->setGroupUid(connection.scope); // what the watchdog calls it
    return std::make_shared<Nccl>(std::move(group),
                                  at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(connection.local_rank)));
}

bool has_nccl()
{
    return true;
}

} // namespace gradwind::parallel::detail
