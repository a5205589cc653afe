// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/exchange.h"

#include "gradwind/parallel/lane.h"

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

class PlainExchange : public Exchange
{
public:
    explicit PlainExchange(Group world) : world_(std::move(world)) {}

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override
    {
        gradients_ = cut(arena.gradients(), ends);
        works_.clear();
        works_.resize(ends.size());
    }
    void launch(size_t bucket) override { works_[bucket] = world_.all_reduce_sum_async_(gradients_[bucket]); }
    void wait(size_t bucket) override { works_[bucket].wait(); }
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override
    {
        return world_.size() > 1 ? static_cast<int64_t>(gradients_[bucket].nbytes()) : 0;
    }

private:
    const Group world_;
    std::vector<at::Tensor> gradients_;
    std::vector<Work> works_;
};

class Bf16Exchange : public Exchange
{
public:
    Bf16Exchange(Group world, at::Device device)
        : state_(std::make_shared<State>(State{std::move(world), {}, {}})),
          lane_(make_lane(device, [state = state_](size_t bucket) { state->sum(bucket); }))
    {
    }

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends) override
    {
        state_->gradients = cut(arena.gradients(), ends);
        state_->wire = cut(at::empty_like(arena.gradients(), arena.gradients().options().dtype(at::kBFloat16)), ends);
        tickets_.assign(ends.size(), 0);
    }
    void launch(size_t bucket) override { tickets_[bucket] = lane_->submit(bucket); }
    void wait(size_t bucket) override { lane_->join(tickets_[bucket]); }
    [[nodiscard]] int64_t wire_bytes(size_t bucket) const override
    {
        return state_->world.size() > 1 ? static_cast<int64_t>(state_->wire[bucket].nbytes()) : 0;
    }

private:
    struct State {
        const Group world;
        std::vector<at::Tensor> gradients, wire;

        void sum(size_t bucket)
        {
            wire[bucket].copy_(gradients[bucket]);
            world.all_reduce_sum_(wire[bucket]);
            gradients[bucket].copy_(wire[bucket]);
        }
    };

    std::shared_ptr<State> state_;
    std::vector<uint64_t> tickets_;
    std::unique_ptr<Lane> lane_;
};

} // namespace

std::unique_ptr<Exchange> make_plain_exchange(Group world)
{
    return std::make_unique<PlainExchange>(std::move(world));
}

std::unique_ptr<Exchange> make_bf16_exchange(Group world, at::Device device)
{
    return std::make_unique<Bf16Exchange>(std::move(world), device);
}

} // namespace gradwind::parallel::detail
