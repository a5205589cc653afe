// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a comparison with stored results found, check by check.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace gradwind::verify
{

/// One number held against its tolerance. Exact comparisons have tolerance 0 and count differences.
struct Check {
    std::string name; ///< "io64 grad.encoder.0.emb_edges.mlp.0.weight"
    double error = 0; ///< relative unless the name says otherwise; NaN never passes
    double tolerance = 0;
    [[nodiscard]] bool passed() const { return error <= tolerance; }
};

struct CaseReport {
    std::string name;
    std::string kind;
    std::vector<Check> checks;
    std::vector<std::string> not_run; ///< parts of the case that gradwind cannot do yet, each with the reason
    void check(std::string what, double error, double tolerance)
    {
        checks.push_back({std::move(what), error, tolerance});
    }
    /// Every check passed, there was at least one, and nothing was left out.
    [[nodiscard]] bool passed() const;
    /// The check with the largest error over tolerance; nullptr without checks.
    [[nodiscard]] const Check* worst() const;
};

/// Runs one case folder (with its parsed case.json) of the golden format. One function per kind of case.
/// @throws DataError if files of the case are missing or malformed
CaseReport verify_model_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_init_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_losses_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_normalizer_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_optim_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_sampler_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_graph_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_distributed_case(const std::filesystem::path& folder, const nlohmann::json& description);
CaseReport verify_run_case(const std::filesystem::path& folder, const nlohmann::json& description);

} // namespace gradwind::verify
