// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/group.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/backend.h"
#include "gradwind/parallel/collective_tape.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstring>
#include <numeric>

namespace gradwind::parallel
{

namespace detail
{
namespace
{

std::string members_text(const std::vector<int>& members)
{
    std::string text;
    const size_t shown = std::min<size_t>(members.size(), 8);
    for (size_t i = 0; i < shown; ++i)
        text += (i ? "," : "") + std::to_string(members[i]);
    return shown < members.size() ? text + ",..." : text;
}

} // namespace

std::string GroupState::failure_of(Verb verb, const std::string& what) const
{
    const int64_t step = health->step.load();
    std::string message =
        fmt::format("[comm] rank {}: {} in group {} (ranks {}) failed{}: {}", members[rank], name_of(verb), name,
                    members_text(members), step < 0 ? "" : fmt::format(" at step {}", step), what);
    if (FailureBoard* board = health->board())
        if (const std::string word = board->read(); !word.empty())
            message += "; " + word;
    return message;
}

void GroupState::raise(Verb verb, const std::string& what)
{
    const std::string message = failure_of(verb, what);
    health->die(message);
    throw CommError(message);
}

void GroupState::run(Verb verb, int64_t bytes, const std::function<void()>& collective)
{
    GRADWIND_CHECK(!health->dead(), CommError, "[comm] {} in group {} refused, an earlier failure ended it: {}",
                   name_of(verb), name, health->reason());
    if (auto* tape = CollectiveTape::current())
        tape->add({this, verb, bytes});
    else
        count(verb, bytes);
    if (backend)
        wait(verb, collective);
}

void GroupState::wait(Verb verb, const std::function<void()>& work)
{
    const auto start = std::chrono::steady_clock::now();
    try {
        work();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        raise(verb, error.what_without_backtrace());
    } catch (const std::exception& error) {
        raise(verb, error.what());
    }
    const auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start);
    counters[static_cast<size_t>(verb)].wait_ns.fetch_add(taken.count(), std::memory_order_relaxed);
}

} // namespace detail

namespace
{

int64_t total(std::span<const int64_t> rows)
{
    return std::accumulate(rows.begin(), rows.end(), int64_t{0});
}

int64_t bytes_of(const at::Tensor& x)
{
    return x.numel() * static_cast<int64_t>(x.element_size());
}

void sum_and_wait(detail::GroupState& state, const at::Tensor& x)
{
    std::unique_ptr<detail::Ticket> ticket;
    state.run(Verb::AllReduce, bytes_of(x), [&] { ticket = state.backend->all_reduce_sum(x, detail::Queue::Callers); });
    if (ticket)
        state.wait(Verb::AllReduce, [&] { ticket->wait(); });
}

void check_rows(const Group& group, const char* what, std::span<const int64_t> rows)
{
    GRADWIND_CHECK(static_cast<int>(rows.size()) == group.size(), ShapeError,
                   "[{}] expected one row count for each of the {} ranks of group {}, found {}", what, group.size(),
                   group.name(), rows.size());
    for (const int64_t count : rows)
        GRADWIND_CHECK(count >= 0, ShapeError, "[{}] a row count of group {} is negative: {}", what, group.name(),
                       count);
}

void check_first_dimension(const Group& group, const char* what, const at::Tensor& x, int64_t rows)
{
    GRADWIND_CHECK(x.dim() >= 1 && x.size(0) == rows, ShapeError,
                   "[{}] expected a tensor of {} rows in group {} on its rank {}, found shape [{}]", what, rows,
                   group.name(), group.rank(), fmt::join(x.sizes(), ", "));
}

void check_root(const Group& group, int root)
{
    GRADWIND_CHECK(root >= 0 && root < group.size(), InternalError, "[broadcast] group {} of size {} has no rank {}",
                   group.name(), group.size(), root);
}

/// [rows, ...] with the dtype and trailing dimensions of x.
at::Tensor new_rows(const at::Tensor& x, int64_t rows)
{
    auto shape = x.sizes().vec();
    shape[0] = rows;
    return at::empty(shape, x.options());
}

/// Host bytes as a tensor that the backend can send.
at::Tensor to_device(const detail::GroupState& state, std::string_view bytes)
{
    at::Tensor host = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
    std::memcpy(host.data_ptr(), bytes.data(), bytes.size());
    return host.to(state.backend->device());
}

std::string to_host(const at::Tensor& bytes)
{
    const at::Tensor host = bytes.cpu();
    return {static_cast<const char*>(host.data_ptr()), static_cast<size_t>(host.numel())};
}

} // namespace

const char* name_of(Verb verb)
{
    static constexpr std::array names = {"all_reduce", "all_gather", "reduce_scatter",
                                         "all_to_all", "broadcast",  "barrier"};
    return names[static_cast<size_t>(verb)];
}

int64_t Traffic::bytes() const
{
    int64_t sum = 0;
    for (const Count& count : verbs)
        sum += count.bytes;
    return sum;
}

Work::Work() = default;
Work::Work(std::unique_ptr<detail::WorkState> state) : state_(std::move(state)) {}
Work::Work(Work&&) noexcept = default;
Work& Work::operator=(Work&&) noexcept = default;
Work::~Work() = default;

void Work::wait()
{
    if (!state_)
        return;
    const auto state = std::move(state_);
    const auto wait = [&] { state->ticket->wait(); };
    state->group->wait(state->verb, std::ref(wait)); // a reference: nothing is allocated
}

std::function<bool()> Work::probe() const
{
    return state_ ? state_->ticket->probe() : std::function<bool()>();
}

Group Group::self(std::string name)
{
    auto state = std::make_shared<detail::GroupState>();
    state->name = std::move(name);
    state->members = {0};
    state->health = std::make_shared<detail::Health>(nullptr);
    return Group(std::move(state));
}

Group::Group(std::shared_ptr<detail::GroupState> state) : state_(std::move(state)) {}

const std::string& Group::name() const
{
    return state_->name;
}

int Group::rank() const
{
    return state_->rank;
}

int Group::size() const
{
    return static_cast<int>(state_->members.size());
}

const std::vector<int>& Group::members() const
{
    return state_->members;
}

void Group::all_reduce_sum_(at::Tensor x) const
{
    const at::NoGradGuard no_grad;
    const at::Tensor dense = x.contiguous();
    sum_and_wait(*state_, dense);
    if (!dense.is_same(x))
        x.copy_(dense);
}

Work Group::all_reduce_sum_async_(at::Tensor x) const
{
    GRADWIND_CHECK(x.is_contiguous(), ShapeError, "[all_reduce] an asynchronous sum needs a contiguous tensor");
    std::unique_ptr<detail::Ticket> ticket;
    const auto collective = [&] { ticket = state_->backend->all_reduce_sum(x, detail::Queue::Own); };
    state_->run(Verb::AllReduce, bytes_of(x), std::ref(collective)); // a reference: nothing is allocated
    return ticket ? Work(std::make_unique<detail::WorkState>(state_, Verb::AllReduce, std::move(ticket))) : Work();
}

at::Tensor Group::all_reduce_sum(const at::Tensor& x) const
{
    const at::NoGradGuard no_grad;
    const at::Tensor result = size() == 1 ? x : x.detach().clone(at::MemoryFormat::Contiguous);
    sum_and_wait(*state_, result.contiguous());
    return result;
}

at::Tensor Group::all_gather(const at::Tensor& x, std::span<const int64_t> rows) const
{
    check_rows(*this, "all_gather", rows);
    check_first_dimension(*this, "all_gather", x, rows[rank()]);
    const at::NoGradGuard no_grad;
    at::Tensor result = x;
    state_->run(Verb::AllGather, bytes_of(x), [&] {
        result = new_rows(x, total(rows));
        state_->backend->all_gather(result, x.detach().contiguous(), rows);
    });
    return result;
}

at::Tensor Group::all_gather(const at::Tensor& x) const
{
    GRADWIND_CHECK(x.dim() >= 1, ShapeError, "[all_gather] expected a tensor with rows, found a number");
    return all_gather(x, std::vector<int64_t>(size(), x.size(0)));
}

at::Tensor Group::reduce_scatter_sum(const at::Tensor& x, std::span<const int64_t> rows) const
{
    check_rows(*this, "reduce_scatter", rows);
    check_first_dimension(*this, "reduce_scatter", x, total(rows));
    const at::NoGradGuard no_grad;
    at::Tensor result = x;
    state_->run(Verb::ReduceScatter, bytes_of(x), [&] {
        result = new_rows(x, rows[rank()]);
        state_->backend->reduce_scatter_sum(result, x.detach().contiguous(), rows);
    });
    return result;
}

at::Tensor Group::all_to_all(const at::Tensor& x, std::span<const int64_t> send_rows,
                             std::span<const int64_t> receive_rows) const
{
    auto pending = all_to_all_async(x, send_rows, receive_rows);
    pending.work.wait();
    return pending.rows;
}

PendingRows Group::all_to_all_async(const at::Tensor& x, std::span<const int64_t> send_rows,
                                    std::span<const int64_t> receive_rows) const
{
    check_rows(*this, "all_to_all", send_rows);
    check_rows(*this, "all_to_all", receive_rows);
    check_first_dimension(*this, "all_to_all", x, total(send_rows));
    GRADWIND_CHECK(send_rows[rank()] == receive_rows[rank()], ShapeError,
                   "[all_to_all] rank {} of group {} sends itself {} rows but expects {}", rank(), name(),
                   send_rows[rank()], receive_rows[rank()]);
    const at::NoGradGuard no_grad;
    at::Tensor result = x;
    std::unique_ptr<detail::Ticket> ticket;
    state_->run(Verb::AllToAll, bytes_of(x), [&] {
        result = new_rows(x, total(receive_rows));
        ticket = state_->backend->all_to_all(result, x.detach().contiguous(), receive_rows, send_rows);
    });
    if (!ticket)
        return {result, Work()};
    return {result, Work(std::make_unique<detail::WorkState>(state_, Verb::AllToAll, std::move(ticket)))};
}

void Group::broadcast_(at::Tensor x, int root) const
{
    check_root(*this, root);
    const at::NoGradGuard no_grad;
    state_->run(Verb::Broadcast, rank() == root ? bytes_of(x) : 0, [&] {
        const at::Tensor dense = x.detach().contiguous();
        state_->backend->broadcast(dense, root);
        if (dense.data_ptr() != x.data_ptr())
            x.copy_(dense);
    });
}

std::string Group::broadcast_bytes(std::string_view bytes, int root) const
{
    check_root(*this, root);
    std::string result(bytes);
    state_->run(Verb::Broadcast, rank() == root ? static_cast<int64_t>(bytes.size()) : 0, [&] {
        const auto device = state_->backend->device();
        at::Tensor length = at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong).to(device);
        state_->backend->broadcast(length, root);
        at::Tensor payload = rank() == root ? to_device(*state_, bytes)
                                            : at::empty({length.item<int64_t>()}, at::device(device).dtype(at::kByte));
        if (payload.numel() > 0)
            state_->backend->broadcast(payload, root);
        result = to_host(payload);
    });
    return result;
}

std::vector<std::string> Group::all_gather_bytes(std::string_view bytes) const
{
    std::vector<std::string> result = {std::string(bytes)};
    state_->run(Verb::AllGather, static_cast<int64_t>(bytes.size()), [&] {
        const auto device = state_->backend->device();
        const auto own = at::full({1}, static_cast<int64_t>(bytes.size()), at::kLong).to(device);
        at::Tensor lengths = at::empty({size()}, own.options());
        state_->backend->all_gather(lengths, own, std::vector<int64_t>(size(), 1));
        lengths = lengths.cpu();
        const std::span<const int64_t> rows(lengths.data_ptr<int64_t>(), static_cast<size_t>(size()));
        at::Tensor all = at::empty({total(rows)}, at::device(device).dtype(at::kByte));
        if (all.numel() > 0)
            state_->backend->all_gather(all, to_device(*state_, bytes), rows);
        const std::string joined = to_host(all);
        result.clear();
        size_t at = 0;
        for (const int64_t length : rows) {
            result.push_back(joined.substr(at, static_cast<size_t>(length)));
            at += static_cast<size_t>(length);
        }
    });
    return result;
}

namespace
{

/// Folds the ranks' vectors in rank order, so that all ranks get the same bits.
template <class Fold>
std::vector<double> fold_over_ranks(const Group& group, std::span<const double> values, Fold fold)
{
    const std::string_view own(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    std::vector<double> result;
    for (const std::string& bytes : group.all_gather_bytes(own)) {
        GRADWIND_CHECK(bytes.size() == own.size(), ShapeError,
                       "[comm] ranks of group {} combine {} and {} numbers: all must bring as many", group.name(),
                       values.size(), bytes.size() / sizeof(double));
        std::vector<double> theirs(values.size());
        std::memcpy(theirs.data(), bytes.data(), bytes.size());
        for (size_t i = 0; i < theirs.size() && !result.empty(); ++i)
            result[i] = fold(result[i], theirs[i]);
        if (result.empty())
            result = std::move(theirs);
    }
    return result;
}

} // namespace

std::vector<double> Group::sum(std::span<const double> values) const
{
    return fold_over_ranks(*this, values, [](double a, double b) { return a + b; });
}

std::vector<double> Group::max(std::span<const double> values) const
{
    return fold_over_ranks(*this, values, [](double a, double b) { return a >= b || a != a ? a : b; });
}

void Group::barrier() const
{
    state_->run(Verb::Barrier, 0, [&] { state_->backend->barrier(); });
}

Traffic Group::traffic() const
{
    Traffic result;
    for (size_t verb = 0; verb < kVerbs; ++verb) {
        const auto& counter = state_->counters[verb];
        result.verbs[verb] = {counter.calls.load(), counter.bytes.load(),
                              1e-9 * static_cast<double>(counter.wait_ns.load())};
    }
    return result;
}

void Group::set_step(int64_t step) const
{
    state_->health->step = step;
}

std::string Group::failure() const
{
    return state_->health->reason();
}

void Group::fail(const std::string& message) const
{
    const int64_t step = state_->health->step.load();
    const std::string word = fmt::format("rank {} had failed{}: {}", state_->members[state_->rank],
                                         step < 0 ? "" : fmt::format(" at step {}", step), message);
    const bool first = !state_->health->dead();
    state_->health->die(word);
    if (auto* board = state_->health->board(); board && first)
        board->post(word);
}

} // namespace gradwind::parallel
