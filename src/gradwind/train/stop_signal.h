// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Signals that ask a training to save and leave.
#pragma once
#include <csignal>

#include <vector>

namespace gradwind::train
{

/// While it lives, SIGTERM, SIGUSR1 (Slurm's `--signal`) and SIGINT only set a flag; a second SIGINT ends the process.
/// One at a time.
class StopSignal
{
public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;
    /// The signal that came, or 0.
    [[nodiscard]] int received() const;

private:
    struct Saved {
        int signal;
        struct sigaction action;
    };
    std::vector<Saved> saved_;
};

} // namespace gradwind::train
