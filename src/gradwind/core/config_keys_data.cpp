// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

constexpr KeySpec system_table[] = {
    {"system.hardware.num_nodes", "int", "1", ">= 1", "nodes", "Nodes of the job."},
    {"system.hardware.num_gpus_per_node", "int", "1", ">= 1", "processes",
     "Processes on each node: one per GPU, or CPU processes."},
    {"system.hardware.num_gpus_per_model", "int", "1", ">= 1", "processes",
     "Consecutive processes that hold one model between them (M)."},
    {"system.hardware.num_gpus_per_ensemble", "int", "${system.hardware.num_gpus_per_model}", ">= 1", "processes",
     "Consecutive processes that hold the members of one ensemble (E); a multiple of num_gpus_per_model."},
    {"system.hardware.accelerator", "string", "auto", "auto, cpu, cuda, gpu", "",
     "Where tensors live; auto takes a GPU if the build and the machine have one."},
    {"system.input.dataset", "dataset", "", "", "",
     "The data set: a path, or a mapping of the options of \"data set\"."},
    {"system.input.forcing_dataset", "dataset", "", "", "", "Second data set, for configurations that refer to it."},
    {"system.input.dataset_b", "dataset", "", "", "", "Second data set, for configurations that refer to it."},
    {"system.input.graph", "path", "", "", "",
     "Stored graph (.safetensors); taken if it exists and graph.overwrite is false, else written."},
    {"system.input.loss_matrices_path", "path", "", "", "", "Folder of the smoothing matrices of a multi-scale loss."},
    {"system.input.truncation", "path", "", "", "",
     "Matrix from the data grid to the coarse grid of a truncated residual."},
    {"system.input.truncation_inv", "path", "", "", "", "Matrix back to the data grid."},
    {"system.input.warm_start", "path", "", "", "", "Checkpoint folder or weights file to start from."},
    {"system.output.root", "path", "runs", "", "", "Folder that run folders are made in; --run overrides it."},
    {"system.output.logs", "ignored"},
    {"system.output.checkpoints", "ignored"},
    {"system.output.plots", "ignored"},
    {"system.output.profiler", "ignored"},
};

constexpr KeySpec data_table[] = {
    {"data.format", "string", "zarr", "zarr", "", "Format of the data sets."},
    {"data.frequency", "duration", "", "", "", "Time step of the series that is read; a multiple of the store's."},
    {"data.timestep", "duration", "", "", "", "For configurations that refer to it."},
    {"data.resolution", "string", "", "", "", "Name of the grid, for configurations that refer to it."},
    {"data.datasets.*.forcing", "strings", "[]", "", "", "Variables that the model reads but does not forecast."},
    {"data.datasets.*.diagnostic", "strings", "[]", "", "", "Variables that the model forecasts but does not read."},
    {"data.datasets.*.target", "strings", "[]", "", "", "Variables that only the loss sees."},
    {"data.datasets.*.processors.*", "target:processor", "", "", "", "Pre-processing, in the order written."},
    {"config_validation", "ignored"},
    {"hydra", "ignored"},
};

constexpr KeySpec open_dataset_keys[] = {
    {"dataset", "dataset", "", "", "", "Path of the store, or a nested data set."},
    {"start", "date", "", "", "", "First date, included."},
    {"end", "date", "", "", "", "Last date, included; a year, month or day means its end."},
    {"frequency", "duration", "", "", "", "Keep dates at this step, counted from the first of the store."},
    {"select", "string | strings", "", "", "", "Variables to keep, in this order."},
    {"drop", "string | strings", "", "", "", "Variables to leave out."},
    {"reorder", "strings | map | string", "", "", "", "Order of the variables: list, or name to position."},
    {"rename", "map", "", "", "", "Old name to new name."},
    {"rename.*", "string"},
    {"area", "reals | map | string", "", "", "degrees", "North, west, south, east; cells outside are dropped."},
    {"thinning", "int", "", ">= 1", "", "Keep every n-th row and column of a regular grid."},
    {"method", "string", "", "every-nth", "", "How thinning chooses."},
    {"trim_edge", "int | ints", "", ">= 0", "rows",
     "Rows and columns to cut off: one number, or first rows, last rows, first columns, last columns."},
    {"number", "int | ints", "", ">= 1", "", "Members to keep, counted from 1."},
    {"numbers", "int | ints", "", ">= 1", "", "The same as number."},
    {"member", "int | ints", "", ">= 0", "", "Members to keep, counted from 0."},
    {"members", "int | ints", "", ">= 0", "", "The same as member."},
    {"set_missing_dates", "strings", "", "", "", "Dates to treat as missing."},
    {"fill_missing_dates", "string", "", "closest, interpolate", "", "How missing dates are filled."},
    {"statistics", "dataset", "", "", "", "Data set whose statistics are taken instead."},
    {"cutout", "dataset", "", "", "", "Limited area first, then the global cells outside it."},
    {"join", "dataset", "", "", "", "Data sets whose variables are put side by side."},
    {"concat", "dataset", "", "", "", "Data sets whose dates follow each other."},
    {"ensemble", "dataset", "", "", "", "Data sets whose members are put together."},
    {"grids", "dataset", "", "", "", "Data sets whose cells are put one behind the other."},
    {"adjust", "string | strings", "", "", "", "What is made equal before combining: all, dates, variables."},
    {"min_distance_km", "real", "", ">= 0", "km", "Of a cutout: distance that outer cells keep."},
    {"max_distance_km", "real", "", ">= 0", "km", "Of a cutout: outer cells farther away are dropped."},
    {"cropping_distance", "real", "", ">= 0", "degrees", "Of a cutout: margin of the search."},
    {"neighbours", "int", "", ">= 1", "", "Of a cutout: neighbours that are asked."},
    {"skip_missing_dates", "bool", "", "", "", "Leave windows with missing dates out."},
    {"step_start", "int", "", ">= 0", "h", "Of trajectories: first step."},
    {"step_end", "int", "", ">= 0", "h", "Of trajectories: last step."},
    {"step_frequency", "int", "", ">= 1", "h", "Of trajectories: distance of steps."},
};

#define LOADER_KEYS(stage)                                                                                             \
    {"dataloader." stage ".datasets.*.dataset_config",                                                                 \
     "dataset",                                                                                                        \
     "${dataloader.dataset}",                                                                                          \
     "",                                                                                                               \
     "",                                                                                                               \
     "Data set of the stage: a path, or a mapping of the options of \"data set\"."},                                   \
        {"dataloader." stage ".datasets.*.start", "date", "", "", "", "First date of the stage, after frequency."},    \
        {"dataloader." stage ".datasets.*.end", "date", "", "", "", "Last date of the stage."},                        \
    {                                                                                                                  \
        "dataloader." stage ".datasets.*.trajectory", "ignored"                                                        \
    }

constexpr KeySpec dataloader_table[] = {
    {"dataloader.dataset", "dataset", "${system.input.dataset}", "", "", "Data set that the stages refer to."},
    {"dataloader.sample_order", "string", "global", "global, anemoi", "",
     "global: the same samples in a step whatever the layout; anemoi: the original's slices per group and worker."},
    {"dataloader.batch_size.training", "int", "1", ">= 1", "samples", "Samples per replica and step."},
    {"dataloader.batch_size.validation", "int", "1", ">= 1", "samples", "The same in validation."},
    {"dataloader.batch_size.test", "int", "1", ">= 1", "samples", "The same in tests."},
    {"dataloader.num_workers.training", "int", "1", ">= 0", "threads", "Reading threads per process."},
    {"dataloader.num_workers.validation", "int", "1", ">= 0", "threads", "The same in validation."},
    {"dataloader.num_workers.test", "int", "1", ">= 0", "threads", "The same in tests."},
    {"dataloader.prefetch_factor", "int", "2", ">= 1", "batches", "Batches read ahead by each thread."},
    {"dataloader.pin_memory", "bool", "true", "", "", "Page-locked buffers where there is a GPU."},
    {"dataloader.multiprocessing_context", "ignored"},
    {"dataloader.persistent_workers", "bool", "true", "", "",
     "One permutation stream over all epochs; false seeds it again for each epoch."},
    {"dataloader.read_group_size", "int", "${system.hardware.num_gpus_per_model}", ">= 1", "processes",
     "Processes that read one sample between them (R); divides num_gpus_per_model."},
    {"dataloader.limit_batches.training", "int | real", "", ">= 0", "batches", "Batches per epoch at most."},
    {"dataloader.limit_batches.validation", "int | real", "", ">= 0", "batches", "The same in validation."},
    {"dataloader.limit_batches.test", "int | real", "", ">= 0", "batches", "The same in tests."},
    {"dataloader.trajectory_sampling", "ignored"},
    {"dataloader.grid_indices", "ignored"},
    LOADER_KEYS("training"),
    LOADER_KEYS("validation"),
    LOADER_KEYS("test"),
};
#undef LOADER_KEYS

constexpr KeySpec normalizer_keys[] = {
    {"config.default", "string", "", "mean-std, std, min-max, max, none", "", "Method of variables not listed."},
    {"config.mean-std", "strings", "", "", "", "Variables: minus mean, over standard deviation."},
    {"config.std", "strings", "", "", "", "Variables: over standard deviation."},
    {"config.min-max", "strings", "", "", "", "Variables: to 0 .. 1."},
    {"config.max", "strings", "", "", "", "Variables: over the maximum."},
    {"config.none", "strings", "", "", "", "Variables left as they are."},
    {"config.remap", "map", "", "", "", "Variable to the one whose statistics it takes."},
    {"config.remap.*", "string"},
};
constexpr KeySpec processor_config[] = {
    {"config.default", "any", "", "", "", "Method or value of variables not listed."},
    {"config.*", "any", "", "", "", "Variables of a method, or variable to value."},
};

} // namespace

std::span<const KeySpec> system_keys()
{
    return system_table;
}

std::span<const KeySpec> data_keys()
{
    return data_table;
}

std::span<const KeySpec> dataloader_keys()
{
    return dataloader_table;
}

std::vector<TargetSpec> data_targets()
{
    std::vector<TargetSpec> all = {
        {"data set", "open_dataset", {open_dataset_keys}, "Options of a data set; `_target_` is not written."},
        {"processor", "InputNormalizer", {normalizer_keys}, "Normalisation."}};
    for (const auto* name :
         {"InputImputer", "ConstantImputer", "CopyImputer", "DynamicInputImputer", "Remapper", "Postprocessor",
          "NormalizedReluPostprocessor", "ConditionalZeroPostprocessor", "ConditionalNaNPostprocessor"})
        all.push_back({"processor", name, {processor_config}, ""});
    return all;
}

} // namespace gradwind
