// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/text.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <vector>

namespace gradwind
{

namespace
{

size_t edit_distance(std::string_view a, std::string_view b)
{
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t(0));
    for (size_t i = 0; i < a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b.size(); ++j) {
            const size_t substitution = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({substitution, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row[b.size()];
}

} // namespace

std::string nearest(std::string_view word, std::span<const std::string> candidates)
{
    std::string best;
    size_t best_distance = std::max<size_t>(2, word.size() / 2) + 1;
    for (const auto& candidate : candidates) {
        const auto distance = edit_distance(word, candidate);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidate;
        }
    }
    // A part of a longer name, such as `bf16` for `bf16-mixed`, is far by edits and yet what was meant.
    for (const auto& candidate : candidates)
        if (best.empty() && word.size() >= 3 && candidate.find(word) != std::string::npos)
            best = candidate;
    return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates)
{
    const auto guess = nearest(word, candidates);
    return guess.empty() ? std::string() : fmt::format(" (did you mean `{}`?)", guess);
}

} // namespace gradwind
