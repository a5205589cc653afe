// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What to do about numbers that are none.
#pragma once
#include "gradwind/core/torch_version.h"
#include "gradwind/train/batch_feeder.h"
#include "gradwind/train/settings.h"

#include <string>

namespace gradwind::train
{

/// The first NaN or infinity of a processed batch as words: variable, date, how many, which data set; empty if there is
/// none.
[[nodiscard]] std::string find_bad_value(const RawBatch& batch, const Stage& stage,
                                         const std::vector<int64_t>& relative_indices);

/// @throws DataError naming variable and date, if the batch holds NaN or infinity after processing
void require_clean(const RawBatch& batch, const Stage& stage, const std::vector<int64_t>& relative_indices);

/// Autocast for a precision: bf16 on the device of the run under `bf16-mixed`, else off.
[[nodiscard]] AutocastState autocast_for(Precision precision, at::Device device);

} // namespace gradwind::train
