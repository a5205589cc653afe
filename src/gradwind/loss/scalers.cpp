// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/scalers.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace gradwind::loss
{

namespace
{

struct Request {
    const std::string& name;
    const Config& config;
    const VariableGroups& groups;
    const LossInputs& inputs;
};

using Maker = at::Tensor (*)(const Request&);

struct Entry {
    const char* target;
    ScalerAxis axis;
    Maker make;
    std::vector<std::string> options; ///< keys beside `_target_` and `norm`
};

at::Tensor to_tensor(const std::vector<double>& values)
{
    return at::tensor(values, at::kDouble).to(at::kFloat);
}

at::Tensor variable_weights(const Request& request, const std::function<double(const std::string&)>& weight_of_param,
                            const std::function<bool(const std::string&)>& has_own_weight)
{
    std::vector<double> out;
    for (const auto& variable : request.inputs.variables.output_names()) {
        const auto param = request.groups.place(variable).param;
        GRADWIND_CHECK(param == variable || !has_own_weight(variable), ConfigError,
                       "[loss] scaler `{}` has a weight for {}, but weights are by parameter: give one for {} ({})",
                       request.name, variable, param, request.config.where());
        out.push_back(weight_of_param(param));
    }
    return to_tensor(out);
}

at::Tensor general_variable(const Request& request)
{
    const auto weights = request.config.at("weights");
    const auto keys = weights.keys();
    const auto items = weights.items();
    std::map<std::string, double> table;
    for (size_t i = 0; i < keys.size(); ++i)
        if (!items[i].is_null())
            table[keys[i]] = items[i].as<double>();
    const auto fallback = table.contains("default") ? table["default"] : 1.0;
    return variable_weights(
        request,
        [&](const std::string& param) {
            const auto found = table.find(param);
            return found == table.end() ? fallback : found->second;
        },
        [&](const std::string& variable) { return table.contains(variable); });
}

at::Tensor variable_masking(const Request& request)
{
    const auto listed = request.config.get<std::vector<std::string>>("variables");
    const bool keep_listed = request.config.get<bool>("invert", false);
    const auto in_list = [&](const std::string& name) {
        return std::find(listed.begin(), listed.end(), name) != listed.end();
    };
    return variable_weights(
        request, [&](const std::string& param) { return in_list(param) == keep_listed ? 1.0 : 0.0; }, in_list);
}

template <class Scaling>
at::Tensor level_weights(const Request& request, const Scaling& scaling)
{
    const auto group = request.config.get<std::string>("group");
    GRADWIND_CHECK(request.groups.has(group), ConfigError,
                   "[loss] scaler `{}` scales the group `{}`, which variable_groups does not define ({})", request.name,
                   group, request.config.where());
    std::vector<double> out;
    for (const auto& variable : request.inputs.variables.output_names()) {
        const auto place = request.groups.place(variable);
        GRADWIND_CHECK(place.group != group || place.level, ConfigError,
                       "[loss] scaler `{}` scales {} by level, but it has none; take it out of the group `{}`",
                       request.name, variable, group);
        out.push_back(place.group == group ? scaling(*place.level) : 1.0);
    }
    return to_tensor(out);
}

struct Line {
    double slope;
    double intercept;
    explicit Line(const Request& request)
        : slope(request.config.get<double>("slope")), intercept(request.config.get<double>("y_intercept"))
    {
    }
};

at::Tensor relu_level(const Request& request)
{
    return level_weights(request,
                         [line = Line(request)](double level) { return std::max(line.intercept, level * line.slope); });
}

at::Tensor linear_level(const Request& request)
{
    return level_weights(request, [line = Line(request)](double level) { return level * line.slope + line.intercept; });
}

at::Tensor polynomial_level(const Request& request)
{
    return level_weights(request, [line = Line(request)](double level) {
        return (line.slope * level) * (line.slope * level) + line.intercept;
    });
}

at::Tensor ones_by_variable(const Request& request)
{
    return at::ones({request.inputs.variables.n_output()}, at::kFloat);
}

at::Tensor node_attribute(const Request& request, const std::string& attribute)
{
    const auto values = request.inputs.node_attribute ? request.inputs.node_attribute(attribute) : at::Tensor();
    GRADWIND_CHECK(values.defined(), ConfigError,
                   "[loss] scaler `{}` needs the node attribute `{}`, which the graph's data nodes do not have; add it "
                   "under graph.nodes.<data>.attributes ({})",
                   request.name, attribute, request.config.where());
    return values.reshape({-1}).cpu();
}

at::Tensor node_weights(const Request& request)
{
    auto values = node_attribute(request, request.config.get<std::string>("nodes_attribute_name"));
    if (request.config.get<bool>("inverse", false)) {
        GRADWIND_CHECK(values.scalar_type() == at::kBool, ConfigError,
                       "[loss] scaler `{}`: `inverse` needs a boolean node attribute ({})", request.name,
                       request.config.where());
        values = values.logical_not();
    }
    values = values.to(at::kFloat);
    const auto& mask = request.inputs.output_mask;
    if (!mask.defined())
        return values;
    GRADWIND_CHECK(mask.numel() == values.numel(), ShapeError,
                   "[loss] the output mask has {} nodes, the node attribute of scaler `{}` has {}", mask.numel(),
                   request.name, values.numel());
    return values.masked_fill(mask.reshape({-1}).to(at::kCPU, at::kBool).logical_not(), 0.0);
}

at::Tensor reweighted_node_weights(const Request& request)
{
    const auto values = node_weights(request);
    const auto fraction = request.config.get<double>("weight_frac_of_total");
    GRADWIND_CHECK(fraction >= 0 && fraction < 1, ConfigError,
                   "[loss] scaler `{}`: weight_frac_of_total must be in [0, 1), got {} ({})", request.name, fraction,
                   request.config.where());
    const auto mask =
        node_attribute(request, request.config.get<std::string>("scaling_mask_attribute_name")).to(at::kBool);
    const auto others = values.masked_fill(mask, 0.0).sum();
    const auto each = others * (fraction / (1 - fraction)) / mask.sum().to(at::kFloat);
    return at::where(mask, each, values);
}

at::Tensor uniform_time(const Request& request)
{
    const auto ones = at::ones({request.inputs.n_step_output}, at::kFloat);
    return ones / ones.sum();
}

at::Tensor time_weights(const Request& request)
{
    return to_tensor(request.config.get<std::vector<double>>("weights", {1.0}));
}

at::Tensor lead_time_decay(const Request& request)
{
    const auto& config = request.config;
    const auto type = config.get<std::string>("decay_type", "linear");
    GRADWIND_CHECK(type == "linear" || type == "exponential", ConfigError,
                   "[loss] scaler `{}`: decay_type must be `linear` or `exponential`, got `{}` ({})", request.name,
                   type, config.where());
    const auto lead =
        to_tensor(config.get<std::vector<double>>("output_lead_times")) / config.get<double>("max_lead_time");
    const auto factor = config.get<double>("decay_factor");
    const auto kept = type == "exponential" ? at::exp(lead * -factor) : 1 - lead * factor;
    const auto weights = config.get<bool>("inverse", false) ? 1 - kept : kept;
    return weights / weights.sum();
}

/// The tendency statistics of the lead time asked for, or of the first one.
const Statistics& tendency_statistics(const Request& request)
{
    const auto& tendencies = request.inputs.tendencies;
    GRADWIND_CHECK(!tendencies.empty(), ConfigError,
                   "[loss] scaler `{}` needs tendency statistics, which the data set does not have ({})", request.name,
                   request.config.where());
    if (!request.config.has("timestep"))
        return tendencies.front().second;
    const auto wanted = frequency_to_string(parse_frequency(request.config.get<std::string>("timestep")));
    std::string known;
    for (const auto& [lead, statistics] : tendencies) {
        if (frequency_to_string(parse_frequency(lead)) == wanted)
            return statistics;
        known += (known.empty() ? "" : ", ") + lead;
    }
    throw ConfigError(fmt::format("[loss] scaler `{}` asks for tendency statistics of {}, the data set has {} ({})",
                                  request.name, wanted, known, request.config.where()));
}

template <class Ratio>
at::Tensor tendency_weights(const Request& request, const Ratio& ratio)
{
    const auto& variables = request.inputs.variables;
    const auto& of_fields = request.inputs.statistics;
    const auto& of_tendencies = tendency_statistics(request);
    GRADWIND_CHECK(of_tendencies.stdev.size() == size_t(variables.count()) &&
                       of_fields.stdev.size() == size_t(variables.count()),
                   DataError, "[loss] scaler `{}`: statistics of {} variables and tendencies of {}, expected {}",
                   request.name, of_fields.stdev.size(), of_tendencies.stdev.size(), variables.count());
    std::vector<double> out;
    for (const auto index : variables.data_output()) {
        // The original leaves out the variable at dataset position 0 (spec §7.4); so do we, to give its results.
        if (index == 0 || variables.role(index) != Role::Prognostic) {
            out.push_back(1.0);
            continue;
        }
        const auto tendency = of_tendencies.stdev[size_t(index)];
        GRADWIND_CHECK(tendency > 0, DataError,
                       "[loss] scaler `{}` divides by the standard deviation of the tendency of {}, which is {}",
                       request.name, variables.names()[size_t(index)], tendency);
        out.push_back(ratio(of_fields.stdev[size_t(index)], tendency));
    }
    return to_tensor(out);
}

at::Tensor stdev_tendency(const Request& request)
{
    return tendency_weights(request, [](double field, double tendency) { return field / tendency; });
}

at::Tensor var_tendency(const Request& request)
{
    return tendency_weights(request,
                            [](double field, double tendency) { return (field * field) / (tendency * tendency); });
}

at::Tensor nan_mask(const Request&)
{
    return {};
}

const std::vector<Entry>& entries()
{
    static const std::vector<std::string> level = {"group", "y_intercept", "slope"};
    static const std::vector<Entry> table = {
        {"GeneralVariableLossScaler", ScalerAxis::Variable, general_variable, {"weights"}},
        {"VariableMaskingLossScaler", ScalerAxis::Variable, variable_masking, {"variables", "invert"}},
        {"ReluVariableLevelScaler", ScalerAxis::Variable, relu_level, level},
        {"LinearVariableLevelScaler", ScalerAxis::Variable, linear_level, level},
        {"PolynomialVariableLevelScaler", ScalerAxis::Variable, polynomial_level, level},
        {"NoVariableLevelScaler", ScalerAxis::Variable, ones_by_variable, level},
        {"GraphNodeAttributeScaler", ScalerAxis::Grid, node_weights, {"nodes_attribute_name", "nodes_name", "inverse"}},
        {"ReweightedGraphNodeAttributeScaler",
         ScalerAxis::Grid,
         reweighted_node_weights,
         {"nodes_attribute_name", "nodes_name", "inverse", "scaling_mask_attribute_name", "weight_frac_of_total"}},
        {"UniformTimeStepScaler", ScalerAxis::Time, uniform_time, {}},
        {"TimeStepScaler", ScalerAxis::Time, time_weights, {"weights"}},
        {"LeadTimeDecayScaler",
         ScalerAxis::Time,
         lead_time_decay,
         {"output_lead_times", "decay_factor", "max_lead_time", "decay_type", "inverse"}},
        {"StdevTendencyScaler", ScalerAxis::Variable, stdev_tendency, {"timestep"}},
        {"VarTendencyScaler", ScalerAxis::Variable, var_tendency, {"timestep"}},
        {"NoTendencyScaler", ScalerAxis::Variable, ones_by_variable, {"timestep"}},
        {"NaNMaskScaler", ScalerAxis::NanMask, nan_mask, {"use_processors_tendencies"}},
    };
    return table;
}

const Entry& entry_of(const std::string& name, const Config& config)
{
    const auto target = config.target();
    std::vector<std::string> known;
    for (const auto& entry : entries()) {
        if (target == entry.target)
            return entry;
        known.emplace_back(entry.target);
    }
    throw ConfigError(fmt::format("[loss] scaler `{}`: there is no scaler `{}`{} ({})", name, target,
                                  did_you_mean(target, known), config.where()));
}

at::Tensor normalised(const Request& request, const at::Tensor& values)
{
    if (!values.defined() || !request.config.has("norm"))
        return values;
    const auto norm = request.config.get<std::string>("norm");
    GRADWIND_CHECK(norm == "unit-sum" || norm == "l1" || norm == "unit-mean", ConfigError,
                   "[loss] scaler `{}`: norm must be null, `unit-sum`, `l1` or `unit-mean`, got `{}` ({})",
                   request.name, norm, request.config.where());
    const auto divisor = norm == "unit-mean" ? values.mean() : values.sum();
    GRADWIND_CHECK(std::abs(divisor.item<double>()) > 0, ConfigError,
                   "[loss] scaler `{}` cannot be normalised: its values add up to 0 ({})", request.name,
                   request.config.where());
    return values / divisor;
}

int64_t expected_length(const Entry& entry, const LossInputs& inputs)
{
    if (entry.axis == ScalerAxis::Variable)
        return inputs.variables.n_output();
    return entry.axis == ScalerAxis::Time ? inputs.n_step_output : -1;
}

} // namespace

ScalerSet::ScalerSet(const Config& scalers, VariableGroups groups, const LossInputs& inputs)
    : scalers_(scalers), groups_(std::move(groups)), inputs_(inputs)
{
    for (const auto& name : scalers_.keys()) {
        auto known = entry_of(name, scalers_.at(name)).options;
        known.insert(known.end(), {"_target_", "norm"});
        require_known_keys(scalers_.at(name), known);
    }
}

Scaler ScalerSet::get(const std::string& name) const
{
    const auto known = names();
    GRADWIND_CHECK(scalers_.has(name), ConfigError, "[loss] there is no scaler `{}`{}; {} defines {}", name,
                   did_you_mean(name, known), scalers_.where(), fmt::join(known, ", "));
    const auto config = scalers_.at(name);
    const auto& entry = entry_of(name, config);
    const Request request{name, config, groups_, inputs_};
    const auto given = inputs_.given.find(name);
    auto values = given == inputs_.given.end() ? normalised(request, entry.make(request))
                                               : given->second.reshape({-1}).to(at::kFloat);
    if (entry.axis == ScalerAxis::NanMask)
        return {name, entry.axis, {}};
    const auto expected = expected_length(entry, inputs_);
    // A single time weight broadcasts, as in the original.
    const bool broadcast = entry.axis == ScalerAxis::Time && values.numel() == 1;
    GRADWIND_CHECK(expected < 0 || broadcast || values.numel() == expected, ConfigError,
                   "[loss] scaler `{}` has {} values, expected {} ({})", name, values.numel(), expected,
                   config.where());
    return {name, entry.axis, values.contiguous()};
}

std::vector<std::string> ScalerSet::select(const std::vector<std::string>& listed, const std::string& where) const
{
    const auto known = names();
    const auto is_known = [&](const std::string& name) {
        return std::find(known.begin(), known.end(), name) != known.end();
    };
    const auto is_listed = [&](const std::string& name) {
        return std::find(listed.begin(), listed.end(), name) != listed.end();
    };
    std::vector<std::string> out;
    for (const auto& item : listed) {
        const auto name = item.starts_with('!') ? item.substr(1) : item;
        GRADWIND_CHECK(item == "*" || is_known(name), ConfigError,
                       "[loss] {} lists the scaler `{}`, which does not exist{}", where, name,
                       did_you_mean(name, known));
        if (!item.starts_with('!') && item != "*" && !is_listed("*"))
            out.push_back(item);
    }
    if (is_listed("*"))
        for (const auto& name : known)
            if (!is_listed("!" + name))
                out.push_back(name);
    return out;
}

} // namespace gradwind::loss
