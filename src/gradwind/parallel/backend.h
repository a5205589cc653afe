// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a communication library has to provide; private to parallel. Group checks arguments, counts and names errors.
#pragma once
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/group.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>

namespace gradwind::parallel::detail
{

/// Something that can be waited for; wait() throws whatever the library throws.
class Ticket
{
public:
    virtual ~Ticket() = default;
    virtual void wait() = 0;
    /// Says whether it is done, from any thread; may outlive the ticket. Null where nobody can tell.
    [[nodiscard]] virtual std::function<bool()> probe() const { return {}; }
};

/// Work on the same tensors that is started before each wait(). The first wait() after an error throws it.
class Repeatable : public Ticket
{
public:
    virtual void start() = 0;
    /// Of what this keeps from one start to the next, besides the tensor.
    [[nodiscard]] virtual int64_t buffer_bytes() const { return 0; }
};

/// Where a device finds the work of a collective: in a queue of its own, beside what the caller goes on to do, or in
/// the caller's.
enum class Queue { Own, Callers };

/// Collectives among size() >= 2 processes on contiguous tensors of device(). Any dtype. Errors are thrown as they
/// come.
class Backend
{
public:
    virtual ~Backend() = default;
    [[nodiscard]] virtual at::Device device() const = 0;
    /// @param queue  Callers: what is queued next comes after the sum, whenever it is waited for
    [[nodiscard]] virtual std::unique_ptr<Ticket> all_reduce_sum(at::Tensor x, Queue queue) = 0;
    /// all_reduce_sum() of one tensor, in every step again.
    [[nodiscard]] virtual std::unique_ptr<Repeatable> repeated_sum(at::Tensor x) = 0;
    /// The same, added in rank order, by copies straight between the memories of processes of one node. Every rank
    /// starts such sums in the same order. Bf16: shares are rounded, x is fp32. @collective
    /// @param queue  beside what the caller goes on to do, or, where x is not large, between start() and wait() only
    /// @return null on all ranks where that cannot be
    [[nodiscard]] virtual std::unique_ptr<Repeatable> copied_sum(at::Tensor /*x*/, WireType /*wire*/, Queue /*queue*/)
    {
        return nullptr;
    }
    virtual void all_gather(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) = 0;
    virtual void reduce_scatter_sum(at::Tensor out, at::Tensor in, std::span<const int64_t> rows) = 0;
    [[nodiscard]] virtual std::unique_ptr<Ticket> all_to_all(at::Tensor out, at::Tensor in,
                                                             std::span<const int64_t> receive_rows,
                                                             std::span<const int64_t> send_rows) = 0;
    virtual void broadcast(at::Tensor x, int root) = 0;
    virtual void barrier() = 0;
    /// Another process will not come: what waits for it on this process's device goes on with whatever is there, so
    /// that this process can leave. From any thread.
    virtual void give_up() noexcept {}
};

/// Where a process leaves word of its failure for the others. Never throws and never blocks for long.
class FailureBoard
{
public:
    virtual ~FailureBoard() = default;
    virtual void post(const std::string& message) noexcept = 0;
    [[nodiscard]] virtual std::string read() noexcept = 0;
};

/// Life and death of all groups of one world in this process.
class Health
{
public:
    explicit Health(std::shared_ptr<FailureBoard> board) : board_(std::move(board)) {}
    [[nodiscard]] std::string reason() const
    {
        const std::lock_guard lock(mutex_);
        return reason_;
    }
    [[nodiscard]] bool dead() const { return dead_.load(std::memory_order_acquire); }
    /// The first reason stays. Backends that are still there give up; where one of them has a GPU and this process is
    /// still there a few seconds later, the last resort is taken (world.h).
    void die(const std::string& reason);
    /// One of those that die with this world.
    void add(const std::shared_ptr<Backend>& backend);
    [[nodiscard]] FailureBoard* board() const { return board_.get(); }
    std::atomic<int64_t> step = -1;

private:
    std::shared_ptr<FailureBoard> board_;
    std::vector<std::weak_ptr<Backend>> backends_;
    mutable std::mutex mutex_;
    std::atomic<bool> dead_ = false;
    std::string reason_;
};

struct GroupState {
    virtual ~GroupState() = default;
    std::string name;
    int rank = 0;
    std::vector<int> members;         ///< world ranks; this process is members[rank]
    std::shared_ptr<Backend> backend; ///< null at size one
    std::shared_ptr<Health> health;
    struct Counter {
        std::atomic<int64_t> calls = 0, bytes = 0, wait_ns = 0;
    };
    std::array<Counter, kVerbs> counters;

    /// A collective of this rank was, or is about to be, started.
    void count(Verb verb, int64_t bytes)
    {
        auto& counter = counters[static_cast<size_t>(verb)];
        counter.calls.fetch_add(1, std::memory_order_relaxed);
        if (backend)
            counter.bytes.fetch_add(bytes, std::memory_order_relaxed);
    }
    /// Runs a collective, counting it and turning what it throws into a CommError that says where we were.
    void run(Verb verb, int64_t bytes, const std::function<void()>& collective);
    /// Calls what may wait for other ranks, and counts how long that took.
    void wait(Verb verb, const std::function<void()>& work);
    /// What is said of a collective that has failed: rank, group, step, and what another rank has left word of.
    [[nodiscard]] std::string failure_of(Verb verb, const std::string& what) const;
    /// The end of all groups of this world.
    [[noreturn]] void raise(Verb verb, const std::string& what);
};

struct WorkState {
    WorkState(std::shared_ptr<GroupState> group, Verb verb, std::unique_ptr<Ticket> ticket)
        : group(std::move(group)), verb(verb), ticket(std::move(ticket))
    {
    }
    std::shared_ptr<GroupState> group;
    Verb verb;
    std::unique_ptr<Ticket> ticket;
};

/// How a process finds the others and how long it waits for them.
struct Connection {
    int rank = 0;
    int size = 1;
    std::string scope; ///< unique name of the group inside the store
    std::chrono::milliseconds timeout{};
    int local_rank = 0;     ///< number of our GPU on this node
    bool same_host = false; ///< all processes run here: the loopback device will do
};

/// Opaque handle on a c10d store.
class StoreHandle;

/// Connects a group; collective over its ranks. @throws ConfigError if this build has no such backend
[[nodiscard]] std::shared_ptr<Backend> connect_gloo(StoreHandle& store, const Connection& connection);
[[nodiscard]] std::shared_ptr<Backend> connect_nccl(StoreHandle& store, const Connection& connection);
[[nodiscard]] bool has_gloo();
[[nodiscard]] bool has_nccl();

} // namespace gradwind::parallel::detail
