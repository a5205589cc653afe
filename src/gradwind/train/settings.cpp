// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/settings.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace gradwind::train
{

namespace
{

/// The value that a word stands for; words are what a user may write.
template <class T, size_t N>
T one_of(const Config& config, const char* key, const char* fallback,
         const std::array<std::pair<const char*, T>, N>& words)
{
    const auto word = config.get<std::string>(key, fallback);
    std::vector<std::string> names;
    for (const auto& [name, value] : words) {
        if (word == name)
            return value;
        names.emplace_back(name);
    }
    throw ConfigError(fmt::format("[train] expected one of {} for {}, found `{}`{}", fmt::join(names, ", "),
                                  config.at(key).where(), word, did_you_mean(word, names)));
}

int64_t integer(const Config& config, const char* key, int64_t fallback, int64_t least)
{
    const auto value = config.get<int64_t>(key, fallback);
    GRADWIND_CHECK(value >= least, ConfigError, "[train] expected at least {} for {}, found {}", least,
                   config.at(key).where(), value);
    return value;
}

double real_in(const Config& config, const char* key, double fallback, double low, double high)
{
    const auto value = config.get<double>(key, fallback);
    GRADWIND_CHECK(value >= low && value <= high, ConfigError, "[train] expected {} ... {} for {}, found {}", low, high,
                   config.at(key).where(), value);
    return value;
}

/// A positive integer, or nothing for null, absent or -1 (Lightning's word for no limit).
std::optional<int64_t> limit(const Config& config, const char* key)
{
    if (!config.has(key) || config.get<int64_t>(key) == -1)
        return std::nullopt;
    return integer(config, key, 0, 1);
}

uint64_t parse_seed(const std::string& text, const std::string& source)
{
    uint64_t seed = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
    GRADWIND_CHECK(error == std::errc() && end == text.data() + text.size(), ConfigError,
                   "[train] expected a whole number of 0 or more in {}, found `{}`", source, text);
    return seed;
}

StageSettings stage_settings(const Config& config, const std::string& name)
{
    StageSettings result{.name = name, .batch_size = 1, .n_workers = 1, .limit = {}};
    result.batch_size = integer(config, ("dataloader.batch_size." + name).c_str(), 1, 1);
    result.n_workers = std::max<int64_t>(1, integer(config, ("dataloader.num_workers." + name).c_str(), 1, 0));
    const auto key = "dataloader.limit_batches." + name;
    if (!config.has(key))
        return result;
    // As in Lightning, a whole number counts batches and a real one is a fraction of them.
    if (config.at(key).kind() == Config::Kind::Int)
        result.limit.batches = integer(config, key.c_str(), 0, 0);
    else
        result.limit.fraction = real_in(config, key.c_str(), 1.0, 0.0, 1.0);
    return result;
}

/// The original's ZeroRedundancyOptimizer gives the numbers of the optimiser that it wraps; here
/// `training.strategy.zero_group_size` says who shares the state.
void require_adamw(const Config& section)
{
    if (!section.has("_target_"))
        return;
    if (section.target() == "ZeroRedundancyOptimizer" && section.has("optimizer_class")) {
        const auto inner = section.at("optimizer_class");
        const auto name = inner.is_map() ? inner.target() : inner.as<std::string>();
        GRADWIND_CHECK(name.ends_with("AdamW"), ConfigError,
                       "[train] expected AdamW for {}, found `{}`: other optimisers are not there yet", inner.where(),
                       name);
        return;
    }
    GRADWIND_CHECK(section.target() == "AdamW", ConfigError,
                   "[train] expected AdamW for {}, found `{}`: other optimisers are not there yet",
                   section.at("_target_").where(), section.target());
}

AdamWOptions optimizer_options(const Config& config)
{
    AdamWOptions result;
    const auto section = config.find("training.optimization.optimizer");
    if (!section || !section->is_map())
        return result;
    require_adamw(*section);
    const auto betas = section->get<std::vector<double>>("betas", {0.9, 0.95});
    GRADWIND_CHECK(betas.size() == 2 && betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1, ConfigError,
                   "[train] expected two numbers of [0, 1) for {}, found [{}]", section->at("betas").where(),
                   fmt::join(betas, ", "));
    result.beta1 = betas[0];
    result.beta2 = betas[1];
    result.eps = real_in(*section, "eps", 1e-8, 0.0, 1.0);
    result.weight_decay = real_in(*section, "weight_decay", 0.01, 0.0, 1e6);
    return result;
}

ClipOptions clip_options(const Config& config)
{
    if (!config.has("training.gradient_clip.val"))
        return {};
    ClipOptions result;
    result.kind = one_of<ClipKind>(config, "training.gradient_clip.algorithm", "value",
                                   std::array{std::pair("value", ClipKind::Value), std::pair("norm", ClipKind::Norm)});
    result.threshold = real_in(config, "training.gradient_clip.val", 32.0, 0.0, 1e30);
    return result.threshold > 0 ? result : ClipOptions{}; // Lightning: 0 does not clip
}

void read_schedule(const Config& config, TrainSettings& settings)
{
    settings.schedule.lr = real_in(config, "training.optimization.lr", 0.625e-4, 0.0, 1e6);
    settings.lr_scaling =
        one_of<LrScaling>(config, "training.optimization.lr_scaling", "anemoi",
                          std::array{std::pair("anemoi", LrScaling::Anemoi), std::pair("none", LrScaling::None)});
    const auto section = config.find("training.optimization.lr_scheduler");
    if (!section || !section->is_map()) {
        settings.has_period = false;
        settings.schedule.warmup_steps = 0;
        return;
    }
    GRADWIND_CHECK(!section->has("_target_") || section->target() == "CosineLRScheduler", ConfigError,
                   "[train] expected CosineLRScheduler for {}, found `{}`: other schedules are not there yet",
                   section->at("_target_").where(), section->target());
    settings.schedule.lr_min = real_in(*section, "lr_min", 3e-7, 0.0, 1e6);
    settings.schedule.warmup_steps = integer(*section, "warmup_t", 0, 0);
    static const std::vector<std::string> known = {"_target_", "lr_min", "t_initial", "warmup_t", "t_in_epochs"};
    for (const auto& key : section->keys())
        GRADWIND_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ConfigError,
                       "[train] {} is not available: schedules have {}", section->at(key).where(),
                       fmt::join(known, ", "));
    settings.has_period = section->has("t_initial");
    if (settings.has_period)
        settings.schedule.period_steps = integer(*section, "t_initial", 0, 1);
}

CheckpointCadence checkpoint_cadence(const Config& config)
{
    CheckpointCadence result;
    result.enabled = config.get<bool>("diagnostics.enable_checkpointing", true);
    const std::string root = "diagnostics.checkpoint.";
    const auto keep = [&](const std::string& name, const char* cadence) {
        result.retention[cadence] = integer(config, (root + name + ".num_models_saved").c_str(), -1, -1);
    };
    if (const auto key = root + "every_n_minutes.save_frequency"; config.has(key)) {
        result.minutes = real_in(config, key.c_str(), 30, 1e-3, 1e9);
        keep("every_n_minutes", "minutes");
    }
    if (const auto key = root + "every_n_epochs.save_frequency"; config.has(key)) {
        result.epochs = integer(config, key.c_str(), 1, 1);
        keep("every_n_epochs", "epoch");
    }
    if (const auto key = root + "every_n_train_steps.save_frequency"; config.has(key)) {
        result.steps = integer(config, key.c_str(), 1, 1);
        keep("every_n_train_steps", "step");
    }
    // Of interrupted runs only the newest state is of use.
    result.retention["signal"] = 1;
    return result;
}

/// Refuses what the table of keys knows and training cannot do yet: a setting without effect would mislead.
void refuse_unfinished(const Config& config)
{
    const auto refuse = [&](const char* key, bool is_set) {
        GRADWIND_CHECK(!is_set, ConfigError, "[train] {} is not there yet; take it out", config.at(key).where());
    };
    refuse("training.loss_gradient_scaling", config.get<bool>("training.loss_gradient_scaling", false));
    const char* averaging = "training.weight_averaging";
    refuse(averaging, config.has(averaging) && !(config.at(averaging).is_map() && config.at(averaging).keys().empty()));
}

/// Members on each process: 1 unless the method is EnsembleTraining. @throws ConfigError where method, model, strategy
/// and members contradict each other
int64_t read_members(const Config& config)
{
    const auto target = [&](const char* key, const char* fallback) {
        return config.has(std::string(key) + "._target_") ? config.at(key).target() : std::string(fallback);
    };
    const auto members = integer(config, "training.ensemble_size_per_device", 1, 1);
    const auto method = target("training.method", "SingleTraining");
    const bool is_ensemble = method == "EnsembleTraining";
    GRADWIND_CHECK(
        is_ensemble || method == "SingleTraining", ConfigError,
        "[train] expected SingleTraining or EnsembleTraining for {}, found `{}`: other methods are not there yet",
        config.at("training.method").where(), method);
    GRADWIND_CHECK(is_ensemble || members == 1, ConfigError,
                   "[train] {} is {}, but only training.method EnsembleTraining has members",
                   config.at("training.ensemble_size_per_device").where(), members);
    const auto strategy = target("training.strategy", "");
    GRADWIND_CHECK(is_ensemble || strategy != "DDPEnsGroupStrategy", ConfigError,
                   "[train] {}: only training.method EnsembleTraining has ensembles; use DDPGroupStrategy",
                   config.at("training.strategy").where());
    const auto network = target("model.model", "AnemoiModelEncProcDec");
    GRADWIND_CHECK(
        (network == "AnemoiEnsModelEncProcDec") == is_ensemble, ConfigError,
        "[train] training.method {} and model.model {} do not go together: ensembles need EnsembleTraining and an "
        "AnemoiEnsModelEncProcDec (config groups training=ensemble, model=graphtransformer_ens)",
        method, network);
    return members;
}

std::vector<std::string> read_dataset_names(const Config& config)
{
    auto names = config.at("data.datasets").keys();
    GRADWIND_CHECK(!names.empty(), ConfigError, "[train] expected at least one data set for {}, found none",
                   config.at("data.datasets").where());
    return names;
}

} // namespace

BaseSeed resolve_base_seed(const Config& config, const std::map<std::string, std::string>& environment)
{
    const auto from_environment = [&](const char* name) -> std::optional<BaseSeed> {
        const auto found = environment.find(name);
        if (found == environment.end() || found->second.empty())
            return std::nullopt;
        return BaseSeed{parse_seed(found->second, name), name};
    };
    const auto text = config.get<std::string>("training.seed", "");
    if (!text.empty() && text != "anemoi")
        return {parse_seed(text, config.at("training.seed").where()), "training.seed"};
    if (const auto seed = from_environment("ANEMOI_BASE_SEED"))
        return *seed;
    if (text == "anemoi")
        if (const auto seed = from_environment("SLURM_JOB_ID"))
            return *seed;
    return {};
}

TrainSettings TrainSettings::from_config(const Config& config, const std::map<std::string, std::string>& environment)
{
    refuse_unfinished(config);
    TrainSettings result;
    result.dataset_names = read_dataset_names(config);
    result.task = ForecasterTask::from_config(config.at("task"));
    result.precision = one_of<Precision>(
        config, "training.precision", "32-true",
        std::array{std::pair("32-true", Precision::Float32), std::pair("32", Precision::Float32),
                   std::pair("64-true", Precision::Float64), std::pair("64", Precision::Float64),
                   std::pair("bf16-mixed", Precision::Bf16Mixed), std::pair("16-mixed", Precision::Bf16Mixed)});
    result.seed = resolve_base_seed(config, environment);
    result.deterministic = config.get<bool>("training.deterministic", false);
    result.sample_order = one_of<SampleOrder>(
        config, "dataloader.sample_order", "global",
        std::array{std::pair("global", SampleOrder::Global), std::pair("anemoi", SampleOrder::Anemoi)});
    // The original restarts its workers every epoch while the rollout grows (spec §10.3).
    const bool persistent =
        config.get<bool>("dataloader.persistent_workers", true) && result.task.rollout.epoch_increment == 0;
    result.stream = persistent ? Stream::Continued : Stream::RestartedEachEpoch;
    result.training = stage_settings(config, "training");
    result.validation = stage_settings(config, "validation");
    result.prefetch_batches = integer(config, "dataloader.prefetch_factor", 2, 1);
    result.accumulation = integer(config, "training.accum_grad_batches", 1, 1);
    result.optimizer = optimizer_options(config);
    result.clip = clip_options(config);
    read_schedule(config, result);
    result.max_steps = limit(config, "training.max_steps");
    result.max_epochs = limit(config, "training.max_epochs");
    GRADWIND_CHECK(
        result.max_steps || result.max_epochs, ConfigError,
        "[train] expected `training.max_steps` or `training.max_epochs`, found neither: the run would not end");
    result.validate_every_epochs = integer(config, "diagnostics.check_val_every_n_epoch", 1, 1);
    result.log_interval_steps = integer(config, "diagnostics.log.interval", 100, 1);
    result.checkpoint = checkpoint_cadence(config);
    result.timeline.first_step = integer(config, "diagnostics.timeline.first_step", result.timeline.first_step, 0);
    result.timeline.steps = integer(config, "diagnostics.timeline.steps", 0, 0);
    result.members_per_process = read_members(config);
    return result;
}

} // namespace gradwind::train
