// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A group of processes and its collectives. A group of size one works: its collectives return their input.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::parallel
{

namespace detail
{
struct GroupState;
struct WorkState;
class Backend;
class Health;
} // namespace detail

enum class Verb { AllReduce, AllGather, ReduceScatter, AllToAll, Broadcast, Barrier };
inline constexpr size_t kVerbs = 6;
[[nodiscard]] const char* name_of(Verb verb);

/// What this rank handed to the collectives of one group since it was made.
struct Traffic {
    struct Count {
        int64_t calls = 0;
        int64_t bytes = 0; ///< of this rank's input, whatever the algorithm sends; 0 at size one
        double wait_s = 0; ///< in which a thread of this process was held up; on a GPU only what the host notices
    };
    std::array<Count, kVerbs> verbs;
    [[nodiscard]] const Count& of(Verb verb) const { return verbs[static_cast<size_t>(verb)]; }
    [[nodiscard]] int64_t bytes() const;
};

/// A collective under way. Its tensors must not be touched before wait() has returned.
class Work
{
public:
    /// Nothing under way: wait() returns at once.
    Work();
    explicit Work(std::unique_ptr<detail::WorkState> state);
    Work(Work&&) noexcept;
    Work& operator=(Work&&) noexcept;
    ~Work();
    /// Until the result is there (on a GPU: until later work of the current stream will see it). @throws CommError
    void wait();
    /// Says whether the result is there, from any thread; may outlive this. Null where nobody can tell.
    [[nodiscard]] std::function<bool()> probe() const;

private:
    std::unique_ptr<detail::WorkState> state_;
};

/// Rows that are under way; complete once the work is.
struct PendingRows {
    at::Tensor rows;
    Work work;
};

/// Ranks that work together. Copies share one group.
///
/// Every collective must be called by all ranks of the group in the same order. Tensors are of the group's device
/// kind, of any dtype, any stride; row counts refer to dimension 0 and may be zero or differ between ranks.
/// @throws CommError from every collective, naming rank, group, collective and step, on a fault or timeout; from then
///         on all groups that come from the same world are dead and every call fails at once
/// @throws ShapeError for arguments that do not fit, before anything is sent
class Group
{
public:
    /// One process by itself.
    [[nodiscard]] static Group self(std::string name = "self");
    explicit Group(std::shared_ptr<detail::GroupState> state);

    [[nodiscard]] const std::string& name() const;
    [[nodiscard]] int rank() const;
    [[nodiscard]] int size() const;
    /// World ranks of the members, in group order.
    [[nodiscard]] const std::vector<int>& members() const;

    /// x becomes the sum over ranks, equal on all of them bit for bit. bf16 is summed in fp32 and rounded once.
    void all_reduce_sum_(at::Tensor x) const;
    /// The same, not waiting. x must be contiguous.
    [[nodiscard]] Work all_reduce_sum_async_(at::Tensor x) const;
    /// The sum in a new tensor; x itself at size one.
    [[nodiscard]] at::Tensor all_reduce_sum(const at::Tensor& x) const;

    /// Rows of all ranks in rank order: x is [rows[rank()], ...], the result [sum(rows), ...].
    [[nodiscard]] at::Tensor all_gather(const at::Tensor& x, std::span<const int64_t> rows) const;
    /// Where every rank has as many rows as this one.
    [[nodiscard]] at::Tensor all_gather(const at::Tensor& x) const;

    /// Own block of the sum over ranks: x is [sum(rows), ...] on every rank, the result [rows[rank()], ...].
    /// Summed in rank order, bf16 in fp32.
    [[nodiscard]] at::Tensor reduce_scatter_sum(const at::Tensor& x, std::span<const int64_t> rows) const;

    /// Block r of x goes to rank r: x is [sum(send_rows), ...], the result [sum(receive_rows), ...] in rank order.
    [[nodiscard]] at::Tensor all_to_all(const at::Tensor& x, std::span<const int64_t> send_rows,
                                        std::span<const int64_t> receive_rows) const;
    /// The same, not waiting.
    [[nodiscard]] PendingRows all_to_all_async(const at::Tensor& x, std::span<const int64_t> send_rows,
                                               std::span<const int64_t> receive_rows) const;

    /// x of the root on every rank, in place.
    void broadcast_(at::Tensor x, int root) const;
    /// Bytes of the root on every rank; the argument of the others is not looked at.
    [[nodiscard]] std::string broadcast_bytes(std::string_view bytes, int root) const;
    /// Bytes of every rank, in rank order.
    [[nodiscard]] std::vector<std::string> all_gather_bytes(std::string_view bytes) const;
    /// Element by element over ranks, added in rank order; equal on all ranks bit for bit.
    [[nodiscard]] std::vector<double> sum(std::span<const double> values) const;
    [[nodiscard]] std::vector<double> max(std::span<const double> values) const;
    void barrier() const;

    [[nodiscard]] Traffic traffic() const;
    /// The optimiser step named in messages, for all groups of this world; -1: none.
    void set_step(int64_t step) const;
    /// Why no collective can work any more; empty while all is well.
    [[nodiscard]] std::string failure() const;
    /// Declares this process unable to go on: our groups are dead, and what the other ranks report when they fail to
    /// reach us includes this message.
    void fail(const std::string& message) const;

    /// For parallel itself.
    [[nodiscard]] const std::shared_ptr<detail::GroupState>& state() const { return state_; }

private:
    std::shared_ptr<detail::GroupState> state_;
};

} // namespace gradwind::parallel
