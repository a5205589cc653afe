// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Arrays from NumPy's archives.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace gradwind::grid
{

/// All elements of the array `name` of an .npz archive (stored or deflated): float32, float64, int32 or int64,
/// little-endian.
/// @throws DataError for a missing file or array, or a format that this reader does not know
[[nodiscard]] std::vector<double> read_npz_doubles(const std::filesystem::path& path, const std::string& name);

} // namespace gradwind::grid
