// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Makes a data set that Anemoi and gradwind read (spec §14) from a recipe.
#pragma once
#include "gradwind/data/create_recipe.h"
#include "gradwind/data/zarr_writer.h"

#include <functional>

namespace gradwind::data
{

struct CreateProgress {
    enum class Stage { Scan, Write };
    Stage stage = Stage::Write;
    int64_t done = 0; ///< dates
    int64_t total = 0;
};

struct CreateOptions {
    std::filesystem::path output;
    ZarrWriter::Existing existing = ZarrWriter::Existing::Refuse;
    std::function<void(const CreateProgress&)> progress; ///< called after every date, from the calling thread
};

/// What was made.
struct CreateReport {
    std::vector<int64_t> shape; ///< dates, variables, members, cells
    std::vector<std::string> variables;
    std::vector<int64_t> missing; ///< positions of missing dates
    int64_t dropped_cells = 0;
    ZarrWriter::Size size;
};

/// Reads every source date by date and writes the store; statistics are gathered on the way. Memory: one chunk of
/// dates, a second one where tendencies reach back behind it, and one field. On an error nothing is left at `output`.
/// @throws ConfigError, DataError
CreateReport create_dataset(const Recipe& recipe, const CreateOptions& options);

} // namespace gradwind::data
