// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/copied_sum.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/add_parts_cuda.h"
#include "gradwind/parallel/layout.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <vector>

namespace gradwind::parallel::detail
{

namespace
{

constexpr int kWaysOut = 8;

c10::cuda::CUDAStream new_queue(at::Device device)
{
    return c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index());
}

} // namespace

/// In the order in which a bucket goes through them. Each is in the order of the buckets, which all ranks share.
struct CopiedSums::Queues {
    explicit Queues(at::Device device) : send(new_queue(device)), add(new_queue(device)), collect(new_queue(device)) {}
    c10::cuda::CUDAStream send;    ///< parts to where they are added
    c10::cuda::CUDAStream add;     ///< and hands the sums round
    c10::cuda::CUDAStream collect; ///< waits for the sums of others

    std::mutex mutex;               ///< guards what follows
    std::set<CopiedSum*> sums = {}; ///< that are connected
};

/// One tensor's. A process leaves its parts in the inbox of the others and says so with a flag; with another it says
/// that its sums have come, or, where tensors travel whole, that its inbox is free again.
class CopiedSum : public Repeatable
{
public:
    CopiedSum(at::Tensor x, WireType wire, Queue queue, int rank, int size, std::shared_ptr<CopiedSums::Queues> queues)
        : x_(std::move(x)), rank_(rank), size_(size), queues_(std::move(queues)),
          plan_(plan_copied_sum(x_.numel(), int64_t(x_.element_size()), wire, queue, size)),
          in_line_(queue == Queue::Callers && plan_.whole),
          inbox_(at::zeros({plan_.inbox}, x_.options().dtype(at::kByte))),
          outbox_(at::empty({plan_.outbox / 2}, x_.options().dtype(at::kBFloat16)))
    {
        if (plan_.whole) // all inboxes are free
            for (int other = 0; other < size_; ++other)
                inbox_.narrow(0, flag_offset(other, Says::Second), 1).fill_(1);
    }

    CopiedSum(const CopiedSum&) = delete;
    CopiedSum& operator=(const CopiedSum&) = delete;
    ~CopiedSum() override
    {
        const std::lock_guard lock(queues_->mutex);
        queues_->sums.erase(this);
    }

    /// Sets all flags that others set.
    void give_up(const c10::cuda::CUDAStream& queue) const noexcept
    {
        auto* flags = static_cast<char*>(inbox_.data_ptr()) + flag_offset(0, Says::First);
        (void)cudaMemset2DAsync(flags, size_t(kFlagBytes), 1, 1, size_t(2 * size_), queue.stream());
    }

    /// @return whether all ranks reach each other's memory @collective
    [[nodiscard]] bool connect(const PeerMemory::Ask& ask)
    {
        inboxes_ = PeerMemory::share(inbox_, rank_, ask);
        if (inboxes_ && !plan_.whole)
            tensors_ = PeerMemory::share(x_, rank_, ask);
        if (!inboxes_ || !(plan_.whole || tensors_))
            return false;
        for (int step = 1; step < size_; ++step) {
            const int other = (rank_ + step) % size_; // so that not all write to the same process at once
            others_.push_back(other);
            for (const auto says : {Says::First, Says::Second}) {
                theirs_[size_t(says)].push_back(flag(other, rank_, says));
                own_[size_t(says)].push_back(flag(rank_, other, says));
            }
        }
        const std::lock_guard lock(queues_->mutex);
        queues_->sums.insert(this);
        return true;
    }

    void start() override
    {
        const at::NoGradGuard no_grad;
        const c10::cuda::CUDAGuard guard(x_.device());
        if (is_rounded())
            round();
        if (in_line_) {
            send(current());
            return;
        }
        ready_.record(current());
        ready_.block(queues_->send);
        send(queues_->send);
        sent_.record(queues_->send);
        ready_.block(queues_->add);
        if (plan_.whole)
            sent_.block(queues_->add); // the sum takes the place of what is sent
        add(queues_->add);
        if (!plan_.whole)
            collect();
        done_->record(plan_.whole ? queues_->add : queues_->collect);
    }

    void wait() override
    {
        const c10::cuda::CUDAGuard guard(x_.device());
        if (in_line_)
            add(current());
        else
            done_->block(current());
    }

    [[nodiscard]] std::function<bool()> probe() const override
    {
        if (in_line_)
            return {}; // nothing happens before wait()
        return [done = done_] { return done->query(); };
    }
    [[nodiscard]] int64_t buffer_bytes() const override { return plan_.inbox + plan_.outbox; }

private:
    enum class Says { First, Second };

    [[nodiscard]] c10::cuda::CUDAStream current() const { return c10::cuda::getCurrentCUDAStream(x_.device().index()); }

    [[nodiscard]] bool is_rounded() const { return plan_.outbox > 0; }
    [[nodiscard]] int64_t flag_offset(int by, Says says) const
    {
        return (size_ - 1) * plan_.slot + (2 * by + int64_t(says)) * kFlagBytes;
    }
    /// What `by` says to the process `of`.
    [[nodiscard]] Flag* flag(int of, int by, Says says) const
    {
        return reinterpret_cast<Flag*>(inboxes_->of(of) + flag_offset(by, says));
    }
    /// Where the part of `by` is among those of all ranks but `of`.
    [[nodiscard]] int64_t slot_offset(int of, int by) const { return (by < of ? by : by - 1) * plan_.slot; }

    /// What a rank adds. In elements.
    [[nodiscard]] Span part(int rank) const
    {
        if (plan_.whole)
            return {0, x_.numel()};
        const int64_t begin = std::min(rank * plan_.part, x_.numel());
        return {begin, std::min(begin + plan_.part, x_.numel()) - begin};
    }
    [[nodiscard]] int64_t bytes(int64_t elements) const { return elements * int64_t(x_.element_size()); }
    [[nodiscard]] char* own() const { return static_cast<char*>(x_.data_ptr()); }

    static void copy(char* to, const char* from, int64_t bytes, const c10::cuda::CUDAStream& queue)
    {
        if (bytes > 0)
            C10_CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, queue.stream()));
    }

    /// What others are to add, in the caller's stream: beside its kernels it would take them longer than by itself.
    void round()
    {
        for (const int other : others_) {
            const Span sent = part(other);
            const int64_t at = plan_.whole ? 0 : slot_offset(rank_, other) / 2;
            outbox_.narrow(0, at, sent.size).copy_(x_.narrow(0, sent.begin, sent.size));
            if (plan_.whole)
                return; // the same to all
        }
    }

    void send(const c10::cuda::CUDAStream& queue) const
    {
        if (plan_.whole)
            take_flags(own_[size_t(Says::Second)], queue.stream());
        for (const int other : others_) {
            const Span sent = part(other);
            char* to = inboxes_->of(other) + slot_offset(other, rank_);
            if (is_rounded())
                copy(to, static_cast<char*>(outbox_.data_ptr()) + (plan_.whole ? 0 : slot_offset(rank_, other)),
                     2 * sent.size, queue);
            else
                copy(to, own() + bytes(sent.begin), bytes(sent.size), queue);
        }
        set_flags(theirs_[size_t(Says::First)], queue.stream());
    }

    void add(const c10::cuda::CUDAStream& queue) const
    {
        take_flags(own_[size_t(Says::First)], queue.stream());
        const Span mine = part(rank_);
        char* place = own() + bytes(mine.begin);
        add_parts(place, mine.size, queue);
        if (!plan_.whole)
            for (const int other : others_)
                copy(tensors_->of(other) + bytes(mine.begin), place, bytes(mine.size), queue);
        set_flags(theirs_[size_t(Says::Second)], queue.stream());
    }

    void add_parts(char* place, int64_t n, const c10::cuda::CUDAStream& queue) const
    {
        Parts parts;
        for (int rank = 0; rank < size_; ++rank)
            parts.at[size_t(parts.count++)] = rank == rank_ ? place : inboxes_->of(rank_) + slot_offset(rank_, rank);
        const char* failure = nullptr;
        if (is_rounded())
            failure = add_rounded_parts_cuda(parts, rank_, reinterpret_cast<float*>(place), n, queue.stream());
        else if (x_.scalar_type() == at::kFloat)
            failure = add_parts_cuda(parts, reinterpret_cast<float*>(place), n, queue.stream());
        else
            failure = add_bf16_parts_cuda(parts, place, n, queue.stream());
        GRADWIND_CHECK(failure == nullptr, InternalError, "[gradients] the GPU reports: {}", failure);
    }

    /// The sums of others have come once they say so; and what this process sent has left, for they have added it.
    void collect()
    {
        added_.record(queues_->add);
        added_.block(queues_->collect);
        sent_.block(queues_->collect);
        take_flags(own_[size_t(Says::Second)], queues_->collect.stream());
    }

    const at::Tensor x_;
    const int rank_, size_;
    const std::shared_ptr<CopiedSums::Queues> queues_;
    const CopiedSumPlan plan_;
    const bool in_line_;
    const at::Tensor inbox_;  ///< a slot for each other rank's part, then two flags for each rank
    const at::Tensor outbox_; ///< rounded parts for the others; empty where they travel as they are
    std::unique_ptr<PeerMemory> inboxes_, tensors_;
    std::vector<int> others_;
    std::array<std::vector<Flag*>, 2> own_, theirs_; ///< by what they say, in the order of others_
    at::cuda::CUDAEvent ready_, sent_, added_;
    const std::shared_ptr<at::cuda::CUDAEvent> done_ = std::make_shared<at::cuda::CUDAEvent>();
};

CopiedSums::CopiedSums(at::Device device, int rank, int size, PeerMemory::Ask ask)
    : queues_(std::make_shared<Queues>(device)), rank_(rank), size_(size), ask_(std::move(ask))
{
}

CopiedSums::~CopiedSums() = default;

std::unique_ptr<Repeatable> CopiedSums::make(const at::Tensor& x, WireType wire, Queue queue) const
{
    const bool known =
        x.scalar_type() == at::kFloat || (x.scalar_type() == at::kBFloat16 && wire == WireType::AsStored);
    static_assert(kMostCopyingRanks <= kMostParts);
    if (!known || size_ > kMostCopyingRanks || x.numel() == 0 || reinterpret_cast<uintptr_t>(x.data_ptr()) % 16 != 0)
        return nullptr;
    auto sum = std::make_unique<CopiedSum>(x.detach(), wire, queue, rank_, size_, queues_);
    if (!sum->connect(ask_))
        return nullptr;
    return sum;
}

void CopiedSums::give_up() const noexcept
{
    try {
        const std::lock_guard lock(queues_->mutex);
        // Several streams: one of them may share a queue of the device with one that waits.
        for (int i = 0; i < kWaysOut; ++i) {
            const auto queue = new_queue(queues_->send.device());
            const c10::cuda::CUDAGuard guard(queue.device());
            for (const auto* sum : queues_->sums)
                sum->give_up(queue);
        }
    } catch (const std::exception&) {
        // The device has failed: nothing waits on it.
    }
}

} // namespace gradwind::parallel::detail
