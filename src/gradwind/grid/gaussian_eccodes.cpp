// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <eccodes.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <memory>

#include "gradwind/core/error.h"
#include "gradwind/grid/gaussian.h"

namespace gradwind::grid
{

namespace
{

// The samples that ecCodes ships; asking it for another one makes it print to stderr.
constexpr std::array<int64_t, 16> kTables{32, 48, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 640, 1024, 1280, 2000};

} // namespace

std::vector<int64_t> classical_row_lengths(int64_t n_per_hemisphere)
{
    GRADWIND_CHECK(std::find(kTables.begin(), kTables.end(), n_per_hemisphere) != kTables.end(), ConfigError,
                   "[grid] ecCodes has no table for the reduced Gaussian grid n{0}; it has n{1}, and o{0} works for "
                   "every number",
                   n_per_hemisphere, fmt::join(kTables, " n"));
    const std::string sample = fmt::format("reduced_gg_pl_{}_grib2", n_per_hemisphere);
    const std::unique_ptr<codes_handle, int (*)(codes_handle*)> handle(
        codes_grib_handle_new_from_samples(nullptr, sample.c_str()), codes_handle_delete);
    GRADWIND_CHECK(
        handle != nullptr, ConfigError,
        "[grid] ecCodes cannot load its sample `{}`, which has the row lengths of n{}; is ECCODES_SAMPLES_PATH "
        "set wrongly, or libeccodes-data missing?",
        sample, n_per_hemisphere);
    size_t n_rows = 0;
    std::vector<long> rows;
    bool read = codes_get_size(handle.get(), "pl", &n_rows) == CODES_SUCCESS;
    if (read) {
        rows.resize(n_rows);
        read = codes_get_long_array(handle.get(), "pl", rows.data(), &n_rows) == CODES_SUCCESS;
    }
    GRADWIND_CHECK(read && static_cast<int64_t>(n_rows) == 2 * n_per_hemisphere, ConfigError,
                   "[grid] ecCodes' sample `{}` does not hold {} row lengths", sample, 2 * n_per_hemisphere);
    return {rows.begin(), rows.end()};
}

} // namespace gradwind::grid
