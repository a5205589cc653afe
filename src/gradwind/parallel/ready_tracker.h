// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Knows when the gradient of every parameter is complete in a backward pass; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"

#include <atomic>
#include <functional>
#include <memory>

namespace gradwind::parallel::detail
{

/// Counts how often each parameter's gradient is added to in a backward pass, and tells when it will not be any more.
///
/// A parameter is added to once per (possibly nested) backward that reaches it: once normally, once per checkpointed
/// segment that uses it, not at all where it is unused. The counts to expect come from a recorded backward.
class ReadyTracker
{
public:
    /// Watch: looks only whether gradients are where they belong, which Record and Count do, too.
    enum class Mode { Off, Watch, Record, Count };

    /// @param arena must outlive the backward passes that are watched
    /// @param ready called with a parameter's index when its expected count is reached; from autograd's threads
    /// @param late called when a gradient comes after that
    ReadyTracker(const Arena& arena, std::function<void(size_t)> ready, std::function<void(size_t)> late);
    ~ReadyTracker();
    ReadyTracker(const ReadyTracker&) = delete;
    ReadyTracker& operator=(const ReadyTracker&) = delete;

    /// Starts watching a backward pass.
    void begin(Mode mode);
    /// Ends it. After Count, an expectation that was exceeded is raised.
    void end();
    /// A parameter whose gradient was found not to be its slice of the arena since the last call; -1: none.
    [[nodiscard]] int64_t take_replaced();

    /// Additions seen per parameter since begin().
    [[nodiscard]] std::vector<int> seen() const;
    /// Indices of the parameters seen since begin(Mode::Record), by the time of their last addition.
    [[nodiscard]] std::vector<size_t> order_of_completion() const;
    /// Seconds from begin(Mode::Record) to the last addition of each parameter, on the device's clock; 0 for those not
    /// seen. Empty before a recording.
    [[nodiscard]] std::vector<double> seconds_of_completion() const;
    /// A parameter with count 0 is never reported ready.
    void expect(std::vector<int> counts);

private:
    struct Shared;
    struct Hook;
    struct Registration;
    std::shared_ptr<Shared> shared_;
    std::vector<Registration> registrations_;
};

} // namespace gradwind::parallel::detail
