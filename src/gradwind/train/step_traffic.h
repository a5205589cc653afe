// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What an optimiser step will send and what its reading will decode, before a job is started.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/model/shared_work.h"
#include "gradwind/parallel/layout.h"
#include "gradwind/parallel/partition.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What one part of the model exchanges over the ranks of a model group.
struct PartTraffic {
    std::string part; ///< "encoder", "processor", "decoder"
    std::string source, target;
    model::SharedWork work;
    parallel::HaloCount rows; ///< owned, and with Edges and Sequence those of the halo
    /// What one rank hands to all-to-alls for one copy of the nodes in a training step, forward and backward.
    [[nodiscard]] int64_t elements(int rank) const;
    /// What one rank receives in forward of one layer.
    [[nodiscard]] int64_t received_elements(int rank) const;
};

/// The exchanges of a model group under one partition.
struct GroupTraffic {
    parallel::PartitionKind partition = parallel::PartitionKind::Contiguous;
    bool is_chosen = false; ///< what the configuration selects
    std::vector<PartTraffic> parts;
    std::map<std::string, double> imbalance{}; ///< by node set: most rows of a rank over the mean
    std::string refusal{};                     ///< why the model cannot be shared under it; empty: it can
    /// What one rank of the group hands to all-to-alls for one sample of one member, forward and backward.
    [[nodiscard]] int64_t bytes_per_sample(int rank, int64_t element_bytes) const;
};

/// What every rank hands to the world's all-reduce in one optimiser step, once the order of gradients is known.
struct StepTraffic {
    int64_t parameters = 0;
    int64_t gradient_bytes = 0;       ///< with the gaps between tensors, which travel along
    int64_t gradient_calls = 0;       ///< buckets
    int64_t element_bytes = 4;        ///< of activations
    int64_t passes = 1;               ///< forward passes of a sample: the rollout of the first epoch
    std::vector<GroupTraffic> groups; ///< one for each partition; empty for a model on one process
};

/// Builds the model of a configuration, in this process alone, and asks the gradient engine.
/// @param model_size  processes that share a model
/// @throws ConfigError, DataError where data set, graph or model cannot be had
[[nodiscard]] StepTraffic predict_step_traffic(const Config& config, int model_size = 1);

/// What the processes that read a sample between them decode of a date (cell_reader.h).
struct ReadingPlan {
    int n_readers = 1;         ///< a reader group, or an ensemble whose members see the same samples
    int64_t whole_bytes = 0;   ///< of a date, decoded
    int64_t own_bytes = 0;     ///< of these by the busiest process if each reads its own part
    int64_t range_bytes = 0;   ///< if each reads a range of equal size; 0 where that is not looked at
    bool reads_ranges = false; ///< which are then redistributed
    int64_t block_bytes = 0;   ///< the least that can be decoded: a block of a chunk, or a chunk
    int64_t field_bytes = 0;   ///< one variable of one member
    [[nodiscard]] int64_t decoded_bytes() const { return reads_ranges ? range_bytes : own_bytes; }
};

/// Opens the training data, cuts its cells as configured and reads one date. @throws ConfigError, DataError as opening
/// and reading it
[[nodiscard]] ReadingPlan predict_reading(const Config& config, const parallel::Layout& layout);

} // namespace gradwind::train
