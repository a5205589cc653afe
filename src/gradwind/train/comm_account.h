// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// How much a run communicates, by group and verb, in its steps, in batches of validation and besides.
#pragma once
#include "gradwind/parallel/world.h"

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// What this rank handed to one kind of collective of one group. Bytes as in parallel::Traffic.
struct CommTotal {
    std::string group;
    parallel::Verb verb = parallel::Verb::AllReduce;
    int64_t step_calls = 0, step_bytes = 0;   ///< from the first forward pass to the update, over all steps
    int64_t other_calls = 0, other_bytes = 0; ///< setup, log, stop polls, validation, checkpoints
    /// Held up in steps, on the host; 0 where gradients travel, which have their own account.
    double step_exposed_s = 0;
};

/// The communication of one run on one rank.
struct CommTotals {
    int64_t steps = 0;
    std::vector<CommTotal> rows; ///< only what was called, groups of one process left out
};

/// What is told apart from the rest of a run.
enum class CommPhase {
    Step,           ///< from the first forward pass of an optimiser step to its update
    ValidationBatch ///< from reading a batch to its scores
};

/// Splits what the groups count into what belongs to a phase and what does not. Reads counters, sends nothing.
class CommAccount
{
public:
    explicit CommAccount(const parallel::Groups& groups);
    /// Groups that only the exchange of gradients and weights uses: what they hold up is in the account of gradients.
    void add_exchange(const std::vector<parallel::Group>& groups);
    /// Phases follow each other: one ends before the next begins.
    void begin();
    void end(CommPhase phase);
    /// `comm/<group>/<verb>_calls` and `_bytes`, for groups of the model `_exposed_s`, means of the phases of
    /// this kind since the last call.
    [[nodiscard]] std::vector<std::pair<std::string, double>> take_means(CommPhase phase);
    [[nodiscard]] CommTotals totals() const;

private:
    static constexpr size_t kPhases = 2;
    struct Meter {
        parallel::Group group;
        bool is_exchange = false;                          ///< gradients travel there
        parallel::Traffic start{};                         ///< at begin()
        std::array<parallel::Traffic, kPhases> in_phase{}; ///< since the run began
        std::array<parallel::Traffic, kPhases> reported{}; ///< of in_phase
    };
    std::vector<Meter> meters_;
    std::array<int64_t, kPhases> ended_{}, reported_{};
};

} // namespace gradwind::train
