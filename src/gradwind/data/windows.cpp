// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/windows.h"

#include <algorithm>

namespace gradwind::data
{

std::vector<int64_t> valid_anchors(const Dataset& dataset, std::span<const int64_t> relative_indices)
{
    const auto usable = [&](int64_t position) {
        return position >= 0 && position < dataset.n_dates() && !dataset.missing()[size_t(position)];
    };
    std::vector<int64_t> anchors;
    for (int64_t anchor = 0; anchor < dataset.n_dates(); ++anchor)
        if (std::all_of(relative_indices.begin(), relative_indices.end(),
                        [&](int64_t offset) { return usable(anchor + offset); }))
            anchors.push_back(anchor);
    return anchors;
}

} // namespace gradwind::data
