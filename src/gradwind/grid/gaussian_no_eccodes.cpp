// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/grid/gaussian.h"

namespace gradwind::grid
{

std::vector<int64_t> classical_row_lengths(int64_t n_per_hemisphere)
{
    throw ConfigError(fmt::format("[grid] the grid n{0} needs ecCodes, which this build leaves out; build with "
                                  "GRADWIND_WITH_ECCODES=ON, take o{0}, or give a stored graph as system.input.graph",
                                  n_per_hemisphere));
}

} // namespace gradwind::grid
