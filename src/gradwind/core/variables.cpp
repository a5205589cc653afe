// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/variables.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <algorithm>

namespace gradwind
{

namespace
{

void assign_role(std::span<const std::string> listed, Role role, const char* key, const std::vector<std::string>& names,
                 std::vector<Role>& roles)
{
    for (const auto& name : listed) {
        const auto found = std::find(names.begin(), names.end(), name);
        GRADWIND_CHECK(found != names.end(), ConfigError,
                       "[variables] `{}` lists {}, which the data set does not have{}", key, name,
                       did_you_mean(name, names));
        auto& slot = roles[size_t(found - names.begin())];
        GRADWIND_CHECK(slot == Role::Prognostic, ConfigError,
                       "[variables] {} is listed twice among forcing, diagnostic and target", name);
        slot = role;
    }
}

} // namespace

VariableTable::VariableTable(std::vector<std::string> names, std::span<const std::string> forcing,
                             std::span<const std::string> diagnostic, std::span<const std::string> target)
    : names_(std::move(names)), roles_(names_.size(), Role::Prognostic)
{
    assign_role(forcing, Role::Forcing, "forcing", names_, roles_);
    assign_role(diagnostic, Role::Diagnostic, "diagnostic", names_, roles_);
    assign_role(target, Role::Target, "target", names_, roles_);
    for (int64_t i = 0; i < count(); ++i) {
        const auto role = roles_[size_t(i)];
        if (role == Role::Prognostic)
            model_input_prognostic_.push_back(n_input());
        if (role == Role::Forcing) {
            model_input_forcing_.push_back(n_input());
            data_forcing_.push_back(i);
        }
        if (role == Role::Prognostic || role == Role::Forcing)
            data_input_.push_back(i);
        if (role == Role::Prognostic)
            model_output_prognostic_.push_back(n_output());
        if (role == Role::Prognostic || role == Role::Diagnostic)
            data_output_.push_back(i);
    }
}

std::vector<std::string> VariableTable::output_names() const
{
    std::vector<std::string> out;
    for (const auto i : data_output_)
        out.push_back(names_[size_t(i)]);
    return out;
}

} // namespace gradwind
