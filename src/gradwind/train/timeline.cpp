// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/timeline.h"

#include "gradwind/train/step_runner.h"

#include <fmt/format.h>

#include <algorithm>

namespace gradwind::train
{

Timeline::Timeline(parallel::Group world, at::Device device, const TimelineSettings& settings)
    : world_(std::move(world)), device_(device), settings_(settings)
{
}

void Timeline::begin(StepClock& clock, parallel::GradientEngine& engine)
{
    if (!is_chosen())
        return;
    if (step_ == settings_.first_step) {
        world_.barrier();
        origin_ = Clock::now();
    }
    engine.watch_next_step();
    clock.start();
}

bool Timeline::end(StepClock& clock, parallel::GradientEngine& engine, const StepOutcome& outcome)
{
    if (!is_chosen()) {
        ++step_;
        return false;
    }
    const double start = since_origin(clock.started());
    double device_backward = start;
    for (const auto& span : clock.stop()) {
        add(name_of(span.phase), Track::Host, start + span.begin_s, start + span.end_s);
        if (!device_.is_cpu())
            add(name_of(span.phase), Track::Device, start + span.device_begin_s, start + span.device_end_s);
        if (span.phase == StepPhase::Backward)
            device_backward = start + span.device_begin_s; // of the last micro-batch: the one that is reduced
    }
    add_buckets(engine.last_step(), device_backward);
    for (size_t i = 0; i < outcome.batches.size(); ++i) {
        const auto& decoded = outcome.batches[i].decoded;
        add_overlapping(fmt::format("batch {}", i), Track::Loader, since_origin(decoded.begin),
                        since_origin(decoded.end), "");
    }
    ++step_;
    return step_ == settings_.first_step + settings_.steps;
}

void Timeline::add_buckets(const parallel::BucketReport& report, double device_backward_s)
{
    const double begun = since_origin(report.began);
    for (size_t index = 0; index < report.buckets.size(); ++index) {
        const auto& bucket = report.buckets[index];
        const double ready = device_.is_cpu() ? begun + bucket.launched : device_backward_s + bucket.launched_on_device;
        add_overlapping(fmt::format("bucket {}", index), Track::Buckets, ready, begun + bucket.summed,
                        fmt::format(R"("gradient_bytes":{},"wire_bytes":{},"waited_us":{:.1f})", bucket.bytes,
                                    bucket.on_wire, 1e6 * bucket.waited));
    }
}

double Timeline::since_origin(Clock::time_point time) const
{
    return std::chrono::duration<double>(time - origin_).count();
}

void Timeline::add(const std::string& name, Track track, double begin_s, double end_s)
{
    events_ += fmt::format(R"({{"ph":"X","name":"{}","cat":"step {}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f}}},)",
                           name, step_, world_.rank(), static_cast<int>(track), 1e6 * begin_s, 1e6 * (end_s - begin_s));
}

void Timeline::add_overlapping(const std::string& name, Track track, double begin_s, double end_s,
                               const std::string& arguments)
{
    // Several may be under way at once, so they are spans of their own and not of a track.
    const auto common = fmt::format(R"("name":"{}","cat":"step {}","id":"{}.{}.{}","pid":{},"tid":{})", name, step_,
                                    world_.rank(), step_, name, world_.rank(), static_cast<int>(track));
    events_ += fmt::format(R"({{"ph":"b",{},"ts":{:.3f},"args":{{{}}}}},)", common, 1e6 * begin_s, arguments);
    events_ += fmt::format(R"({{"ph":"e",{},"ts":{:.3f}}},)", common, 1e6 * std::max(begin_s, end_s));
}

std::string Timeline::names() const
{
    const int rank = world_.rank();
    auto text = fmt::format(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"rank {}"}}}},)", rank, rank);
    const char* tracks[] = {"host", "device", "buckets", "loader"};
    for (int track = 0; track < 4; ++track)
        text += fmt::format(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":"{}"}}}},)", rank,
                            track, tracks[track]);
    return text;
}

std::string Timeline::trace() const
{
    std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
    for (const auto& events : world_.all_gather_bytes(names() + events_))
        text += events + "\n";
    text.erase(text.find_last_of(','), 1);
    return world_.rank() == 0 ? text + "]}\n" : std::string();
}

} // namespace gradwind::train
