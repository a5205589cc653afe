// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Words for messages.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace gradwind
{

/// The candidate with the smallest edit distance to `word`, else one that contains it; empty if none is near enough.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// " (did you mean `x`?)" or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

} // namespace gradwind
