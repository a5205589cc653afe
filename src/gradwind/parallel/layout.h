// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Who works with whom: the arithmetic of model, reader and ensemble groups. No communication, no torch.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind::parallel
{

/// Cuts n things into parts whose sizes differ by at most one, larger ones first (spec 12.3).
/// @return parts sizes that add up to n
[[nodiscard]] std::vector<int64_t> balanced_partition(int64_t n, int64_t parts);

/// First index and count of one part of balanced_partition().
struct Span {
    int64_t begin = 0;
    int64_t size = 0;
    [[nodiscard]] int64_t end() const { return begin + size; }
    friend bool operator==(const Span&, const Span&) = default;
};
[[nodiscard]] Span balanced_span(int64_t n, int64_t parts, int64_t part);

enum class JobKind { Deterministic, Ensemble };

/// What a user chooses about the layout; all counts at least 1.
struct LayoutOptions {
    int nodes = 1;
    int gpus_per_node = 1;     ///< processes per node; "GPU" also stands for a CPU process
    int gpus_per_model = 1;    ///< M
    int gpus_per_ensemble = 1; ///< E, a multiple of M; only looked at for ensembles
    int read_group_size = 1;   ///< R, a divisor of M
    JobKind kind = JobKind::Deterministic;
};

/// Where one rank stands in every group (spec 12.1). Ids count groups over the whole job, except reader_id, which
/// counts the reader groups inside the model group.
struct Place {
    int rank = 0;
    int model_id = 0, model_rank = 0;
    int reader_id = 0, reader_rank = 0;
    int ensemble_id = 0, ensemble_rank = 0;
    int subgroup_id = 0, subgroup_rank = 0;
    int replica = 0; ///< which share of the global batch this rank works on
};

/// A checked layout. Ranks are consecutive inside model, reader and ensemble groups.
class Layout
{
public:
    /// @throws ConfigError naming the rule that is broken and values that would work
    explicit Layout(const LayoutOptions& options);

    [[nodiscard]] const LayoutOptions& options() const { return options_; }
    [[nodiscard]] int world() const { return options_.nodes * options_.gpus_per_node; }
    [[nodiscard]] int model_size() const { return options_.gpus_per_model; }
    [[nodiscard]] int reader_size() const { return options_.read_group_size; }
    /// E; equal to M for a deterministic job, whose ensemble groups are its model groups.
    [[nodiscard]] int ensemble_size() const { return options_.gpus_per_ensemble; }
    [[nodiscard]] int subgroup_size() const { return ensemble_size() / model_size(); }
    /// D: how many groups see samples of their own.
    [[nodiscard]] int replicas() const { return world() / ensemble_size(); }

    /// @throws InternalError unless 0 <= rank < world()
    [[nodiscard]] Place place(int rank) const;

    /// World ranks of a group, in the order of their rank inside it.
    [[nodiscard]] std::vector<int> model_ranks(int model_id) const;
    [[nodiscard]] std::vector<int> reader_ranks(int model_id, int reader_id) const;
    [[nodiscard]] std::vector<int> ensemble_ranks(int ensemble_id) const;
    [[nodiscard]] std::vector<int> subgroup_ranks(int subgroup_id) const;

    /// Samples that one optimiser step sees: batch per replica x D x accumulation.
    [[nodiscard]] int64_t effective_batch(int64_t batch_per_replica, int64_t accumulation = 1) const;
    /// What the original multiplies the learning rate by: nodes x gpus / M, or / E for ensembles (spec 11).
    [[nodiscard]] double learning_rate_factor() const { return replicas(); }

private:
    LayoutOptions options_;
};

/// "8x4" (nodes x GPUs per node) or "32" (one node) -> nodes and gpus_per_node of the result.
/// @throws ConfigError if the text is anything else
[[nodiscard]] LayoutOptions parse_world(std::string_view text);

} // namespace gradwind::parallel
