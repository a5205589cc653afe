// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The ways in which processes can share the work of one configuration.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/parallel/layout.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gradwind::verify
{

/// One way to share the work: groups, and how many samples a forward pass has.
struct LayoutCase {
    parallel::LayoutOptions groups; ///< one node
    int64_t batch = 1;              ///< most samples of one forward pass of a replica
    int64_t passes = 1;             ///< forward passes of a replica with the most samples
    int64_t members_per_device = 1; ///< of an ensemble
    std::string strategy;           ///< how a model group shares the network, by name; empty: as configured
    std::string partition;          ///< how nodes are cut over it; empty: as configured

    /// "W4 M2 R1 2x1": processes, processes of a model and of a reader group where more than one, batch x passes.
    [[nodiscard]] std::string name() const;
    /// Whether one network or one ensemble is cut over processes.
    [[nodiscard]] bool is_sharded() const;
};

/// A way in which a model group can share the network besides the configured one.
struct SharingChoice {
    std::string name;                   ///< "heads", "edges", "sequence"
    std::vector<std::string> overrides; ///< of the configuration
    int64_t most_processes = 0;         ///< that can share it so
};

/// What all layouts have in common: one global batch, one effective rate.
struct CommonWork {
    int64_t effective_batch = 1, effective_validation_batch = 1;
    int64_t batch = 1; ///< as configured: what a process can hold
    int64_t n_replicas = 1;
    double effective_lr = 0;
    int64_t members = 1;
    parallel::JobKind kind = parallel::JobKind::Deterministic;
    std::vector<SharingChoice> sharing = {}; ///< that fit the network
};

/// The work of a configuration as `train --nproc n` would have it. @throws ConfigError if its groups do not fit n
[[nodiscard]] CommonWork common_work(const Config& config, int n_processes);

/// One process, passes of the configured size.
[[nodiscard]] LayoutCase reference_case(const CommonWork& work);

/// Every layout of up to n processes: all sizes of model, reader and ensemble groups that divide each other, whole and
/// halved forward passes. The reference is not among them.
[[nodiscard]] std::vector<LayoutCase> layout_cases(const CommonWork& work, int n_processes);

/// What has to be written over the configuration for a layout. @param steps  optimiser steps of the run
[[nodiscard]] std::vector<std::string> overrides_for(const Config& config, const CommonWork& work,
                                                     const LayoutCase& layout, int64_t steps);

} // namespace gradwind::verify
