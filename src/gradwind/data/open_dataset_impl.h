// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How open_dataset works: options change a selection of what a store, or several data sets together, hold.
#pragma once
#include "gradwind/data/combined_dataset.h"
#include "gradwind/data/dataset_store.h"
#include "gradwind/data/open_dataset.h"

#include <functional>

namespace gradwind::data::detail
{

struct Combination;

/// A data set while options are applied to it: a selection of what a store holds, or several data sets together.
struct Opened {
    std::shared_ptr<const Store> store;
    std::shared_ptr<const Combination> combination; ///< where there is no store
    Selection selection;
};

/// Data sets that lie one after the other along an axis. Positions of a selection of them count through all parts;
/// those along the other axes are the same in each.
struct Combination {
    Axis axis = Axis::Variables;
    std::vector<Opened> parts;
};

/// A path, or a mapping of options. @throws as open_dataset
[[nodiscard]] Opened open_options(const Config& options);

/// The options that name several data sets: join (of variables), concat (of dates), grids and cutout (of cells).
[[nodiscard]] const std::vector<std::string>& combining_options();
/// Opens what one of them names, with its companions (`adjust`, `fill_missing_gaps`, `min_distance_km` and so on).
/// @throws ConfigError where the data sets do not fit together
[[nodiscard]] Opened open_combination(const Config& options);
/// The points of the first data sets, and those of the last that lie outside theirs (spec: anemoi-datasets' cutout).
/// @return a mask for each part
[[nodiscard]] std::vector<std::vector<char>> cutout_masks(const Config& options, const std::vector<Opened>& parts);

/// What is read: selections are handed down to the parts, so that no part reads what nobody asked for.
[[nodiscard]] std::shared_ptr<const Dataset> make_dataset(Opened opened);

// Each keeps these positions of its axis, in this order (cells: ascending), and the description with them.
void keep_dates(const std::vector<int64_t>& positions, Selection& selection);
void keep_variables(const std::vector<int64_t>& positions, Selection& selection);
void keep_members(const std::vector<int64_t>& positions, Selection& selection);
void keep_cells(const std::vector<int64_t>& positions, Selection& selection);

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
