// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Knows when the gradients of every bucket are complete in a backward pass; private to parallel.
#pragma once
#include "gradwind/parallel/arena.h"
#include "gradwind/parallel/bucket_table.h"

#include <memory>
#include <vector>

namespace gradwind::parallel::detail
{

/// Counts how often each parameter's gradient is added to in a backward pass, and tells when those of a bucket will not
/// be any more. What is done for each parameter touches two lines of memory and takes no lock.
///
/// A parameter is added to once per (possibly nested) backward that reaches it: once normally, once per checkpointed
/// segment that uses it, not at all where it is unused. The counts to expect come from a recorded backward.
class ReadyTracker
{
public:
    /// Watch: looks only whether gradients are where they belong, which Record and Count do, too.
    enum class Mode { Off, Watch, Record, Count };

    /// Hears from autograd's threads.
    class Listener
    {
    public:
        /// Every parameter that reaches into the bucket was added to as often as expected.
        virtual void bucket_ready(size_t bucket) = 0;
        /// A parameter was added to after that.
        virtual void late(size_t parameter) = 0;

    protected:
        ~Listener() = default;
    };

    /// All have to outlive the backward passes that are watched. To be told of a layout before the first of them.
    ReadyTracker(const Arena& arena, BucketTable& buckets, Listener& listener);
    ~ReadyTracker();
    ReadyTracker(const ReadyTracker&) = delete;
    ReadyTracker& operator=(const ReadyTracker&) = delete;

    /// Arena or buckets were laid out anew.
    void follow_layout();
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
    void expect(const std::vector<int>& counts);

private:
    struct Shared;
    struct Hook;
    struct Registration;
    const Arena& arena_;
    std::shared_ptr<Shared> shared_;
    std::vector<Registration> registrations_;
};

} // namespace gradwind::parallel::detail
