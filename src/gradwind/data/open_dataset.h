// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// From the options that Anemoi users write to a data set.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/dataset.h"

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace gradwind::data
{

/// What anemoi-training puts around a data set: cut after all options of the data set itself. Empty for no cut.
struct OpenOptions {
    std::string start;
    std::string end;
};

/// Opens a data set: a path, or a mapping with `dataset` (a path or such a mapping again) and options.
///
/// Options, in the order in which they apply (spec §14.5): fill_missing_dates (closest), start, end, frequency, select,
/// drop, reorder, rename, statistics, trim_edge, thinning, area, number(s), member(s), set_missing_dates. Null options
/// count as absent. In the place of `dataset`, several data sets of the same kind: `join` puts their variables together
/// (the last one wins where they share a name), `concat` their dates (which follow each other; `fill_missing_gaps`),
/// `grids` their cells, and `cutout` the cells of limited areas and those of the last, global one outside them
/// (`min_distance_km`, `max_distance_km`, `cropping_distance`, `neighbours`). `adjust` (dates, start, end, frequency,
/// variables, select, all) first cuts them to what they have in common. A path that does not exist is tried with
/// ".zarr" behind it.
/// @throws ConfigError for an unknown or unsupported option, an unknown variable (listing what exists), a value out of
///         range, or a period without dates; DataError for a store that is absent or damaged
[[nodiscard]] std::shared_ptr<const Dataset> open_dataset(const Config& options, const OpenOptions& outer = {});
[[nodiscard]] std::shared_ptr<const Dataset> open_dataset(const nlohmann::json& options, const OpenOptions& outer = {});
[[nodiscard]] std::shared_ptr<const Dataset> open_dataset(const std::filesystem::path& store,
                                                          const OpenOptions& outer = {});

} // namespace gradwind::data
