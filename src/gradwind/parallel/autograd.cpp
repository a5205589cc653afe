// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/autograd.h"

#include "gradwind/core/error.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <numeric>

namespace gradwind::parallel
{

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace detail
{

/// What is known about a halo exchange; the same for every call.
struct HaloState {
    Group group;
    int64_t n_in = 0; ///< rows of x
    int64_t n_received = 0;
    std::vector<int64_t> send_rows, receive_rows; ///< of all copies, by rank
    at::Tensor send;                              ///< rows of x by receiver, for each copy by copy
};

/// One call: what is under way in either direction.
struct HaloCall {
    std::shared_ptr<const HaloState> state;
    PendingRows arriving;  ///< forward; complete from the start where the first run of a region received the rows
    PendingRows returning; ///< backward
};

/// Rows that the calls of a region received in its first run.
struct HaloTape {
    std::vector<at::Tensor> received;
    size_t next = 0;
    bool is_replay = false;
};

} // namespace detail

namespace
{

using detail::HaloCall;
using detail::HaloState;

/// Hands a shared object to a backward function.
template <class T>
struct Holder : torch::CustomClassHolder {
    explicit Holder(T value) : value(std::move(value)) {}
    T value;
};

template <class T>
void keep(AutogradContext* context, T value)
{
    context->saved_data["state"] = c10::IValue::make_capsule(c10::make_intrusive<Holder<T>>(std::move(value)));
}

template <class T>
const T& kept(AutogradContext* context)
{
    return c10::static_intrusive_pointer_cast<Holder<T>>(context->saved_data["state"].toCapsule())->value;
}

/// Who exchanges how many rows.
struct Exchange {
    Group group;
    std::vector<int64_t> send, receive;
};

struct GatherRows : torch::autograd::Function<GatherRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Exchange& exchange)
    {
        keep(context, exchange);
        return exchange.group.all_gather(x, exchange.receive);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto& exchange = kept<Exchange>(context);
        return {exchange.group.reduce_scatter_sum(gradients[0], exchange.receive), {}};
    }
};

struct ScatterSumRows : torch::autograd::Function<ScatterSumRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Exchange& exchange)
    {
        keep(context, exchange);
        return exchange.group.reduce_scatter_sum(x, exchange.receive);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto& exchange = kept<Exchange>(context);
        return {exchange.group.all_gather(gradients[0], exchange.receive), {}};
    }
};

struct ExchangeRows : torch::autograd::Function<ExchangeRows> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Exchange& exchange)
    {
        keep(context, exchange);
        return exchange.group.all_to_all(x, exchange.send, exchange.receive);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto& exchange = kept<Exchange>(context);
        return {exchange.group.all_to_all(gradients[0], exchange.receive, exchange.send), {}};
    }
};

struct SumOverRanks : torch::autograd::Function<SumOverRanks> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Exchange& exchange)
    {
        keep(context, exchange);
        return exchange.group.all_reduce_sum(x);
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        return {kept<Exchange>(context).group.all_reduce_sum(gradients[0]), {}};
    }
};

std::vector<int64_t> as_vector(std::span<const int64_t> values)
{
    return {values.begin(), values.end()};
}

using SharedCall = std::shared_ptr<HaloCall>;

/// Sends; the results are x with room for the halo behind it, and x there.
struct StartHalo : torch::autograd::Function<StartHalo> {
    static variable_list forward(AutogradContext* context, const at::Tensor& x, const SharedCall& call)
    {
        keep(context, call);
        const auto& state = *call->state;
        if (!call->arriving.rows.defined())
            call->arriving =
                state.group.all_to_all_async(x.index_select(0, state.send), state.send_rows, state.receive_rows);
        auto shape = x.sizes().vec();
        shape[0] = state.n_in + state.n_received;
        auto rows = at::empty(shape, x.options());
        const auto own = rows.narrow(0, 0, state.n_in);
        own.copy_(x);
        return {rows, own};
    }
    /// The reverse exchange was started by FinishHalo; every other gradient that is ready comes before this one.
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto& call = kept<SharedCall>(context);
        const auto& state = *call->state;
        call->returning.work.wait();
        const auto rows = std::exchange(call->returning.rows, {});
        GRADWIND_CHECK(rows.defined(), InternalError, "[halo_exchange] own rows were used without those of the halo");
        auto shape = rows.sizes().vec();
        shape[0] = state.n_in;
        auto sum = at::zeros(shape, rows.options());
        // Rank after rank: no row occurs twice for one receiver, so the order of additions is the same on any device.
        int64_t begin = 0;
        for (const int64_t count : state.send_rows) {
            if (count > 0)
                sum.index_add_(0, state.send.narrow(0, begin, count), rows.narrow(0, begin, count));
            begin += count;
        }
        if (gradients[0].defined())
            sum.add_(gradients[0].narrow(0, 0, state.n_in));
        if (gradients[1].defined())
            sum.add_(gradients[1]);
        return {sum, {}};
    }
};

/// The same rows, to be used as sources.
struct FinishHalo : torch::autograd::Function<FinishHalo> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& rows, const SharedCall& call)
    {
        keep(context, call);
        return rows.variable_data();
    }
    static variable_list backward(AutogradContext* context, const variable_list& gradients)
    {
        const auto& call = kept<SharedCall>(context);
        const auto& state = *call->state;
        const auto of_halo = gradients[0].narrow(0, state.n_in, state.n_received).contiguous();
        call->returning = state.group.all_to_all_async(of_halo, state.receive_rows, state.send_rows);
        return {gradients[0], {}};
    }
};

} // namespace

at::Tensor gather_rows(const at::Tensor& x, std::span<const int64_t> rows, const Group& group)
{
    return group.size() == 1 ? x : GatherRows::apply(x, Exchange{group, {}, as_vector(rows)});
}

at::Tensor scatter_sum_rows(const at::Tensor& x, std::span<const int64_t> rows, const Group& group)
{
    return group.size() == 1 ? x : ScatterSumRows::apply(x, Exchange{group, {}, as_vector(rows)});
}

at::Tensor exchange_rows(const at::Tensor& x, std::span<const int64_t> send_rows, std::span<const int64_t> receive_rows,
                         const Group& group)
{
    return group.size() == 1 ? x
                             : ExchangeRows::apply(x, Exchange{group, as_vector(send_rows), as_vector(receive_rows)});
}

at::Tensor sum_over_ranks(const at::Tensor& x, const Group& group)
{
    return group.size() == 1 ? x : SumOverRanks::apply(x, Exchange{group, {}, {}});
}

HaloExchange::HaloExchange() = default;

HaloExchange::HaloExchange(Group group, const ExchangePlan& plan, int64_t copies, at::Device device)
{
    if (group.size() == 1)
        return;
    GRADWIND_CHECK(static_cast<int>(plan.send_rows.size()) == group.size(), InternalError,
                   "[halo_exchange] a plan for {} ranks in group {} of {}", plan.send_rows.size(), group.name(),
                   group.size());
    auto state = std::make_shared<HaloState>(HaloState{
        std::move(group), copies * plan.n_owned, copies * plan.n_halo(), plan.send_rows, plan.receive_rows, {}});
    std::vector<int64_t> send;
    send.reserve(copies * plan.send.size());
    int64_t begin = 0;
    for (const int64_t count : plan.send_rows) {
        for (int64_t copy = 0; copy < copies; ++copy)
            for (int64_t i = begin; i < begin + count; ++i)
                send.push_back(copy * plan.n_owned + plan.send[i]);
        begin += count;
    }
    for (auto* rows : {&state->send_rows, &state->receive_rows})
        for (int64_t& count : *rows)
            count *= copies;
    state->send = at::tensor(send, at::kLong).to(device);
    state_ = std::move(state);
}

HaloExchange::Arrival HaloExchange::start(const at::Tensor& x) const
{
    Arrival arrival;
    arrival.rows_ = arrival.own_ = x;
    if (is_identity())
        return arrival;
    GRADWIND_CHECK(x.dim() >= 1 && x.size(0) == state_->n_in, ShapeError,
                   "[halo_exchange] expected x of [{}, channels] (copies * n_owned), got {} rows", state_->n_in,
                   x.dim() ? x.size(0) : 0);
    arrival.call_ = std::make_shared<HaloCall>();
    arrival.call_->state = state_;
    if (tape_ && tape_->is_replay) {
        GRADWIND_CHECK(tape_->next < tape_->received.size(), InternalError,
                       "[halo_exchange] the second run of a region exchanges more often than the first");
        arrival.call_->arriving.rows = tape_->received[tape_->next++];
    }
    const auto started = StartHalo::apply(x, arrival.call_);
    arrival.rows_ = started[0];
    arrival.own_ = started[1];
    if (tape_ && !tape_->is_replay)
        tape_->received.push_back(arrival.call_->arriving.rows);
    return arrival;
}

const at::Tensor& HaloExchange::Arrival::own() const
{
    return own_;
}

at::Tensor HaloExchange::Arrival::rows() const
{
    return call_ ? FinishHalo::apply(rows_, call_) : rows_;
}

void HaloExchange::Arrival::finish() const
{
    if (!call_ || !call_->arriving.rows.defined())
        return;
    call_->arriving.work.wait();
    // Past the count of changes: nobody has read these rows.
    rows_.variable_data().narrow(0, call_->state->n_in, call_->state->n_received).copy_(call_->arriving.rows);
    call_->arriving.rows.reset();
}

at::Tensor HaloExchange::Arrival::wait() const
{
    const auto result = rows();
    finish();
    return result;
}

HaloExchange HaloExchange::remembering() const
{
    HaloExchange result = *this;
    if (!is_identity())
        result.tape_ = std::make_shared<detail::HaloTape>();
    return result;
}

void HaloExchange::begin_run() const
{
    if (!tape_)
        return;
    tape_->is_replay = !tape_->received.empty();
    tape_->next = 0;
}

} // namespace gradwind::parallel
