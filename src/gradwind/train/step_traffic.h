// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the parts of a model and its gradients will send, and what its reading will decode, before a job is started.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/model/shared_work.h"
#include "gradwind/parallel/exchange_budget.h"
#include "gradwind/parallel/layout.h"
#include "gradwind/parallel/partition.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

struct JobOutline;
class Stage;

/// What one part of the model exchanges over the ranks of a model group.
struct PartTraffic {
    std::string part; ///< "encoder", "processor", "decoder", "residual"
    std::string source, target;
    model::SharedWork work;
    parallel::HaloCount rows; ///< owned, and with Edges and Sequence those of the halo
    /// Along edges: destinations that need none of the halo over all, of the rank that has least of them.
    std::optional<double> interior_share{};
    /// Fields in the type of the data, whose gradients travel from the second pass of a rollout on; else activations.
    bool of_fields = false;
    /// What one rank hands to all-to-alls for one copy of the nodes: forward once, backward, and both in a training
    /// step.
    [[nodiscard]] int64_t forward_elements(int rank) const;
    [[nodiscard]] int64_t backward_elements(int rank) const;
    [[nodiscard]] int64_t elements(int rank) const;
    /// What one rank receives in forward of one layer.
    [[nodiscard]] int64_t received_elements(int rank) const;
};

/// What a step makes of a part's exchanges.
struct PassCost {
    int64_t element_bytes = 4; ///< of activations
    int64_t field_bytes = 4;   ///< of fields of the data set
    int64_t passes = 1;        ///< forward passes of a sample: the rollout
};

/// The exchanges of a model group under one partition.
struct GroupTraffic {
    parallel::PartitionKind partition = parallel::PartitionKind::Contiguous;
    bool is_chosen = false; ///< what the configuration selects
    std::vector<PartTraffic> parts;
    std::map<std::string, double> imbalance{}; ///< by node set: most rows of a rank over the mean
    std::string refusal{};                     ///< why the model cannot be shared under it; empty: it can
    /// What one rank of the group hands to all-to-alls for one sample of one member in all passes: forward and
    /// backward, and in forward alone.
    [[nodiscard]] int64_t bytes_per_sample(int rank, const PassCost& cost) const;
    [[nodiscard]] int64_t forward_bytes_per_sample(int rank, const PassCost& cost) const;
};

/// What every rank exchanges in one optimiser step, once the order of gradients is known, and holds for it.
struct StepTraffic {
    int64_t parameters = 0;
    int64_t gradient_bytes = 0;        ///< with the gaps between tensors, which travel along; as they are on the wire
    int64_t gradient_calls = 0;        ///< buckets
    parallel::ExchangeBudget exchange; ///< of gradients, and of weights where ranks share the optimiser's state
    int64_t moment_bytes = 0;          ///< of AdamW
    /// Once, while the arena is laid out in the order of the gradients, besides what is there all the time.
    int64_t first_step_bytes = 0;
    int64_t buffer_bytes = 0;         ///< that rank 0 sends to all
    PassCost cost{};                  ///< with the rollout of the first epoch
    std::vector<GroupTraffic> groups; ///< one for each partition; empty for a model on one process
};

/// Asks the model of a job.
[[nodiscard]] StepTraffic predict_step_traffic(const JobOutline& job, const parallel::Layout& layout);

/// What the processes that read a sample between them decode of a date (cell_reader.h).
struct ReadingPlan {
    int n_readers = 1;                  ///< a reader group, or an ensemble whose members see the same samples
    int64_t whole_bytes = 0;            ///< of a date, decoded
    int64_t own_bytes = 0;              ///< of these by the busiest process if each reads its own part
    int64_t decoded_bytes = 0;          ///< by the busiest process as they read
    bool reads_ranges = false;          ///< of equal size, of some data set, which are then redistributed
    int64_t block_bytes = 0;            ///< the least that can be decoded: a block of a chunk, or a chunk
    int64_t field_bytes = 0;            ///< one variable of one member
    std::vector<int64_t> handed_over{}; ///< by reader: values of a date that it hands to all-to-alls, to itself too
};

/// Reads one date of every data set; bytes and values are sums over them, those of a block and a field the largest.
/// @param partitions  of the cells over a model group, by data set @param rank  one of the readers
/// @throws DataError as reading it
[[nodiscard]] ReadingPlan predict_reading(const Stage& stage, const parallel::Layout& layout,
                                          std::span<const parallel::Partition> partitions, int rank);

} // namespace gradwind::train
