// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Group, parameter and level of a variable, by which scalers and metrics address it (spec §7.4 "Name parsing").
#pragma once
#include "gradwind/core/config.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace gradwind::loss
{

struct VariablePlace {
    std::string group;           ///< first group whose rule matches, else the default group
    std::string param;           ///< "t" of "t_850"; the whole name where there is no level
    std::optional<double> level; ///< 850 of "t_850"; nothing at the surface
};

/// The section `training.variable_groups` of one data set, with the data set's `variables_metadata`.
///
/// A group is a list of parameters, or a map of predicates on the metadata (`param`, `is_pressure_level`, ...) that
/// must all hold. Metadata counts where level and surface agree; otherwise the name is split at its last underscore.
class VariableGroups
{
public:
    /// @throws ConfigError if `default` is missing or a rule is of no known form
    explicit VariableGroups(const Config& groups, nlohmann::json metadata = nlohmann::json::object());
    /// @throws ConfigError where a rule needs metadata that the variable does not have
    [[nodiscard]] VariablePlace place(const std::string& variable) const;
    /// Whether the section defines this group (the default one included).
    [[nodiscard]] bool has(const std::string& group) const;

private:
    struct Rule {
        std::string group;
        nlohmann::json spec; ///< a list of parameters or a map key -> list of accepted values
    };
    [[nodiscard]] const nlohmann::json* metadata_of(const std::string& variable) const;
    [[nodiscard]] bool matches(const Rule& rule, const std::string& variable, const std::string& param) const;

    std::vector<Rule> rules_;
    std::string default_group_;
    nlohmann::json metadata_;
    std::string where_;
};

/// The part of a section that belongs to one data set: `section.datasets.<dataset>` where there is `datasets`, else
/// the section itself (the older spelling). @throws ConfigError if `datasets` lacks the data set
[[nodiscard]] Config dataset_section(const Config& section, const std::string& dataset);

/// Refuses keys that nothing reads. @throws ConfigError naming the key, where it stands and the nearest known one
void require_known_keys(const Config& section, const std::vector<std::string>& known);

} // namespace gradwind::loss
