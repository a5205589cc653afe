// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Makes sure that all ranks hold the same thing before they work on it; private to parallel.
#pragma once
#include "gradwind/parallel/group.h"

#include <string>

namespace gradwind::parallel::detail
{

/// Compares 64 bits of each rank's text, and the texts only where those differ.
/// @collective @throws ConfigError, the same on all ranks, naming the first line that differs
void agree(const Group& world, const std::string& what, const std::string& text);

} // namespace gradwind::parallel::detail
