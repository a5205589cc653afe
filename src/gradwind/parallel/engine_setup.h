// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a gradient engine works out before its first step; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"

#include <string>
#include <vector>

namespace gradwind::parallel::detail
{

/// What all ranks have to have in common: a line per parameter, then the options.
[[nodiscard]] std::string manifest_of(const std::vector<NamedParameter>& parameters, const EngineOptions& options);

/// Reverse of the order of registration, which is about the order of use: what is used last is ready first.
[[nodiscard]] std::vector<size_t> reversed_order(size_t count);

/// Indices of the parameters with these names. @throws ConfigError unless they are all of them, once
[[nodiscard]] std::vector<size_t> order_from_names(const std::vector<NamedParameter>& parameters,
                                                   const std::vector<std::string>& names);

} // namespace gradwind::parallel::detail
