// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

constexpr KeySpec loss_keys[] = {
    {"scalers", "strings", "", "", "",
     "Names of training.scalers; `*` is all, `!name` leaves one out; absent in a part of a loss: those of the whole."},
    {"ignore_nans", "bool", "", "", "", "Points without a value do not count; absent: false."},
    {"predicted_variables", "strings", "", "", "", "Output variables that are scored."},
    {"target_variables", "strings", "", "", "", "Variables that they are compared with."},
    {"check_variables_compatibility", "ignored"},
};
constexpr KeySpec huber_keys[] = {
    {"delta", "real", "1.0", "> 0", "", "Where the error turns from square to linear."},
};
constexpr KeySpec crps_keys[] = {
    {"alpha", "real", "0.95", "0 .. 1", "", "1: fair score, 0: the score of the finite ensemble."},
    {"backend", "string", "stable", "stable, naive", "", "Form of the sum; all give one result."},
    {"no_autocast", "bool", "true", "", "", "Compute in float32."},
};
constexpr KeySpec fair_keys[] = {
    {"fair", "bool", "true", "", "", "Score of an infinite ensemble."},
    {"no_autocast", "bool", "true", "", "", "Compute in float32."},
};
constexpr KeySpec almost_fair_keys[] = {
    {"alpha", "real", "1.0", "0 .. 1", "", "1: fair score, 0: the score of the finite ensemble."},
    {"no_autocast", "bool", "true", "", "", "Compute in float32."},
};
constexpr KeySpec energy_keys[] = {
    {"norm_over", "string", "spatial", "spatial, variables, spatial_and_variables", "",
     "What a distance is taken over."},
};
constexpr KeySpec multiscale_keys[] = {
    {"per_scale_loss", "target:loss", "", "", "", "Loss on each scale."},
    {"weights", "reals", "[1.0]", ">= 0", "", "Weight of each scale."},
    {"multiscale_config", "map", "", "", "", "Smoothing; null: one scale."},
    {"multiscale_config.loss_matrices", "list", "", "", "", "Matrices from coarse to fine; null is the full field."},
    {"multiscale_config.loss_matrices_path", "path", "", "", "", "Folder of the matrices."},
    {"multiscale_config.*", "any"},
    {"loss_matrices", "list", "", "", "", "The same as in multiscale_config."},
    {"loss_matrices_path", "path", "", "", "", "The same as in multiscale_config."},
    {"data_node_name", "string", "", "", "", "Data node set."},
    {"autocast", "bool", "", "", "", "Allow low precision when smoothing."},
    {"sparse_projector_num_chunks", "int", "", ">= 1", "", "Parts that are computed one after the other."},
};
constexpr KeySpec combined_keys[] = {
    {"losses[]", "target:loss", "", "", "", "The losses."},
    {"loss_weights", "reals", "", "", "", "Weight of each."},
};
constexpr KeySpec aggregate_keys[] = {
    {"time_aggregation_types", "strings", "", "mean, min, max, diff", "", "What is compared instead of the steps."},
    {"loss_fn", "target:loss", "", "", "", "Loss of it."},
};

constexpr KeySpec variable_weights[] = {
    {"weights.default", "real", "1", "", "", "Weight of variables not listed."},
    {"weights.*", "real", "", "", "", "Weight of a variable, levels left out: `t`, `10u`."},
};
constexpr KeySpec level_keys[] = {
    {"group", "string", "pl", "", "", "Group of variables that is weighted."},
    {"y_intercept", "real", "", "", "", "Value at level zero, or the least value."},
    {"slope", "real", "", "", "1/hPa", "Change with the level."},
};
constexpr KeySpec node_keys[] = {
    {"nodes_name", "string", "data", "", "", "Node set."},
    {"nodes_attribute_name", "string", "area_weight", "", "", "Attribute of the nodes."},
    {"inverse", "bool", "false", "", "", "One minus a mask."},
};
constexpr KeySpec reweighted_keys[] = {
    {"scaling_mask_attribute_name", "string", "", "", "", "Mask of the nodes whose share is set."},
    {"weight_frac_of_total", "real", "", "0 .. 1", "", "Their share of the sum."},
};
constexpr KeySpec norm_key[] = {
    {"norm", "string", "", "l1, unit-sum, unit-mean", "", "Normalisation of the weights."},
};
constexpr KeySpec decay_keys[] = {
    {"output_lead_times", "ints | reals", "", "> 0", "h", "Lead time of each output step."},
    {"decay_factor", "real", "", ">= 0", "", "Speed of the decay."},
    {"max_lead_time", "real", "", "> 0", "h", "Lead time that others are measured by."},
    {"decay_type", "string", "linear", "linear, exponential", "", "Form of the decay."},
    {"inverse", "bool", "false", "", "", "Later steps count more."},
};
constexpr KeySpec step_keys[] = {
    {"weights", "reals", "", "", "", "Weight of each output step."},
};
constexpr KeySpec tendency_keys[] = {
    {"timestep", "duration", "", "", "", "Step of the tendency; absent: the first that the data set has."},
};
constexpr KeySpec nan_keys[] = {
    {"use_processors_tendencies", "bool", "", "", "", "Take the masks of the tendencies; absent: false."},
};
constexpr KeySpec masking_keys[] = {
    {"variables", "strings", "", "", "", "Variables that count."},
    {"invert", "bool", "false", "", "", "Those that do not."},
};

} // namespace

std::vector<TargetSpec> loss_targets()
{
    std::vector<TargetSpec> all = {
        {"loss", "HuberLoss", {loss_keys, huber_keys}, "Square near zero, linear far out."},
        {"loss", "CRPS", {loss_keys, crps_keys}, "Continuous ranked probability score."},
        {"loss", "KernelCRPS", {loss_keys, fair_keys}, "The same, fair or not."},
        {"loss", "AlmostFairKernelCRPS", {loss_keys, almost_fair_keys}, "The same with alpha."},
        {"loss", "EnergyScoreLoss", {loss_keys, fair_keys, energy_keys}, "Energy score."},
        {"loss", "MultiscaleLossWrapper", {loss_keys, multiscale_keys}, "A loss on several smoothed scales."},
        {"loss", "CombinedLoss", {loss_keys, combined_keys}, "Weighted sum of losses."},
        {"loss",
         "TimeAggregateLossWrapper",
         {loss_keys, aggregate_keys},
         "A loss of means, extremes or differences in time."},
    };
    for (const auto* name : {"MSELoss", "MAELoss", "RMSELoss", "LogCoshLoss", "WeightedMSELoss"})
        all.push_back({"loss", name, {loss_keys}, ""});
    return all;
}

std::vector<TargetSpec> scaler_targets()
{
    const char* scaler = "scaler";
    return {
        {scaler, "GeneralVariableLossScaler", {variable_weights, norm_key}, "Weight by variable."},
        {scaler, "ReluVariableLevelScaler", {level_keys, norm_key}, "Level times slope, not below y_intercept."},
        {scaler, "LinearVariableLevelScaler", {level_keys, norm_key}, "Level times slope plus y_intercept."},
        {scaler, "PolynomialVariableLevelScaler", {level_keys, norm_key}, "Its square plus y_intercept."},
        {scaler, "NoVariableLevelScaler", {level_keys, norm_key}, "One everywhere."},
        {scaler, "NaNMaskScaler", {nan_keys, norm_key}, "Zero where values were missing."},
        {scaler, "StdevTendencyScaler", {tendency_keys, norm_key}, "Standard deviation over that of the tendency."},
        {scaler, "VarTendencyScaler", {tendency_keys, norm_key}, "The square of it."},
        {scaler, "NoTendencyScaler", {tendency_keys, norm_key}, "One everywhere."},
        {scaler, "GraphNodeAttributeScaler", {node_keys, norm_key}, "A node attribute, such as the area."},
        {scaler,
         "ReweightedGraphNodeAttributeScaler",
         {node_keys, reweighted_keys, norm_key},
         "The same with a set share."},
        {scaler, "UniformTimeStepScaler", {norm_key}, "Equal weight of the output steps."},
        {scaler, "TimeStepScaler", {step_keys, norm_key}, "Weights of the output steps."},
        {scaler, "LeadTimeDecayScaler", {decay_keys, norm_key}, "Weight that changes with the output step."},
        {scaler, "VariableMaskingLossScaler", {masking_keys, norm_key}, "Only some variables."},
    };
}

} // namespace gradwind
