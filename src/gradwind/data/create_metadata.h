// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The attributes of a data set (spec §14.3).
#pragma once
#include "gradwind/data/create_input.h"
#include "gradwind/data/zarr_writer.h"

namespace gradwind::data
{

/// What the attributes say beyond recipe and input.
struct CreateFacts {
    std::vector<int64_t> shape;
    std::vector<int64_t> chunks;
    std::vector<int64_t> missing_dates;       ///< seconds since 1970
    std::vector<std::string> constant_fields; ///< sorted
    int64_t dropped_cells = 0;
    ZarrWriter::Size size;
};

[[nodiscard]] nlohmann::json dataset_attributes(const Recipe& recipe, const CreateInput& input,
                                                const CreateFacts& facts);

} // namespace gradwind::data
