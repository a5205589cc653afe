// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/repeated_sum.h"

#include "gradwind/core/error.h"

#include <ATen/core/Tensor.h>

namespace gradwind::parallel::detail
{

RepeatedSum::RepeatedSum(const Group& group, at::Tensor x, Route route)
    : group_(group.state()), bytes_(static_cast<int64_t>(x.nbytes()))
{
    GRADWIND_CHECK(x.is_contiguous(), ShapeError, "[all_reduce] a repeated sum needs a contiguous tensor");
    if (!group_->backend)
        return;
    if (route != Route::Library)
        sum_ = group_->backend->copied_sum(x, WireType::AsStored,
                                           route == Route::CopyInLine ? Queue::Callers : Queue::Own);
    if (!sum_)
        sum_ = group_->backend->repeated_sum(std::move(x));
}

RepeatedSum::RepeatedSum(const Group& group, int64_t bytes, std::unique_ptr<Repeatable> sum)
    : group_(group.state()), bytes_(bytes), sum_(std::move(sum))
{
}

std::optional<RepeatedSum> RepeatedSum::by_copies(const Group& group, const at::Tensor& x, WireType wire, Queue queue)
{
    auto sum = group.state()->backend ? group.state()->backend->copied_sum(x, wire, queue) : nullptr;
    if (!sum)
        return std::nullopt;
    return RepeatedSum(group, wire == WireType::Bf16 ? 2 * x.numel() : int64_t(x.nbytes()), std::move(sum));
}

void RepeatedSum::start()
{
    const auto start = [&] { sum_->start(); };
    group_->run(Verb::AllReduce, bytes_, std::ref(start)); // a reference: nothing is allocated
}

void RepeatedSum::wait()
{
    if (!sum_)
        return;
    const auto wait = [&] { sum_->wait(); };
    group_->wait(Verb::AllReduce, std::ref(wait));
}

std::function<bool()> RepeatedSum::probe() const
{
    return sum_ ? sum_->probe() : std::function<bool()>();
}

} // namespace gradwind::parallel::detail
