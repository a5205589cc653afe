// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A loop over chunks on a few threads.
#pragma once
#include <cstdint>
#include <functional>

namespace gradwind::grid
{

/// Calls `body(begin, end)` for consecutive chunks of [0, n), on up to as many threads as there are cores (8 at most).
/// Chunks must not depend on each other; what they write must not depend on how [0, n) is cut. The first exception of a
/// chunk is thrown again here, after all have ended.
void for_each_chunk(int64_t n, const std::function<void(int64_t begin, int64_t end)>& body);

} // namespace gradwind::grid
