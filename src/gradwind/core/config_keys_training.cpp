// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_keys.h"

namespace gradwind
{

namespace
{

constexpr KeySpec task_table[] = {
    {"task", "target:task", "Forecaster", "", "", "What the network learns."},
};
constexpr KeySpec forecaster_keys[] = {
    {"multistep_input", "int", "2", ">= 1", "steps", "Input steps."},
    {"multistep_output", "int", "1", ">= 1", "steps", "Steps that one forward pass gives."},
    {"timestep", "duration", "6H", "", "", "Time between steps; a multiple of data.frequency."},
    {"rollout.start", "int", "1", ">= 1", "", "Forward passes in a row at first."},
    {"rollout.epoch_increment", "int", "0", ">= 0", "epochs", "One more after this many epochs; 0: never."},
    {"rollout.maximum", "int", "1", ">= 1", "", "Forward passes in a row at most."},
    {"validation_rollout", "int", "", ">= 1", "", "Forward passes in validation; default as in training."},
};

constexpr KeySpec training_table[] = {
    {"training.run_id", "string", "", "", "", "Name of the run."},
    {"training.fork_run_id", "string", "", "", "", "Run to start from."},
    {"training.transfer_learning", "bool", "false", "", "", "Take the weights whose shapes fit, drop the others."},
    {"training.load_weights_only", "bool", "false", "", "", "Take weights, not the optimiser's state."},
    {"training.update_ds_stats_on_ckpt_load.states", "bool", "false", "", "",
     "Normalise with the data set's statistics instead of the checkpoint's."},
    {"training.update_ds_stats_on_ckpt_load.tendencies", "bool", "true", "", "", "The same for tendencies."},
    {"training.check_variables_compatibility.ignore_units", "bool", "false", "", "",
     "Do not compare units with a checkpoint."},
    {"training.check_variables_compatibility.ignore_processing_period", "bool", "false", "", "",
     "Nor accumulation periods."},
    {"training.seed", "int | string", "", "", "",
     "Base seed; absent: ANEMOI_BASE_SEED, else 42; `anemoi`: SLURM_JOB_ID first, as in the original."},
    {"training.deterministic", "bool", "false", "", "", "Bit-identical results on a GPU."},
    {"training.precision", "string", "32-true", "32-true, 64-true, bf16-mixed, 16-mixed", "",
     "Arithmetic; 16-mixed is taken as bf16-mixed."},
    {"training.max_epochs", "int", "", ">= 1", "epochs", "Stop after this many epochs; null: never."},
    {"training.max_steps", "int", "150000", ">= 1", "steps", "Stop after this many optimiser steps."},
    {"training.accum_grad_batches", "int", "1", ">= 1", "batches", "Batches per optimiser step."},
    {"training.num_sanity_val_steps", "int", "0", ">= -1", "batches", "Validation batches before training."},
    {"training.gradient_clip.val", "real", "32.0", ">= 0", "", "Clipping threshold; null or 0: none."},
    {"training.gradient_clip.algorithm", "string", "value", "value, norm", "", "Clip each element or the whole norm."},
    {"training.method", "target:method", "SingleTraining", "", "", "Deterministic or ensemble training."},
    {"training.ensemble_size_per_device", "int", "1", ">= 1", "members", "Members on each process."},
    {"training.strategy", "target:strategy", "DDPGroupStrategy", "", "", "How processes work together."},
    {"training.loss_gradient_scaling", "bool", "false", "", "", "Scale the gradient per variable (spec 7.7)."},
    {"training.optimization.lr", "real", "6.25e-5", ">= 0", "", "Learning rate of one replica."},
    {"training.optimization.lr_scaling", "string", "anemoi", "anemoi, none", "",
     "anemoi: lr times the number of replicas; none: lr as it is."},
    {"training.optimization.optimizer", "target:optimizer", "AdamW", "", "", "The optimiser."},
    {"training.optimization.lr_scheduler", "target:schedule", "CosineLRScheduler", "", "",
     "Course of the learning rate."},
    {"training.optimization.pl_lr_scheduler.interval", "string", "step", "step", "",
     "The schedule moves with each step."},
    {"training.training_loss.datasets.*", "target:loss", "", "", "", "Loss of a data set."},
    {"training.scalers.datasets.*.*", "target:scaler", "", "", "", "Weights that losses refer to by name."},
    {"training.validation_metrics.datasets.*.*", "target:loss", "", "", "",
     "Metrics of validation, in physical units."},
    {"training.variable_groups.datasets.*.default", "string", "sfc", "", "", "Group of variables in no other."},
    {"training.variable_groups.datasets.*.*.*", "string | strings | ints | bool", "", "", "",
     "Group by `param` or other metadata of the variables."},
    {"training.metrics.datasets.*", "strings", "", "", "", "Variables with a validation metric of their own."},
    {"training.submodules_to_freeze", "strings", "[]", "", "", "Parts of the network that keep their weights."},
    {"training.weight_averaging", "target:averaging", "", "", "", "Averaged copy of the weights."},
    {"training.recompile_limit", "ignored"},
    {"training.preferred_blas_backend", "ignored"},
    {"training.check_variables_compatibility.ignore_time_processing", "ignored"},
    {"training.check_variables_compatibility.ignore_type_of_level", "ignored"},
};

constexpr KeySpec strategy_keys[] = {
    {"num_gpus_per_model", "int", "${system.hardware.num_gpus_per_model}", ">= 1", "processes",
     "M; as in system.hardware."},
    {"num_gpus_per_ensemble", "int", "${system.hardware.num_gpus_per_ensemble}", ">= 1", "processes",
     "E; as in system.hardware."},
    {"read_group_size", "int", "${dataloader.read_group_size}", ">= 1", "processes", "R; as in dataloader."},
    {"broadcast_buffers", "bool", "false", "", "",
     "Send buffers in every step; they are sent once at the start anyway."},
    {"use_local_synchronization", "ignored"},
    {"bucket_cap_mb", "real", "25", "> 0", "MiB", "Bytes of gradients that travel together."},
    {"first_bucket_mb", "real", "1", "> 0", "MiB", "The same for the first, so that traffic starts early."},
    {"wire_dtype", "string", "fp32", "fp32, bf16", "", "Precision in which gradients travel."},
    {"copy_engines", "bool", "true", "", "",
     "Gradients of GPUs of one node, each with a whole model, go from memory to memory, not through NCCL, where "
     "NCCL_P2P_DISABLE=1 does not forbid it."},
    {"gradient_compression.kind", "string", "none", "none, powersgd, acp", "",
     "Matrices travel as factors of low rank; what is left out is added to the next gradient. acp: one message a "
     "step."},
    {"gradient_compression.rank", "int", "4", ">= 1", "", "Rank of the factors."},
    {"gradient_compression.start_step", "int", "", ">= 0", "steps",
     "Steps with whole gradients before; absent: the warm-up of the learning rate."},
    {"gradient_compression.min_ratio", "real", "2", ">= 0", "",
     "Matrices whose factors are not this many times smaller travel whole."},
    {"plan", "path", "", "", "", "Plan written by `gradwind tune`; wins over the keys above."},
    {"cuda_graphs", "bool", "false", "", "",
     "Record each kind of step once on a GPU and start it with one call from then on: for steps that the processor, "
     "not "
     "the GPU, holds up."},
    {"hierarchical", "bool", "false", "", "",
     "Sum gradients in each node first, then every process its part across nodes, then hand the parts round in the "
     "node."},
    {"zero_group_size", "int", "1", ">= 1", "processes",
     "Consecutive processes that share the optimiser's state; a divisor of the job."},
    {"partition", "string", "contiguous", "contiguous, bisection, auto", "",
     "How nodes are cut over a model group: ranges in their order, patches, or whichever has the smaller halo."},
    {"timeout_s", "real", "600", "> 0", "s",
     "A collective that takes longer is an error; the graph, the first step and checkpoints have three times as long."},
    {"find_unused_parameters", "bool", "false", "", "", "Expect parameters without gradients."},
    {"static_graph", "ignored"},
    {"gradient_as_bucket_view", "ignored"},
    {"process_group_backend", "string", "", "gloo, nccl", "", "Transport; default: by device."},
};

constexpr KeySpec adamw_keys[] = {
    {"betas", "reals", "[0.9, 0.95]", "0 .. 1", "", "Decay of the two moments."},
    {"eps", "real", "1e-8", "> 0", "", "Guard against division by zero."},
    {"weight_decay", "real", "0.01", ">= 0", "", "Decay of the weights."},
    {"amsgrad", "bool", "false", "false", "", "Not supported."},
    {"fused", "ignored"},
    {"foreach", "ignored"},
};
constexpr KeySpec zero_keys[] = {
    {"optimizer_class", "target:optimizer", "", "", "", "The optimiser whose state is spread."},
};
constexpr KeySpec cosine_keys[] = {
    {"lr_min", "real", "3e-7", ">= 0", "", "Rate at the end; not scaled by the layout."},
    {"t_initial", "int", "${training.max_steps}", ">= 1", "steps", "Length of the cosine, warm-up included."},
    {"warmup_t", "int", "1000", ">= 0", "steps", "Linear rise from zero."},
    {"t_in_epochs", "bool", "false", "", "", "Lengths count epochs; only false works."},
};
constexpr KeySpec ema_keys[] = {
    {"decay", "real", "0.999", "0 .. 1", "", "Share that is kept in each step."},
};
constexpr KeySpec swa_keys[] = {
    {"swa_lrs", "real", "", "> 0", "", "Rate while averaging."},
};

} // namespace

std::span<const KeySpec> task_keys()
{
    return task_table;
}

std::span<const KeySpec> training_keys()
{
    return training_table;
}

std::vector<TargetSpec> training_targets()
{
    return {
        {"task", "Forecaster", {forecaster_keys}, "The next steps from the last ones."},
        {"method", "SingleTraining", {}, "Deterministic."},
        {"method", "EnsembleTraining", {}, "Ensembles with a probabilistic score."},
        {"strategy", "DDPGroupStrategy", {strategy_keys}, "Replicas of (sharded) models."},
        {"strategy", "DDPEnsGroupStrategy", {strategy_keys}, "Replicas of ensembles."},
        {"optimizer", "AdamW", {adamw_keys}, "Adam with decoupled weight decay."},
        {"optimizer", "ZeroRedundancyOptimizer", {adamw_keys, zero_keys}, "AdamW whose state is spread over replicas."},
        {"schedule", "CosineLRScheduler", {cosine_keys}, "Linear warm-up, then a cosine."},
        {"averaging", "EMAWeightAveraging", {ema_keys}, "Exponential mean."},
        {"averaging", "StochasticWeightAveraging", {swa_keys}, "Running mean."},
    };
}

} // namespace gradwind
