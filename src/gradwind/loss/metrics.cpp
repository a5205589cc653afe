// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/metrics.h"

#include "gradwind/core/error.h"

#include <algorithm>

namespace gradwind::loss
{

std::vector<ValidationMetric> build_metrics(const Config& validation_metrics, const Config& scalers,
                                            const Config& variable_groups, const LossInputs& inputs)
{
    std::vector<ValidationMetric> result;
    if (!validation_metrics.is_map())
        return result;
    const ScalerSet scaler_set(scalers, VariableGroups(variable_groups, inputs.variables_metadata), inputs);
    const auto keys = validation_metrics.keys();
    const auto items = validation_metrics.items(); // by position: a name may hold a dot
    for (size_t i = 0; i < keys.size(); ++i) {
        result.push_back({keys[i], build_loss(items[i], scaler_set)});
        GRADWIND_CHECK(!result.back().loss->has_scaler(ScalerAxis::Variable), ConfigError,
                       "[metrics] metric `{}` has a scaler along the variables; errors in physical units cannot be "
                       "scaled so ({})",
                       keys[i], items[i].where());
    }
    return result;
}

std::vector<MetricRange> metric_ranges(const VariableGroups& groups, const std::vector<std::string>& outputs,
                                       const std::vector<std::string>& listed)
{
    std::vector<MetricRange> result;
    const auto range = [&](const std::string& name) -> MetricRange& {
        const auto found = std::find_if(result.begin(), result.end(), [&](const auto& r) { return r.name == name; });
        return found != result.end() ? *found : result.emplace_back(MetricRange{name, {}});
    };
    std::vector<int64_t> all;
    for (int64_t column = 0; column < int64_t(outputs.size()); ++column) {
        const auto place = groups.place(outputs[size_t(column)]);
        range(place.group + "_" + place.param).columns.push_back(column);
        all.push_back(column);
    }
    for (const auto& name : listed)
        if (const auto found = std::find(outputs.begin(), outputs.end(), name); found != outputs.end())
            range(name).columns = {found - outputs.begin()};
    range("all").columns = std::move(all);
    return result;
}

} // namespace gradwind::loss
