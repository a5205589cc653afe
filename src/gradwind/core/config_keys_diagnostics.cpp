// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

#define CADENCE(name, unit_of, every, kept)                                                                            \
    {"diagnostics.checkpoint." name ".save_frequency",                                                                 \
     "int",                                                                                                            \
     every,                                                                                                            \
     ">= 1",                                                                                                           \
     unit_of,                                                                                                          \
     "Distance of checkpoints; null: none."},                                                                          \
    {                                                                                                                  \
        "diagnostics.checkpoint." name ".num_models_saved", "int", kept, ">= -1", "checkpoints",                       \
            "Newest ones that are kept; -1: all, 0: none of this cadence."                                             \
    }

constexpr KeySpec diagnostics_table[] = {
    {"diagnostics.log.interval", "int", "100", ">= 1", "steps", "Distance of log lines and metrics."},
    {"diagnostics.log.mlflow", "ignored"},
    {"diagnostics.log.wandb", "ignored"},
    {"diagnostics.log.tensorboard.enabled", "bool", "true", "", "", "Write TensorBoard events."},
    {"diagnostics.timeline.steps", "int", "0", ">= 0", "steps",
     "Steps whose timeline on all ranks is written to timeline.json, for chrome://tracing or Perfetto; 0: none."},
    {"diagnostics.timeline.first_step", "int", "10", ">= 0", "steps", "Steps of the process before these."},
    {"diagnostics.enable_progress_bar", "bool", "true", "", "", "Progress bar on a terminal."},
    {"diagnostics.progress_bar", "ignored"},
    {"diagnostics.enable_checkpointing", "bool", "true", "", "", "Write checkpoints."},
    CADENCE("every_n_minutes", "min", "30", "3"),
    CADENCE("every_n_epochs", "epochs", "1", "-1"),
    CADENCE("every_n_train_steps", "steps", "", "0"),
    {"diagnostics.check_val_every_n_epoch", "int", "1", ">= 1", "epochs", "Distance of validations."},
    {"diagnostics.print_memory_summary", "bool", "false", "", "", "Print GPU memory at the end."},
    {"diagnostics.debug.anomaly_detection", "bool", "false", "", "", "Find the operation that made the first NaN."},
    {"diagnostics.plot.variables", "strings", "", "", "",
     "Variables of the maps that are drawn; default plot.parameters."},
    {"diagnostics.plot.dates", "strings", "", "", "", "Dates of the maps; default the first of validation."},
    {"diagnostics.plot.parameters", "strings", "", "", "", "Variables that the original draws."},
    {"diagnostics.plot.sample_idx", "ignored"},
    {"diagnostics.plot.settings", "ignored"},
    {"diagnostics.plot.frequency", "ignored"},
    {"diagnostics.plot.datasets_to_plot", "ignored"},
    {"diagnostics.plot.focus_areas", "ignored"},
    {"diagnostics.plot.callbacks", "ignored"},
    {"diagnostics.callbacks", "ignored"},
    {"diagnostics.benchmark_profiler", "ignored"},
};

} // namespace

std::span<const KeySpec> diagnostics_keys()
{
    return diagnostics_table;
}

} // namespace gradwind
