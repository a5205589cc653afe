// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/exchange.h"

#include "gradwind/parallel/lane.h"
#include "gradwind/parallel/repeated_sum.h"
#include "gradwind/parallel/widen.h"

#include <ATen/ATen.h>

namespace gradwind::parallel::detail
{
namespace
{

std::vector<at::Tensor> cut(const at::Tensor& flat, const std::vector<int64_t>& ends)
{
    std::vector<at::Tensor> parts;
    int64_t begin = 0;
    for (const int64_t end : ends) {
        parts.push_back(flat.narrow(0, begin, end - begin));
        begin = end;
    }
    return parts;
}

int64_t bytes_of(const std::vector<at::Tensor>& tensors)
{
    int64_t bytes = 0;
    for (const auto& tensor : tensors)
        bytes += static_cast<int64_t>(tensor.nbytes());
    return bytes;
}

int64_t bytes_of(const std::vector<RepeatedSum>& sums)
{
    int64_t bytes = 0;
    for (const auto& sum : sums)
        bytes += sum.buffer_bytes();
    return bytes;
}

class PlainExchange : public Exchange
{
public:
    PlainExchange(Group world, Route route) : world_(std::move(world)), route_(route) {}

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override
    {
        gradients_ = cut(arena.gradients(), ends);
        sums_.clear();
        for (const auto& gradient : gradients_)
            sums_.emplace_back(world_, gradient, route_);
    }
    void launch(size_t bucket) override { sums_[bucket].start(); }
    void wait(size_t bucket) override { sums_[bucket].wait(); }
    [[nodiscard]] std::function<bool()> probe(size_t bucket) const override { return sums_[bucket].probe(); }
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override { return sums_[bucket].handed_bytes(); }
    [[nodiscard]] int64_t buffer_bytes() const override { return bytes_of(sums_); }

private:
    const Group world_;
    const Route route_;
    std::vector<at::Tensor> gradients_;
    std::vector<RepeatedSum> sums_;
};

/// Rounds, sums and widens again. On a GPU in two streams: a bucket is rounded while the sum of the one before is on
/// its way. A thread does one bucket after another: the host's cores have the next ones to compute.
class Bf16Exchange : public Exchange
{
public:
    Bf16Exchange(Group world, Route route, at::Device device)
        : world_(std::move(world)), route_(route), state_(std::make_shared<State>()),
          send_(make_lane(device,
                          [state = state_, device](size_t bucket) {
                              state->send(bucket);
                              if (device.is_cpu())
                                  state->receive(bucket);
                          })),
          receive_(device.is_cpu() ? nullptr
                                   : make_lane(device, [state = state_](size_t bucket) { state->receive(bucket); }))
    {
    }

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override
    {
        state_->gradients = cut(arena.gradients(), ends);
        state_->wire.clear();
        state_->sums.clear();
        copied_.clear();
        tickets_.assign(ends.size(), 0);
        if (route_ == Route::CopyEngines && copies())
            return;
        state_->wire = cut(at::empty_like(arena.gradients(), arena.gradients().options().dtype(at::kBFloat16)), ends);
        for (const auto& wire : state_->wire)
            state_->sums.emplace_back(world_, wire, Route::Library);
    }
    void launch(size_t bucket) override
    {
        if (!copied_.empty()) {
            copied_[bucket].start();
            return;
        }
        tickets_[bucket] = send_->submit(bucket);
        if (receive_)
            tickets_[bucket] = receive_->submit(bucket);
    }
    void wait(size_t bucket) override { copied_.empty() ? last().join(tickets_[bucket]) : copied_[bucket].wait(); }
    [[nodiscard]] std::function<bool()> probe(size_t bucket) const override
    {
        return copied_.empty() ? last().probe(tickets_[bucket]) : copied_[bucket].probe();
    }
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override
    {
        return (copied_.empty() ? state_->sums : copied_)[bucket].handed_bytes();
    }
    [[nodiscard]] int64_t buffer_bytes() const override { return bytes_of(state_->wire) + bytes_of(copied_); }

private:
    struct State {
        std::vector<at::Tensor> gradients, wire;
        std::vector<RepeatedSum> sums;

        void send(size_t bucket)
        {
            wire[bucket].copy_(gradients[bucket]);
            sums[bucket].start();
        }
        void receive(size_t bucket)
        {
            sums[bucket].wait();
            widen(wire[bucket], gradients[bucket]);
        }
    };
    [[nodiscard]] Lane& last() const { return receive_ ? *receive_ : *send_; }
    /// Whether all sums can be made by copies, which round and widen by themselves.
    [[nodiscard]] bool copies()
    {
        for (const auto& gradient : state_->gradients) {
            auto sum = RepeatedSum::by_copies(world_, gradient, WireType::Bf16);
            if (!sum) {
                copied_.clear();
                return false;
            }
            copied_.push_back(std::move(*sum));
        }
        return true;
    }

    const Group world_;
    const Route route_;
    std::shared_ptr<State> state_;
    std::vector<RepeatedSum> copied_; ///< empty: through the lanes
    std::vector<uint64_t> tickets_;
    std::unique_ptr<Lane> send_, receive_; ///< the latter null on a CPU
};

/// Rows, columns, and rows again, in a lane.
class ShardedExchange : public Exchange
{
public:
    ShardedExchange(RankGrid grid, WireType wire, Handed handed, at::Device device)
        : state_(std::make_shared<State>(State{std::move(grid), wire, handed, {}, {}, {}})),
          lane_(make_lane(device, [state = state_](size_t bucket) { state->sum(bucket); }))
    {
    }

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override
    {
        state_->gradients = cut(arena.gradients(), ends);
        state_->wire = state_->gradients;
        if (state_->type == WireType::Bf16)
            state_->wire =
                cut(at::empty_like(arena.gradients(), arena.gradients().options().dtype(at::kBFloat16)), ends);
        state_->own.clear();
        int64_t begin = 0;
        for (const int64_t end : ends) {
            state_->own.push_back(part_of(0, end - begin, state_->grid.row));
            begin = end;
        }
        tickets_.assign(ends.size(), 0);
    }
    void launch(size_t bucket) override { tickets_[bucket] = lane_->submit(bucket); }
    void wait(size_t bucket) override { lane_->join(tickets_[bucket]); }
    [[nodiscard]] std::function<bool()> probe(size_t bucket) const override { return lane_->probe(tickets_[bucket]); }
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override
    {
        const auto bytes = static_cast<int64_t>(state_->wire[bucket].nbytes());
        const int64_t part = bytes / state_->grid.row.size();
        return bytes + (state_->grid.column.size() > 1 ? part : 0) + (state_->handed == Handed::Whole ? part : 0);
    }
    [[nodiscard]] int64_t buffer_bytes() const override
    {
        return state_->type == WireType::Bf16 ? bytes_of(state_->wire) : 0; // else gradients travel from where they are
    }

private:
    struct State {
        const RankGrid grid;
        const WireType type;
        const Handed handed;
        std::vector<at::Tensor> gradients, wire;
        std::vector<Span> own; ///< in the bucket

        void sum(size_t bucket)
        {
            const at::Tensor &gradient = gradients[bucket], &sent = wire[bucket];
            const bool rounded = type == WireType::Bf16;
            if (rounded)
                sent.copy_(gradient);
            const at::Tensor part = sum_of_own_part(grid, sent);
            if (handed == Handed::OwnPart) {
                gradient.narrow(0, own[bucket].begin, own[bucket].size).copy_(part);
                return;
            }
            all_gather_into(grid.row, sent, part);
            if (rounded)
                widen(sent, gradient);
        }
    };

    std::shared_ptr<State> state_;
    std::vector<uint64_t> tickets_;
    std::unique_ptr<Lane> lane_;
};

} // namespace

std::unique_ptr<Exchange> make_sharded_exchange(RankGrid grid, WireType wire, Handed handed, at::Device device)
{
    return std::make_unique<ShardedExchange>(std::move(grid), wire, handed, device);
}

std::unique_ptr<Exchange> make_plain_exchange(Group world, Route route)
{
    return std::make_unique<PlainExchange>(std::move(world), route);
}

std::unique_ptr<Exchange> make_bf16_exchange(Group world, Route route, at::Device device)
{
    return std::make_unique<Bf16Exchange>(std::move(world), route, device);
}

} // namespace gradwind::parallel::detail
