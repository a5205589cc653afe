// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// One process of one layout: trains a few steps and compares them with those of the reference.
#pragma once
#include "gradwind/train/run_state.h"
#include "gradwind/train/step_hooks.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace gradwind::verify
{

/// What tensors and numbers may differ by, relative to their size, for a precision and a depth of summation.
struct Tolerances {
    double gradient = 0; ///< of max(|b|, 1e-3 |all gradients|), with b the reference's
    double weight = 0;   ///< of |b|
    double loss = 0;
    double metric = 0;
    double zero = 0;                   ///< a gradient below this part of all gradients is zero but for rounding
    bool compares_zero_weights = true; ///< whether weights with such gradients are compared, by size
};
/// @param depth  numbers that the longest sum adds up
[[nodiscard]] Tolerances tolerances_for(const std::string& precision, int64_t depth);

/// What every process of one layout is told, in a file.
struct WorkerOrder {
    std::filesystem::path config;
    std::vector<std::string> overrides;
    train::Reference reference;
    std::filesystem::path folder;           ///< of this layout: run folder, results
    std::filesystem::path reference_folder; ///< empty for the reference itself
    std::string precision = "64-true";
};
void write_order(const WorkerOrder& order, const std::filesystem::path& file);
[[nodiscard]] WorkerOrder read_order(const std::filesystem::path& file);

/// Results of one rank: {rank, refused?, stopped?, cells, steps, checks, validation}.
[[nodiscard]] std::filesystem::path result_file(const std::filesystem::path& folder, int rank);

/// Trains as ordered, with the layout's environment of this process, and leaves a result. What a configuration is
/// refused for, and what stops it, is part of the result.
/// @param hooks  called before this looks at what they see
/// @return exit code @collective all processes of the layout
int run_layout_worker(const std::filesystem::path& order_file, train::StepHooks& hooks);

} // namespace gradwind::verify
