// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The sum of one tensor over ranks, in every step again; private to parallel.
#pragma once
#include "gradwind/parallel/backend.h"

#include <functional>
#include <memory>
#include <optional>

namespace gradwind::parallel::detail
{

/// How a sum comes about.
enum class Route {
    Library,     ///< the communication library's all-reduce
    CopyEngines, ///< by copies where Backend::copied_sum() can, else as above
    CopyInLine   ///< the same, in the caller's own queue
};

/// All-reduces of one tensor: what they take besides the sum itself is made once. Counted and named in errors as the
/// group's other collectives.
class RepeatedSum
{
public:
    /// @param x  contiguous; becomes the sum, as of Group::all_reduce_sum_async_() @collective @throws ShapeError
    RepeatedSum(const Group& group, at::Tensor x, Route route = Route::Library);
    /// By copies, with bf16 on the wire perhaps; nothing, on all ranks, where Backend::copied_sum() cannot. @collective
    [[nodiscard]] static std::optional<RepeatedSum> by_copies(const Group& group, const at::Tensor& x, WireType wire,
                                                              Queue queue = Queue::Own);
    /// Once before each wait(). @collective @throws CommError
    void start();
    /// As Work::wait(). @throws CommError
    void wait();
    /// As Work::probe(), of the sum started last.
    [[nodiscard]] std::function<bool()> probe() const;
    /// What this rank hands to the collective.
    [[nodiscard]] int64_t handed_bytes() const { return sum_ ? bytes_ : 0; }
    [[nodiscard]] int64_t buffer_bytes() const { return sum_ ? sum_->buffer_bytes() : 0; }

private:
    RepeatedSum(const Group& group, int64_t bytes, std::unique_ptr<Repeatable> sum);

    std::shared_ptr<GroupState> group_;
    int64_t bytes_;
    std::unique_ptr<Repeatable> sum_; ///< null at size one
};

} // namespace gradwind::parallel::detail
