// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/batch_check.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

std::string find_bad_value(const RawBatch& batch, const data::Dataset& dataset,
                           const std::vector<int64_t>& relative_indices)
{
    if (!batch.values.defined())
        return {};
    const auto bad = at::isfinite(batch.values).logical_not().sum(at::IntArrayRef{2, 3}).to(at::kCPU).contiguous();
    const auto* counts = bad.data_ptr<int64_t>(); // [samples, T, variables]
    for (int64_t i = 0; i < bad.numel(); ++i) {
        if (counts[i] == 0)
            continue;
        const auto variable = size_t(i % bad.size(2));
        const auto time = size_t(i / bad.size(2) % bad.size(1)), sample = size_t(i / bad.size(2) / bad.size(1));
        const auto position = batch.anchors[sample] + relative_indices[time];
        return fmt::format("{} of {} values of `{}` at {} are NaN or infinite", counts[i],
                           batch.values.size(2) * batch.values.size(3), dataset.variables()[variable],
                           format_datetime(dataset.dates()[size_t(position)]));
    }
    return {};
}

void require_clean(const RawBatch& batch, const data::Dataset& dataset, const std::vector<int64_t>& relative_indices,
                   const std::string& stage)
{
    const auto found = find_bad_value(batch, dataset, relative_indices);
    GRADWIND_CHECK(found.empty(), DataError,
                   "[train] expected finite values in the {} data, found: {} ({}); cut the cells or dates away (area, "
                   "start, end, set_missing_dates), or add an imputer to data.datasets.<name>.processors",
                   stage, found, dataset.info().name);
}

AutocastState autocast_for(Precision precision, at::Device device)
{
    AutocastState state;
    auto& own = device.is_cuda() ? state.cuda : state.cpu;
    own.enabled = precision == Precision::Bf16Mixed;
    return state;
}

} // namespace gradwind::train
