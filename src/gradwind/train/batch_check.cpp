// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/batch_check.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

namespace
{

std::string find_bad_value(const at::Tensor& values, const std::vector<int64_t>& anchors, const StagePart& part,
                           const std::vector<int64_t>& relative_indices)
{
    if (!values.defined())
        return {};
    const auto bad = at::isfinite(values).logical_not().sum(at::IntArrayRef{2, 3}).to(at::kCPU).contiguous();
    const auto* counts = bad.data_ptr<int64_t>(); // [samples, T, variables]
    for (int64_t i = 0; i < bad.numel(); ++i) {
        if (counts[i] == 0)
            continue;
        const auto variable = size_t(i % bad.size(2));
        const auto time = size_t(i / bad.size(2) % bad.size(1)), sample = size_t(i / bad.size(2) / bad.size(1));
        const auto position = anchors[sample] + part.shift + relative_indices[time];
        return fmt::format("{} of {} values of `{}` at {} are NaN or infinite ({})", counts[i],
                           values.size(2) * values.size(3), part.dataset->variables()[variable],
                           format_datetime(part.dataset->dates()[size_t(position)]), part.dataset->info().name);
    }
    return {};
}

} // namespace

std::string find_bad_value(const RawBatch& batch, const Stage& stage, const std::vector<int64_t>& relative_indices)
{
    for (size_t i = 0; i < batch.values.size(); ++i)
        if (auto found = find_bad_value(batch.values[i], batch.anchors, stage.parts()[i], relative_indices);
            !found.empty())
            return found;
    return {};
}

void require_clean(const RawBatch& batch, const Stage& stage, const std::vector<int64_t>& relative_indices)
{
    const auto found = find_bad_value(batch, stage, relative_indices);
    GRADWIND_CHECK(found.empty(), DataError,
                   "[train] expected finite values in the {} data, found: {}; cut the cells or dates away (area, "
                   "start, end, set_missing_dates), or add an imputer to data.datasets.<name>.processors",
                   stage.name(), found);
}

AutocastState autocast_for(Precision precision, at::Device device)
{
    AutocastState state;
    auto& own = device.is_cuda() ? state.cuda : state.cpu;
    own.enabled = precision == Precision::Bf16Mixed;
    return state;
}

} // namespace gradwind::train
