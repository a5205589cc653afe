// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/golden_variables.h"

#include "gradwind/core/error.h"

namespace gradwind::verify
{

VariableTable variables_of_case(const nlohmann::json& description)
try {
    std::vector<std::string> names, forcing, diagnostic, target;
    for (const auto& variable : description.at("variables")) {
        const auto name = variable.at("name").get<std::string>();
        const auto role = variable.at("role").get<std::string>();
        GRADWIND_CHECK(variable.at("dataset_index").get<size_t>() == names.size(), DataError,
                       "[verify] the case's variable {} is not in dataset order", name);
        names.push_back(name);
        if (role == "forcing")
            forcing.push_back(name);
        else if (role == "diagnostic")
            diagnostic.push_back(name);
        else if (role == "target")
            target.push_back(name);
    }
    return VariableTable(std::move(names), forcing, diagnostic, target);
} catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("[verify] the case's `variables` cannot be read: {}", error.what()));
}

Statistics statistics_of_json(const nlohmann::json& json)
try {
    const auto values = [&](const char* key) { return json.at(key).get<std::vector<double>>(); };
    return {values("mean"), values("stdev"), values("minimum"), values("maximum")};
} catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("[verify] the case's statistics cannot be read: {}", error.what()));
}

} // namespace gradwind::verify
