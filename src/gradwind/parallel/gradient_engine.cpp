// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/gradient_engine.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/agree.h"
#include "gradwind/parallel/engine_setup.h"
#include "gradwind/parallel/exchange.h"
#include "gradwind/parallel/lane.h"
#include "gradwind/parallel/low_rank.h"
#include "gradwind/parallel/ready_tracker.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>

namespace gradwind::parallel
{
namespace
{

using Clock = std::chrono::steady_clock;

} // namespace

class GradientEngine::Impl
{
public:
    Impl(std::vector<NamedParameter> parameters, Group world, EngineOptions options)
        : world_(std::move(world)), options_(std::move(options)), arena_(checked(std::move(parameters))),
          stopwatch_(detail::make_stopwatch(arena_.parameters().front().tensor.device())),
          tracker_(
              arena_.parameters(), [this](size_t index) { on_ready(index); }, [this](size_t index) { on_late(index); })
    {
        const auto device = arena_.parameters().front().tensor.device();
        // In a world of one there is no wire.
        dense_ = options_.wire == WireType::Bf16 && world_.size() > 1 ? detail::make_bf16_exchange(world_, device)
                                                                      : detail::make_plain_exchange(world_);
        if (options_.compression.kind != Compression::None)
            low_rank_ = std::make_unique<detail::LowRankExchange>(world_, options_.compression, device);
        arena_.lay_out(options_.order.empty() ? detail::reversed_order(arena_.parameters().size())
                                              : detail::order_from_names(arena_.parameters(), options_.order));
        set_plan(plan_buckets(arena_.numel(), arena_.element_bytes(), options_));
    }

    void begin_step()
    {
        GRADWIND_CHECK(launched_ == 0, InternalError, "[gradients] a step was begun before finish() of the one before");
        tracker_.end();
        reduce_begun_ = false;
        arena_.restore_gradient_views();
        if (low_rank_ && !compressed_ && is_laid_out() && reduced_steps_ >= options_.compression.start_step)
            compress_from_here();
        if (compressed_)
            low_rank_->begin_step();
        else
            at::Tensor(arena_.gradients()).zero_();
    }

    void begin_backward(Sync sync)
    {
        GRADWIND_CHECK(!reduce_begun_, InternalError,
                       "[gradients] only the last backward of a step is reduced: finish() comes after it");
        if (sync == Sync::Accumulate)
            return;
        reduce_begun_ = true;
        start_ = Clock::now();
        stopwatch_->note(kBackward);
        for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
            pending_[bucket].store(buckets_[bucket].slices, std::memory_order_relaxed);
        tracker_.begin(recording_ ? detail::ReadyTracker::Mode::Record : detail::ReadyTracker::Mode::Count);
    }

    void finish()
    {
        if (!reduce_begun_)
            start_ = Clock::now(); // a rank without samples
        const double begin = now();
        stopwatch_->note(kFinish);
        tracker_.end();
        arena_.check_gradient_views();
        if (recording_)
            learn_from_recording();
        const size_t launched_before = launched_;
        {
            const std::lock_guard lock(launch_mutex_);
            while (launched_ < buckets_.size())
                launch_next();
        }
        report_.buckets.resize(buckets_.size());
        for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
            const double before = now();
            exchange().wait(bucket);
            auto& timing = buckets_[bucket].timing;
            timing.waited = now() - before;
            timing.on_wire = exchange().wire_bytes(bucket);
            report_.buckets[bucket] = timing;
        }
        stopwatch_->note(kSummed);
        report_.backward = begin;
        report_.launched_in_backward = launched_before;
        launched_ = 0;
        reduce_begun_ = false;
        ++reduced_steps_;
        if (compressed_)
            low_rank_->end_step();
    }

    void discard_step()
    {
        if (compressed_)
            low_rank_->discard_step();
    }

    const BucketReport& report()
    {
        if (reduced_steps_ > 0)
            report_.exposed = stopwatch_->seconds(kFinish, kSummed);
        return report_;
    }

    void expect_new_graph() { recording_ = true; }

    void replan(std::vector<int64_t> ends)
    {
        GRADWIND_CHECK(!reduce_begun_ && launched_ == 0, InternalError,
                       "[gradients] buckets change between steps only");
        detail::agree(world_, "buckets", fmt::format("{}", fmt::join(ends, " ")));
        int64_t begin = 0;
        for (const int64_t end : ends) {
            GRADWIND_CHECK(end > begin, ConfigError, "[gradients] bucket ends must grow: {} follows {}", end, begin);
            begin = end;
        }
        GRADWIND_CHECK(begin == arena_.numel(), ConfigError, "[gradients] the last bucket ends at {}, the arena at {}",
                       begin, arena_.numel());
        set_plan(compressed_ ? at_ends_of_slices(ends) : std::move(ends));
    }

    void restore(int64_t reduced_steps, const CompressionState& numbers)
    {
        GRADWIND_ASSERT(is_laid_out());
        reduced_steps_ = reduced_steps;
        if (!low_rank_ || !numbers.active)
            return;
        compress_from_here();
        low_rank_->set_next_is_p(numbers.next_is_p);
    }

    [[nodiscard]] CompressionState compression_state() const
    {
        CompressionState state;
        state.active = compressed_;
        if (!compressed_)
            return state;
        state.next_is_p = low_rank_->next_is_p();
        state.factors = low_rank_->factors();
        for (const Slice& slice : low_rank_->compressed())
            state.errors.emplace_back(slice.name,
                                      arena_.gradients().narrow(0, slice.offset, slice.numel).view(slice.shape));
        return state;
    }

    [[nodiscard]] at::Tensor flat_gradients() const { return compressed_ ? low_rank_->applied() : arena_.gradients(); }

    [[nodiscard]] std::vector<double> ready_times() const
    {
        const auto seconds = tracker_.seconds_of_completion();
        std::vector<double> times;
        for (const size_t index : arena_.order())
            times.push_back(seconds.empty() ? 0.0 : seconds[index]);
        return world_.max(times);
    }

    void broadcast_parameters() { world_.broadcast_(arena_.values(), 0); }

    const Group world_;
    const EngineOptions options_;
    Arena arena_;
    std::vector<int64_t> ends_;
    int64_t layout_version_ = 0;
    int64_t reduced_steps_ = 0;

private:
    enum Mark : size_t { kBackward, kFinish, kSummed };
    struct Bucket {
        int slices = 0; ///< parameters that reach into it
        BucketReport::Bucket timing;
    };
    /// The buckets that a parameter reaches into: [first, last].
    struct Reach {
        size_t first = 0, last = 0;
    };

    /// Before anything is changed, all ranks make sure that they hold the same model.
    std::vector<NamedParameter> checked(std::vector<NamedParameter> parameters)
    {
        detail::agree(world_, "model's parameters", detail::manifest_of(parameters, options_));
        return parameters;
    }

    [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    [[nodiscard]] bool is_laid_out() const { return layout_version_ > 0 || !options_.order.empty(); }
    [[nodiscard]] detail::Exchange& exchange() { return compressed_ ? *low_rank_ : *dense_; }

    /// Compression takes whole matrices: each end moves to the next end of a slice.
    [[nodiscard]] std::vector<int64_t> at_ends_of_slices(const std::vector<int64_t>& ends) const
    {
        std::set<int64_t> result = {arena_.numel()};
        for (const int64_t end : ends)
            for (const Slice& slice : arena_.slices())
                if (slice.offset >= end) {
                    result.insert(slice.offset);
                    break;
                }
        result.erase(0);
        return {result.begin(), result.end()};
    }

    void compress_from_here()
    {
        compressed_ = true;
        set_plan(options_.bucket_bytes.empty() ? detail::low_rank_ends(arena_, options_.compression)
                                               : at_ends_of_slices(ends_));
        at::Tensor(arena_.gradients()).zero_();
        ++layout_version_;
    }

    void set_plan(std::vector<int64_t> ends)
    {
        ends_ = std::move(ends);
        exchange().lay_out(arena_, ends_);
        buckets_.clear();
        buckets_.resize(ends_.size());
        pending_ = std::make_unique<std::atomic<int>[]>(ends_.size());
        int64_t begin = 0;
        for (size_t bucket = 0; bucket < ends_.size(); ++bucket) {
            buckets_[bucket].timing.bytes = (ends_[bucket] - begin) * arena_.element_bytes();
            begin = ends_[bucket];
        }
        reach_.resize(arena_.slices().size());
        const auto bucket_at = [&](int64_t element) {
            return static_cast<size_t>(std::upper_bound(ends_.begin(), ends_.end(), element) - ends_.begin());
        };
        for (size_t place = 0; place < arena_.slices().size(); ++place) {
            const Slice& slice = arena_.slices()[place];
            // A parameter without elements hangs on the bucket that its place falls in, the last one at the end.
            const size_t first = std::min(bucket_at(slice.offset), ends_.size() - 1);
            const size_t last = slice.numel == 0 ? first : bucket_at(slice.end() - 1);
            reach_[arena_.order()[place]] = {first, last};
            for (size_t bucket = first; bucket <= last; ++bucket)
                ++buckets_[bucket].slices;
        }
    }

    /// From an autograd thread: the gradient of a parameter is complete.
    void on_ready(size_t index)
    {
        for (size_t bucket = reach_[index].first; bucket <= reach_[index].last; ++bucket) {
            if (pending_[bucket].fetch_sub(1) != 1)
                continue;
            const std::lock_guard lock(launch_mutex_);
            buckets_[bucket].timing.ready = now();
            // In the order of the plan only: the order is part of what all ranks agree on.
            while (launched_ < buckets_.size() && pending_[launched_].load() == 0)
                launch_next();
        }
    }

    /// From an autograd thread: more was added to a gradient than the recorded backward had. Harmless before it is
    /// sent.
    void on_late(size_t index)
    {
        const std::lock_guard lock(launch_mutex_);
        GRADWIND_CHECK(reach_[index].first >= launched_, InternalError,
                       "[gradients] the gradient of {} was added to after it had been sent: this backward uses it more "
                       "often than the recorded one; call expect_new_graph() when the graph changes",
                       arena_.parameters()[index].name);
    }

    void launch_next()
    {
        Bucket& bucket = buckets_[launched_];
        if (pending_[launched_].load() != 0 || !reduce_begun_)
            bucket.timing.ready = now(); // finish() decides that nothing more will come
        bucket.timing.launched = now();
        exchange().launch(launched_);
        ++launched_;
    }

    /// All ranks adopt the order of the first rank that had a backward, and the largest counts of any.
    void learn_from_recording()
    {
        const auto seen = tracker_.seen();
        const bool any = reduce_begun_ && std::any_of(seen.begin(), seen.end(), [](int count) { return count > 0; });
        const auto flags = world_.all_gather_bytes(any ? "1" : "0");
        const auto teacher = std::find(flags.begin(), flags.end(), "1");
        if (teacher == flags.end())
            return; // nobody had samples: record the next step
        std::vector<double> counts(seen.size(), 0.0);
        if (any)
            counts.assign(seen.begin(), seen.end());
        counts = world_.max(counts);
        tracker_.expect({counts.begin(), counts.end()});
        recording_ = false;
        if (is_laid_out())
            return;
        const auto own = tracker_.order_of_completion();
        std::string bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(size_t));
        bytes = world_.broadcast_bytes(bytes, static_cast<int>(teacher - flags.begin()));
        std::vector<size_t> order(bytes.size() / sizeof(size_t));
        std::memcpy(order.data(), bytes.data(), bytes.size());
        const std::set<size_t> known(order.begin(), order.end());
        for (const size_t index : detail::reversed_order(arena_.parameters().size()))
            if (!known.count(index))
                order.push_back(index); // never seen there: last, where it holds up nothing
        if (low_rank_)
            order = detail::low_rank_order(shapes(), order, options_.compression);
        arena_.lay_out(order);
        ++layout_version_;
        set_plan(ends_);
    }

    [[nodiscard]] std::vector<std::vector<int64_t>> shapes() const
    {
        std::vector<std::vector<int64_t>> result;
        for (const auto& parameter : arena_.parameters())
            result.push_back(parameter.tensor.sizes().vec());
        return result;
    }

    std::unique_ptr<detail::Exchange> dense_;
    std::unique_ptr<detail::LowRankExchange> low_rank_; ///< null without compression
    std::unique_ptr<detail::Stopwatch> stopwatch_;
    detail::ReadyTracker tracker_;
    BucketReport report_;
    bool compressed_ = false; ///< gradients go through low_rank_
    std::vector<Bucket> buckets_;
    std::vector<Reach> reach_;                    ///< by parameter
    std::unique_ptr<std::atomic<int>[]> pending_; ///< by bucket: parameters not complete yet
    std::mutex launch_mutex_;                     ///< guards launched_ and what launching touches
    size_t launched_ = 0;
    bool recording_ = true;
    bool reduce_begun_ = false;
    Clock::time_point start_;
};

GradientEngine::GradientEngine(std::vector<NamedParameter> parameters, Group world, EngineOptions options)
    : impl_(std::make_unique<Impl>(std::move(parameters), std::move(world), std::move(options)))
{
}

GradientEngine::~GradientEngine() = default;

void GradientEngine::begin_step()
{
    impl_->begin_step();
}

void GradientEngine::begin_backward(Sync sync)
{
    impl_->begin_backward(sync);
}

void GradientEngine::finish()
{
    impl_->finish();
}

void GradientEngine::discard_step()
{
    impl_->discard_step();
}

void GradientEngine::expect_new_graph()
{
    impl_->expect_new_graph();
}

at::Tensor GradientEngine::flat_parameters() const
{
    return impl_->arena_.values();
}

at::Tensor GradientEngine::flat_gradients() const
{
    return impl_->flat_gradients();
}

const std::vector<Slice>& GradientEngine::slices() const
{
    return impl_->arena_.slices();
}

int64_t GradientEngine::layout_version() const
{
    return impl_->layout_version_;
}

std::vector<std::string> GradientEngine::order() const
{
    std::vector<std::string> names;
    for (const Slice& slice : slices())
        names.push_back(slice.name);
    return names;
}

const std::vector<int64_t>& GradientEngine::bucket_ends() const
{
    return impl_->ends_;
}

void GradientEngine::replan(std::vector<int64_t> bucket_ends)
{
    impl_->replan(std::move(bucket_ends));
}

void GradientEngine::broadcast_parameters()
{
    impl_->broadcast_parameters();
}

const BucketReport& GradientEngine::last_step() const
{
    return impl_->report();
}

std::vector<double> GradientEngine::ready_times() const
{
    return impl_->ready_times();
}

GradientEngine::CompressionState GradientEngine::compression_state() const
{
    return impl_->compression_state();
}

void GradientEngine::restore(int64_t reduced_steps, const CompressionState& numbers)
{
    impl_->restore(reduced_steps, numbers);
}

int64_t GradientEngine::reduced_steps() const
{
    return impl_->reduced_steps_;
}

} // namespace gradwind::parallel
