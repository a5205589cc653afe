// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the exchange of gradients takes of each process of a job, worked out before there is one.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/engine_options.h"
#include "gradwind/parallel/group.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gradwind::parallel
{

/// What a process hands to one kind of collective of one group in a step.
struct PlannedCalls {
    std::string group;
    Verb verb = Verb::AllReduce;
    int64_t calls = 0, bytes = 0;
};

/// Memory and traffic of one process, equal on all; bytes unless said otherwise.
struct ExchangeBudget {
    /// A kind of step.
    struct Phase {
        int64_t buffers = 0; ///< of messages, kept from step to step
        std::vector<PlannedCalls> calls{};
    };
    int64_t buckets = 0;                   ///< of a dense step
    int64_t parameters = 0, gradients = 0; ///< the arenas, with the gaps between tensors
    int64_t owned = 0;                     ///< elements whose optimiser's state this process holds
    /// While the largest bucket is summed in rows, or in bf16 on CPUs: its messages besides the buffers. Gloo may hold
    /// those of the bucket before a moment longer.
    int64_t work = 0;
    Phase dense{};
    /// Nothing without compression. ACP: steps of P and of Q, in turn; PowerSGD: all steps.
    std::vector<Phase> compressed{};
};

/// Of a GradientEngine with these parameters and options in a world of this size, calls of share_parameters() included.
/// Under compression messages depend on the order in which gradients become ready, by at most 256 bytes a bucket and
/// process of a node: taken is EngineOptions::order, else the reverse of the list.
/// @throws ConfigError as the engine
[[nodiscard]] ExchangeBudget exchange_budget(const std::vector<NamedParameter>& parameters,
                                             const EngineOptions& options, int world);

} // namespace gradwind::parallel
