// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The single options of open_dataset: each changes a selection.
#pragma once
#include "gradwind/data/dataset_store.h"
#include "gradwind/data/open_dataset.h"

#include <functional>

namespace gradwind::data::detail
{

/// One step on the way from a store to a data set. `options` is the whole mapping: some options have a companion.
using OptionStep = void (*)(const Config& options, Selection& selection);

void apply_fill_missing_dates(const Config& options, Selection& selection);
void apply_period(const Config& options, Selection& selection);
void apply_frequency(const Config& options, Selection& selection);
void apply_select(const Config& options, Selection& selection);
void apply_drop(const Config& options, Selection& selection);
void apply_reorder(const Config& options, Selection& selection);
void apply_rename(const Config& options, Selection& selection);
void apply_statistics(const Config& options, Selection& selection);
void apply_trim_edge(const Config& options, Selection& selection);
void apply_thinning(const Config& options, Selection& selection);
void apply_area(const Config& options, Selection& selection);
void apply_members(const Config& options, Selection& selection);
void apply_set_missing_dates(const Config& options, Selection& selection);

/// Keeps the dates from start to end, texts as in position_of(); empty for no limit.
void cut_period(const std::string& start, const std::string& end, const std::string& where, Selection& selection);

} // namespace gradwind::data::detail
