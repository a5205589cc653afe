// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Makes the groups of a job: the world from how this process was launched, the others from the layout.
#pragma once
#include "gradwind/parallel/group.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/layout.h"

#include <chrono>
#include <functional>
#include <string>

namespace gradwind::parallel
{

/// Gloo sends CPU tensors, Nccl tensors of GPU number local_rank.
enum class BackendKind { Gloo, Nccl };

struct WorldOptions {
    BackendKind backend = BackendKind::Gloo;
    /// After this long without an answer a collective fails (training.strategy.timeout_s), with NCCL 10 s later.
    std::chrono::milliseconds timeout = std::chrono::minutes(10);
    /// How long the processes may take to appear; less than the timeout counts as the timeout.
    std::chrono::milliseconds start_patience{};
};

/// The group of all processes; Group::self("world") if there is only one.
/// @collective all processes of the job
/// @throws CommError if the others do not appear in time; ConfigError if this build lacks the backend
[[nodiscard]] Group connect_world(const Environment& environment, const WorldOptions& options = {});

/// The groups that one process belongs to.
struct Groups {
    Layout layout;
    Group world;
    Group model;    ///< M consecutive ranks that hold one model
    Group reader;   ///< R ranks of the model group that read one sample between them
    Group ensemble; ///< E consecutive ranks that hold one ensemble
    Group subgroup; ///< the ranks of the ensemble with the same model rank
};

/// @collective all ranks of world
/// @throws ConfigError if the layout is for another number of processes
[[nodiscard]] Groups make_groups(const Layout& layout, const Group& world);

/// Waits until all processes of the job are here, for places where some take much longer than a collective may: the
/// first step, a checkpoint. Goes through the store in which the processes met, and notices a process that says that it
/// has failed. @param where  for the message, "the first step" @param patience  how long the last may take
/// @collective all ranks of a group from connect_world(), counted as a barrier @throws CommError
void meet(const Group& world, const std::string& where, std::chrono::milliseconds patience);

/// What a process does that has failed and is still there a few seconds later, since a GPU that waits for another
/// process holds up its destructors: says the reason and ends. A program sets it; nothing by default.
using LastResort = std::function<void(const std::string& reason)>;
void set_last_resort(LastResort leave);

/// Runs the work of this process; if it throws, the other ranks learn why before the exception travels on.
///
/// They see it as soon as they miss us in a collective: at once if this process then ends, else after the timeout.
void run_supervised(const Group& world, const std::function<void()>& work);

} // namespace gradwind::parallel
