// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Collectives that gradients flow through: every backward is the true adjoint of its forward.
#pragma once
#include "gradwind/parallel/exchange_plan.h"
#include "gradwind/parallel/group.h"

namespace gradwind::parallel
{

/// Rows of all ranks in rank order: x is [rows[rank], ...], the result [sum(rows), ...].
/// @gradient own rows of the sum over ranks (reduce-scatter)
/// @collective forward and backward; groups of one return x
[[nodiscard]] at::Tensor gather_rows(const at::Tensor& x, std::span<const int64_t> rows, const Group& group);

/// Own rows of the sum over ranks: x is [sum(rows), ...], the result [rows[rank], ...].
/// @gradient rows of all ranks (all-gather)
[[nodiscard]] at::Tensor scatter_sum_rows(const at::Tensor& x, std::span<const int64_t> rows, const Group& group);

/// Block r of x goes to rank r: x is [sum(send_rows), ...], the result [sum(receive_rows), ...] in rank order.
/// @gradient the reverse exchange
[[nodiscard]] at::Tensor exchange_rows(const at::Tensor& x, std::span<const int64_t> send_rows,
                                       std::span<const int64_t> receive_rows, const Group& group);

/// The sum over ranks, on all of them. @gradient the sum of the ranks' gradients
[[nodiscard]] at::Tensor sum_over_ranks(const at::Tensor& x, const Group& group);

namespace detail
{
struct HaloState;
struct HaloCall;
struct HaloTape;
} // namespace detail

/// Appends to the owned rows of a node set those rows of other ranks that this rank's edges need.
///
/// Copies share what is known about the exchange. Without a plan, or in a group of one, it returns its input.
class HaloExchange
{
public:
    HaloExchange();
    /// @param copies  of the node set, each with the same edges (batch times members)
    /// @param device  of the tensors
    HaloExchange(Group group, const ExchangePlan& plan, int64_t copies, at::Device device);

    [[nodiscard]] bool is_identity() const { return state_ == nullptr; }

    /// An exchange under way; what does not need the halo can be computed meanwhile, and what is computed between
    /// start() and rows() has its backward between the two halves of the reverse exchange.
    class Arrival
    {
    public:
        /// x as it lies before the halo: whoever keeps this and rows() keeps it once.
        [[nodiscard]] const at::Tensor& own() const;
        /// [copies * (n_owned + n_halo), ...]: x, then the received rows, to be addressed by
        /// ExchangePlan::sources_of_copies(). These are there after finish() only.
        [[nodiscard]] at::Tensor rows() const;
        void finish() const;
        /// Both.
        [[nodiscard]] at::Tensor wait() const;
        /// Nothing is under way.
        [[nodiscard]] bool is_identity() const { return call_ == nullptr; }

    private:
        friend class HaloExchange;
        at::Tensor rows_, own_;
        std::shared_ptr<detail::HaloCall> call_;
    };
    /// @param x  [copies * n_owned, ...]
    /// @gradient what came for the halo goes back to its owners, which add it rank after rank: same bits every time
    /// @collective forward, and backward where x needs a gradient; sends copies * n_send rows and back copies * n_halo
    [[nodiscard]] Arrival start(const at::Tensor& x) const;
    [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const { return start(x).wait(); }

    /// The same exchange for a part of the network that runs again in backward (ops::region): the second run takes the
    /// rows that the first received. One such object serves one region.
    [[nodiscard]] HaloExchange remembering() const;
    /// To be called first in every run of that region.
    void begin_run() const;

private:
    std::shared_ptr<const detail::HaloState> state_;
    std::shared_ptr<detail::HaloTape> tape_;
};

} // namespace gradwind::parallel
