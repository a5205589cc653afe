// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/interior.h"

#include <algorithm>

namespace gradwind::parallel
{

std::vector<int64_t> count_interior(const Partition& sources, const Partition& destinations,
                                    std::span<const int32_t> src, std::span<const int32_t> dst)
{
    std::vector<char> is_interior(size_t(destinations.n_rows()), 1);
    for (size_t e = 0; e < src.size(); ++e)
        if (sources.owner(src[e]) != destinations.owner(dst[e]))
            is_interior[size_t(dst[e])] = 0;
    std::vector<int64_t> result(size_t(destinations.n_parts()), 0);
    for (int64_t row = 0; row < destinations.n_rows(); ++row)
        result[size_t(destinations.owner(row))] += is_interior[size_t(row)];
    return result;
}

double least_interior_share(std::span<const int64_t> interior, const Partition& destinations)
{
    double least = 1;
    for (size_t rank = 0; rank < interior.size(); ++rank)
        if (const auto own = destinations.size(int(rank)); own > 0)
            least = std::min(least, double(interior[rank]) / double(own));
    return least;
}

} // namespace gradwind::parallel
