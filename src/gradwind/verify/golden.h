// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Runs folders of stored results of the original packages against gradwind.
#pragma once
#include "gradwind/verify/report.h"

#include <functional>

namespace gradwind::verify
{

/// The case folders at or directly below `folder`, sorted by name.
/// @throws DataError if there is no case.json in it or one level below
[[nodiscard]] std::vector<std::filesystem::path> find_cases(const std::filesystem::path& folder);

/// Runs one case by the `kind` its case.json names. An error while running becomes a failed check that carries its
/// message, so that one damaged case does not hide the others.
[[nodiscard]] CaseReport run_case(const std::filesystem::path& folder);

/// A table with one line per case: name, kind, number of checks, worst check with its error and tolerance, verdict;
/// below it what was not run and every failed check (at most `max_failures` per case).
[[nodiscard]] std::string format_table(const std::vector<CaseReport>& reports, size_t max_failures = 8);

/// The same as JSON: [{name, kind, passed, checks: [{name, error, tolerance, passed}], not_run: [..]}].
[[nodiscard]] nlohmann::json to_json(const std::vector<CaseReport>& reports);

} // namespace gradwind::verify
