// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Proves for a configuration that every layout gives the result of one process (design §4, the law of layouts).
#pragma once
#include "gradwind/verify/layouts_cases.h"
#include "gradwind/verify/report.h"

#include <functional>

namespace gradwind::verify
{

struct LayoutsRequest {
    std::filesystem::path config;
    std::vector<std::string> overrides;
    int n_processes = 2;               ///< of the largest layouts
    int64_t steps = 4;                 ///< optimiser steps, over two epochs
    std::string precision = "64-true"; ///< or "32-true"
    /// Only layouts whose name contains one of these; empty: all.
    std::vector<std::string> only;
    /// What each process of a layout runs, given the file of its order; ends in run_layout_worker().
    std::function<std::vector<std::string>(const std::filesystem::path& order)> command;
    /// Told what is done next.
    std::function<void(const std::string& line)> progress;
};

struct LayoutsResult {
    CommonWork work;
    LayoutCase reference;
    /// One per layout: samples, loss, every gradient and weight of every step on every rank, metrics, in the order in
    /// which they are worked out. Layouts that the library refuses say why in `not_run`.
    std::vector<CaseReport> reports;
    /// Whether no layout differs from the reference, and at least one was compared.
    [[nodiscard]] bool passed() const;
};

/// Trains the reference and every layout in processes of this machine, and compares them.
///
/// A layout of sharded models or ensembles that the library refuses with a ConfigError counts as not tried; any other
/// end that is not a good one is a failed check.
/// @throws ConfigError for a configuration that one process cannot train, or another precision
[[nodiscard]] LayoutsResult verify_layouts(const LayoutsRequest& request);

/// Common work, a table with a line per layout, then what differs first, and what was not tried and why.
[[nodiscard]] std::string format_layouts(const LayoutsResult& result, size_t max_failures = 8);
[[nodiscard]] nlohmann::json to_json(const LayoutsResult& result);

} // namespace gradwind::verify
