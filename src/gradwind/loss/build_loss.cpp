// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/composite_loss.h"
#include "gradwind/loss/energy_score.h"
#include "gradwind/loss/leaf_loss.h"
#include "gradwind/loss/multiscale_loss.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace gradwind::loss
{

namespace
{

using ScalerNames = std::vector<std::string>;

/// Scalers that a loss has from the losses around it.
struct Inherited {
    ScalerNames instead; ///< where it lists none itself
    ScalerNames besides; ///< with those that it lists
};

std::unique_ptr<Loss> build(const Config& config, const ScalerSet& scalers, const Inherited& inherited);

/// Scalers of this loss: its own list, else those of the loss around it.
ScalerNames scaler_names(const Config& config, const Inherited& inherited)
{
    return config.find("scalers") ? config.get<ScalerNames>("scalers", {}) : inherited.instead;
}

std::vector<int64_t> positions(const std::vector<std::string>& wanted, const std::vector<std::string>& names,
                               const Config& key, const char* space)
{
    std::vector<int64_t> out;
    for (const auto& name : wanted) {
        const auto found = std::find(names.begin(), names.end(), name);
        GRADWIND_CHECK(found != names.end(), ConfigError, "[loss] {} lists {}, which is no variable of {}{}",
                       key.where(), name, space, did_you_mean(name, names));
        const auto position = found - names.begin();
        GRADWIND_CHECK(std::find(out.begin(), out.end(), position) == out.end(), ConfigError,
                       "[loss] {} lists {} twice", key.where(), name);
        out.push_back(position);
    }
    return out;
}

struct SelectedColumns {
    std::vector<int64_t> pred, target;
};

/// Which columns of prediction and target the loss compares (spec §7.1).
SelectedColumns select_variables(const Config& config, const VariableTable& variables)
{
    const auto outputs = variables.output_names();
    const auto predicted = config.get<std::vector<std::string>>("predicted_variables", outputs);
    const auto targets = config.get<std::vector<std::string>>("target_variables", predicted);
    GRADWIND_CHECK(
        !predicted.empty() && predicted.size() == targets.size(), ConfigError,
        "[loss] predicted_variables ({}) and target_variables ({}) must have the same length, at least 1 ({})",
        predicted.size(), targets.size(), config.where());
    const auto key = [&](const char* name) { return config.has(name) ? config.at(name) : config; };
    SelectedColumns out;
    out.pred = positions(predicted, outputs, key("predicted_variables"), "the model's output");
    for (const auto& name : targets)
        out.target.push_back(positions({name}, variables.names(), key("target_variables"), "the data set").front());
    return out;
}

CombinedScalers find_scalers(const Config& config, const ScalerSet& scalers, const Inherited& inherited,
                             const std::vector<int64_t>& pred_columns)
{
    std::vector<Scaler> used;
    std::vector<std::string> names;
    for (const auto& list : {scaler_names(config, inherited), inherited.besides})
        for (const auto& name : scalers.select(list, config.where())) {
            GRADWIND_CHECK(std::find(names.begin(), names.end(), name) == names.end(), ConfigError,
                           "[loss] {} and the loss around it both list the scaler `{}`; keep one", config.where(),
                           name);
            names.push_back(name);
            used.push_back(scalers.get(name));
        }
    return combine_scalers(used, pred_columns, config.where());
}

/// Refuses keys that neither every plain loss nor this class knows.
void require_leaf_keys(const Config& config, const std::vector<std::string>& options)
{
    std::vector<std::string> known = {"_target_",         "scalers",     "predicted_variables",
                                      "target_variables", "ignore_nans", "check_variables_compatibility"};
    known.insert(known.end(), options.begin(), options.end());
    require_known_keys(config, known);
}

struct LeafClass {
    const char* target;
    ErrorKind kind;
    Root root;
    std::vector<std::string> options;
};

const std::vector<LeafClass>& leaf_classes()
{
    static const std::vector<LeafClass> classes = {
        {"MSELoss", ErrorKind::Squared, Root::None, {}},
        {"WeightedMSELoss", ErrorKind::Squared, Root::None, {}},
        {"RMSELoss", ErrorKind::Squared, Root::Square, {}},
        {"MAELoss", ErrorKind::Absolute, Root::None, {}},
        {"HuberLoss", ErrorKind::Huber, Root::None, {"delta"}},
        {"LogCoshLoss", ErrorKind::LogCosh, Root::None, {}},
        {"CRPS", ErrorKind::Crps, Root::None, {"alpha", "backend", "no_autocast"}},
        {"AlmostFairKernelCRPS", ErrorKind::Crps, Root::None, {"alpha", "no_autocast"}},
        {"KernelCRPS", ErrorKind::Crps, Root::None, {"fair", "no_autocast"}},
    };
    return classes;
}

void read_options(const Config& config, ErrorSpec& spec)
{
    spec.nans = config.get<bool>("ignore_nans", false) ? NanPolicy::Ignore : NanPolicy::Propagate;
    spec.huber_delta = config.get<double>("delta", 1.0);
    GRADWIND_CHECK(spec.huber_delta > 0, ConfigError, "[loss] delta of HuberLoss must be positive, got {} ({})",
                   spec.huber_delta, config.where());
    // The newest class has another default than those before it.
    const double fallback = config.target() == "CRPS" ? 0.95 : (config.get<bool>("fair", true) ? 1.0 : 0.0);
    spec.crps_alpha = config.get<double>("alpha", fallback);
    GRADWIND_CHECK(spec.crps_alpha >= 0 && spec.crps_alpha <= 1, ConfigError,
                   "[loss] alpha of the CRPS must be in [0, 1], got {} ({})", spec.crps_alpha, config.where());
    const auto backend = config.get<std::string>("backend", "stable");
    GRADWIND_CHECK(backend == "stable" || backend == "naive", ConfigError,
                   "[loss] backend of the CRPS must be `stable` or `naive`, got `{}` ({})", backend, config.where());
}

std::unique_ptr<Loss> build_leaf(const LeafClass& leaf, const Config& config, const ScalerSet& scalers,
                                 const Inherited& inherited)
{
    require_leaf_keys(config, leaf.options);
    ErrorSpec spec;
    spec.kind = leaf.kind;
    read_options(config, spec);
    const auto columns = select_variables(config, scalers.inputs().variables);
    spec.pred_columns = columns.pred;
    spec.target_columns = columns.target;
    auto combined = find_scalers(config, scalers, inherited, columns.pred);
    return std::make_unique<LeafLoss>(std::move(spec), std::move(combined), leaf.root);
}

std::unique_ptr<Loss> build_energy_score(const Config& config, const ScalerSet& scalers, const Inherited& inherited)
{
    require_leaf_keys(config, {"fair", "norm_over", "no_autocast"});
    static const std::map<std::string, EnergyNorm> known = {{"spatial", EnergyNorm::Spatial},
                                                            {"variables", EnergyNorm::Variables},
                                                            {"spatial_and_variables", EnergyNorm::SpatialAndVariables}};
    const auto norm = config.get<std::string>("norm_over", "spatial");
    const auto found = known.find(norm);
    GRADWIND_CHECK(found != known.end(), ConfigError,
                   "[loss] norm_over must be spatial, variables or spatial_and_variables, got `{}` ({})", norm,
                   config.where());
    EnergyScoreOptions options;
    options.norm = found->second;
    options.form = config.get<bool>("fair", true) ? EnergyScoreOptions::Form::Fair : EnergyScoreOptions::Form::Standard;
    options.nans = config.get<bool>("ignore_nans", false) ? NanPolicy::Ignore : NanPolicy::Propagate;
    const auto columns = select_variables(config, scalers.inputs().variables);
    options.pred_columns = columns.pred;
    options.target_columns = columns.target;
    auto combined = find_scalers(config, scalers, inherited, columns.pred);
    return std::make_unique<EnergyScoreLoss>(std::move(options), std::move(combined));
}

std::unique_ptr<Loss> build_combined(const Config& config, const ScalerSet& scalers, const Inherited& inherited)
{
    require_known_keys(config, {"_target_", "scalers", "losses", "loss_weights", "ignore_nans"});
    const auto losses = config.at("losses").items();
    GRADWIND_CHECK(!losses.empty(), ConfigError, "[loss] CombinedLoss needs at least one loss ({})",
                   config.at("losses").where());
    const auto weights = config.get<std::vector<double>>("loss_weights", std::vector<double>(losses.size(), 1.0));
    GRADWIND_CHECK(losses.size() == weights.size(), ConfigError,
                   "[loss] CombinedLoss has {} losses but {} loss_weights ({})", losses.size(), weights.size(),
                   config.where());
    std::vector<CombinedLoss::Part> parts;
    for (size_t i = 0; i < losses.size(); ++i)
        parts.push_back({weights[i], build(losses[i], scalers, {scaler_names(config, inherited), inherited.besides})});
    return std::make_unique<CombinedLoss>(std::move(parts), "combinedloss");
}

std::unique_ptr<Loss> build_time_aggregate(const Config& config, const ScalerSet& scalers, const Inherited& inherited)
{
    require_known_keys(config, {"_target_", "scalers", "time_aggregation_types", "loss_fn", "ignore_nans"});
    static const std::map<std::string, TimeAggregate> known = {{"mean", TimeAggregate::Mean},
                                                               {"min", TimeAggregate::Min},
                                                               {"max", TimeAggregate::Max},
                                                               {"diff", TimeAggregate::Diff}};
    std::vector<TimeAggregate> aggregates;
    for (const auto& name : config.get<std::vector<std::string>>("time_aggregation_types")) {
        const auto found = known.find(name);
        GRADWIND_CHECK(found != known.end(), ConfigError,
                       "[loss] time_aggregation_types: expected mean, min, max or diff, got `{}` ({})", name,
                       config.at("time_aggregation_types").where());
        aggregates.push_back(found->second);
    }
    GRADWIND_CHECK(!aggregates.empty(), ConfigError, "[loss] {} is empty", config.at("time_aggregation_types").where());
    auto besides = scaler_names(config, inherited);
    besides.insert(besides.end(), inherited.besides.begin(), inherited.besides.end());
    auto inner = build(config.at("loss_fn"), scalers, {{}, std::move(besides)});
    return std::make_unique<TimeAggregateLoss>(std::move(aggregates), std::move(inner));
}

/// The matrices of a list, from coarse to fine; nothing for the field as it is (null or "None").
std::vector<std::optional<ops::Projection>> smoothing_matrices(const Config& section, const LossInputs& inputs)
{
    std::vector<std::optional<ops::Projection>> out;
    if (!section.has("loss_matrices"))
        return out;
    const auto folder = section.get<std::string>("loss_matrices_path", "");
    for (const auto& entry : section.at("loss_matrices").items()) {
        const auto name = entry.is_null() ? "None" : entry.as<std::string>();
        if (name == "None") {
            out.emplace_back();
            continue;
        }
        std::optional<grid::SparseMatrix> matrix;
        if (inputs.matrices)
            matrix = inputs.matrices(name);
        if (!matrix)
            matrix = grid::read_sparse_npz(std::filesystem::path(folder) / name);
        GRADWIND_CHECK(matrix->n_rows == matrix->n_cols, ConfigError,
                       "[loss] {} names a matrix of [{}, {}]; smoothing keeps the grid, so it must be square",
                       entry.where(), matrix->n_rows, matrix->n_cols);
        out.emplace_back(ops::make_projection(matrix->row_ptr, matrix->col, matrix->values, matrix->n_cols));
    }
    return out;
}

/// The scalers of a loss around it do not reach what it does at each scale, as in the original.
std::unique_ptr<Loss> build_multiscale(const Config& config, const ScalerSet& scalers)
{
    require_known_keys(config, {"_target_", "multiscale_config", "weights", "per_scale_loss", "keep_batch_sharded",
                                "loss_matrices", "loss_matrices_path", "scalers", "autocast",
                                "sparse_projector_num_chunks", "ignore_nans"});
    const auto from = config.has("multiscale_config") ? config.at("multiscale_config") : config;
    GRADWIND_CHECK(
        !config.has("multiscale_config") || from.has("loss_matrices"), ConfigError,
        "[loss] {} lists no loss_matrices; smoothing matrices that are made from the graph are not available "
        "yet, so store them and name the files",
        from.where());
    auto matrices = smoothing_matrices(from, scalers.inputs());
    if (matrices.empty())
        matrices.emplace_back();
    const auto weights = config.get<std::vector<double>>("weights", std::vector<double>(matrices.size(), 1.0));
    GRADWIND_CHECK(weights.size() == matrices.size(), ConfigError,
                   "[loss] MultiscaleLossWrapper has {} scales, but {} weights ({})", matrices.size(), weights.size(),
                   config.where());
    std::vector<MultiscaleLoss::Scale> scales;
    for (size_t i = 0; i < weights.size(); ++i)
        scales.push_back({weights[i], std::move(matrices[i])});
    return std::make_unique<MultiscaleLoss>(std::move(scales), build(config.at("per_scale_loss"), scalers, {}));
}

std::unique_ptr<Loss> build(const Config& config, const ScalerSet& scalers, const Inherited& inherited)
{
    const auto target = config.target();
    std::vector<std::string> known = {"CombinedLoss", "TimeAggregateLossWrapper", "MultiscaleLossWrapper",
                                      "EnergyScoreLoss"};
    if (target == known[0])
        return build_combined(config, scalers, inherited);
    if (target == known[1])
        return build_time_aggregate(config, scalers, inherited);
    if (target == known[2])
        return build_multiscale(config, scalers);
    if (target == known[3])
        return build_energy_score(config, scalers, inherited);
    for (const auto& leaf : leaf_classes()) {
        if (target == leaf.target)
            return build_leaf(leaf, config, scalers, inherited);
        known.emplace_back(leaf.target);
    }
    throw ConfigError(
        fmt::format("[loss] there is no loss `{}`{} ({})", target, did_you_mean(target, known), config.where()));
}

} // namespace

std::unique_ptr<Loss> build_loss(const Config& training_loss, const ScalerSet& scalers)
{
    return build(training_loss, scalers, {});
}

std::unique_ptr<Loss> build_loss(const Config& training_loss, const Config& scalers, const Config& variable_groups,
                                 const LossInputs& inputs)
{
    return build_loss(training_loss,
                      ScalerSet(scalers, VariableGroups(variable_groups, inputs.variables_metadata), inputs));
}

} // namespace gradwind::loss
