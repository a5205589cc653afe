// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The sum of one tensor over ranks, in every step again; private to parallel.
#pragma once
#include "gradwind/parallel/backend.h"

#include <functional>
#include <memory>

namespace gradwind::parallel::detail
{

/// All-reduces of one tensor: what they take besides the sum itself is made once. Counted and named in errors as the
/// group's other collectives.
class RepeatedSum
{
public:
    /// @param x  contiguous; becomes the sum, as of Group::all_reduce_sum_async_() @throws ShapeError
    RepeatedSum(const Group& group, at::Tensor x);
    /// Once before each wait(). @collective @throws CommError
    void start();
    /// As Work::wait(). @throws CommError
    void wait();
    /// As Work::probe(), of the sum started last.
    [[nodiscard]] std::function<bool()> probe() const;

private:
    std::shared_ptr<GroupState> group_;
    int64_t bytes_;
    std::unique_ptr<Repeatable> sum_; ///< null at size one
};

} // namespace gradwind::parallel::detail
