// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/gradient_engine.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/agree.h"
#include "gradwind/parallel/bucket_table.h"
#include "gradwind/parallel/engine_setup.h"
#include "gradwind/parallel/exchange.h"
#include "gradwind/parallel/low_rank.h"
#include "gradwind/parallel/low_rank_plan.h"
#include "gradwind/parallel/ready_tracker.h"
#include "gradwind/parallel/state_parts.h"
#include "gradwind/parallel/step_timing.h"

#include <ATen/ATen.h>

#include <mutex>
#include <optional>

namespace gradwind::parallel
{

class GradientEngine::Impl final : private detail::ReadyTracker::Listener
{
public:
    Impl(std::vector<NamedParameter> parameters, Group world, EngineOptions options)
        : world_(std::move(world)), options_(detail::in_world(std::move(options), world_.size())),
          arena_(checked(std::move(parameters)), granule_bytes()), timing_(arena_.parameters().front().tensor.device()),
          tracker_(arena_, buckets_, *this)
    {
        const auto device = arena_.parameters().front().tensor.device();
        if (row_size() > 1)
            grid_ = detail::make_rank_grid(world_, row_size(), options_.zero_group_size > 1 ? "zero" : "node");
        dense_ = make_dense(device);
        if (options_.compression.kind != Compression::None)
            low_rank_ = std::make_unique<detail::LowRankExchange>(
                detail::WorldSum{world_, grid_,
                                 options_.copy_engines ? detail::Route::CopyInLine : detail::Route::Library},
                options_.compression, device);
        arena_.lay_out(options_.order.empty() ? detail::reversed_order(arena_.parameters().size())
                                              : detail::order_from_names(arena_.parameters(), options_.order));
        set_plan(plan_buckets(arena_.numel(), arena_.element_bytes(), options_));
    }

    void begin_step()
    {
        GRADWIND_CHECK(launched_ == 0, InternalError, "[gradients] a step was begun before finish() of the one before");
        tracker_.end();
        reduce_begun_ = false;
        // Whoever resets gradients resets all of them; others are found in the backward.
        if (tracker_.take_replaced() >= 0 || !arena_.has_gradient_view(0) ||
            !arena_.has_gradient_view(arena_.parameters().size() - 1))
            arena_.restore_gradient_views();
        if (begins_to_compress())
            compress_from_here();
        if (compressed_)
            low_rank_->begin_step();
        else
            arena_.zero_gradients();
    }

    void begin_backward(Sync sync)
    {
        GRADWIND_CHECK(!reduce_begun_, InternalError,
                       "[gradients] only the last backward of a step is reduced: finish() comes after it");
        if (sync == Sync::Accumulate) {
            tracker_.begin(detail::ReadyTracker::Mode::Watch);
            return;
        }
        reduce_begun_ = true;
        timing_.begin_backward();
        buckets_.begin();
        tracker_.begin(recording_ ? detail::ReadyTracker::Mode::Record : detail::ReadyTracker::Mode::Count);
    }

    void finish()
    {
        if (!reduce_begun_)
            timing_.begin_without_backward();
        timing_.begin_finish();
        tracker_.end();
        check_gradient_views();
        if (recording_)
            learn_from_recording();
        const size_t launched_before = launched_;
        {
            const std::lock_guard lock(launch_mutex_);
            while (launched_ < buckets_.size())
                launch_next();
        }
        for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
            timing_.wait(bucket, exchange());
        timing_.end(launched_before);
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

    [[nodiscard]] std::optional<int64_t> kind_of_next_step() const
    {
        if (recording_ || begins_to_compress() || timing_.watches_next_step())
            return std::nullopt;
        return 2 * plans_ + (compressed_ && low_rank_->next_is_p() ? 1 : 0);
    }

    void repeat_step()
    {
        timing_.repeated();
        ++reduced_steps_;
        if (compressed_)
            low_rank_->end_step();
    }

    [[nodiscard]] const BucketReport& report() { return timing_.report(); }
    [[nodiscard]] EngineMemory memory() const
    {
        return {.parameters = int64_t(arena_.values().nbytes()),
                .gradients = int64_t(arena_.gradients().nbytes()),
                .buffers = exchange().buffer_bytes()};
    }
    [[nodiscard]] std::vector<Group> groups() const
    {
        return grid_ ? std::vector<Group>{grid_->row, grid_->column} : std::vector<Group>{};
    }
    void watch_next_step() { timing_.watch_next_step(); }
    void expect_new_graph() { recording_ = true; }

    void replan(std::vector<int64_t> ends)
    {
        GRADWIND_CHECK(!reduce_begun_ && launched_ == 0, InternalError,
                       "[gradients] buckets change between steps only");
        detail::agree(world_, "buckets", fmt::format("{}", fmt::join(ends, " ")));
        detail::check_ends(ends, arena_.numel());
        set_plan(compressed_ ? detail::at_ends_of_slices(arena_.slices(), ends) : std::move(ends));
        if (parts_.is_shared())
            ++layout_version_; // the parts of buckets are others now
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
        low_rank_->settle();
        state.next_is_p = low_rank_->next_is_p();
        state.factors = low_rank_->factors();
        for (const Slice& slice : low_rank_->compressed())
            state.errors.emplace_back(slice.name,
                                      arena_.gradients().narrow(0, slice.offset, slice.numel).view(slice.shape));
        return state;
    }

    [[nodiscard]] const std::vector<GradientPiece>& gradient_pieces() const
    {
        return compressed_ ? low_rank_->pieces() : parts_.pieces();
    }

    [[nodiscard]] at::Tensor flat_gradients() const { return compressed_ ? low_rank_->applied() : arena_.gradients(); }

    [[nodiscard]] at::Tensor whole_gradients() const
    {
        if (!parts_.is_shared())
            return flat_gradients();
        const at::Tensor whole = arena_.gradients().clone();
        parts_.gather(whole);
        return whole;
    }

    [[nodiscard]] at::Tensor own_gradients() const
    {
        if (compressed_)
            low_rank_->settle();
        return arena_.gradients();
    }

    void share_parameters()
    {
        if (parts_.is_shared())
            parts_.gather(arena_.values());
    }

    [[nodiscard]] std::vector<double> ready_times() const
    {
        const auto seconds = tracker_.seconds_of_completion();
        std::vector<double> times;
        for (const size_t index : arena_.order())
            times.push_back(seconds.empty() ? 0.0 : seconds[index]);
        return world_.max(times);
    }

    const Group world_;
    const EngineOptions options_;
    Arena arena_;
    detail::BucketTable buckets_;
    detail::StateParts parts_;
    int64_t layout_version_ = 0;
    int64_t reduced_steps_ = 0;

private:
    [[nodiscard]] int row_size() const { return detail::row_size(options_, world_.size()); }
    [[nodiscard]] int64_t granule_bytes() const { return detail::granule_bytes(options_, world_.size()); }
    [[nodiscard]] detail::Route route() const
    {
        return options_.copy_engines ? detail::Route::CopyEngines : detail::Route::Library;
    }

    [[nodiscard]] std::unique_ptr<detail::Exchange> make_dense(at::Device device)
    {
        if (grid_) {
            const bool zero = options_.zero_group_size > 1;
            if (zero)
                parts_.share_with(grid_->row);
            return detail::make_sharded_exchange(*grid_, options_.wire,
                                                 zero ? detail::Handed::OwnPart : detail::Handed::Whole, device);
        }
        // In a world of one there is no wire.
        return options_.wire == WireType::Bf16 && world_.size() > 1
                   ? detail::make_bf16_exchange(world_, route(), device)
                   : detail::make_plain_exchange(world_, route());
    }

    /// Before anything is changed, all ranks make sure that they hold the same model.
    std::vector<NamedParameter> checked(std::vector<NamedParameter> parameters)
    {
        detail::agree(world_, "model's parameters", detail::manifest_of(parameters, options_));
        detail::check_sharing(options_, world_.size());
        return parameters;
    }

    void check_gradient_views()
    {
        const int64_t replaced = tracker_.take_replaced();
        if (replaced < 0)
            return;
        arena_.restore_gradient_views();
        throw InternalError(fmt::format(
            "[gradients] somebody replaced the gradient of {}: it has to stay a view of the arena, so do not call "
            "zero_grad() and do not ask backward for a graph of its own; begin_step() zeroes gradients",
            arena_.parameters()[static_cast<size_t>(replaced)].name));
    }

    [[nodiscard]] bool is_laid_out() const { return layout_version_ > 0 || !options_.order.empty(); }
    [[nodiscard]] detail::Exchange& exchange() const { return compressed_ ? *low_rank_ : *dense_; }
    [[nodiscard]] bool begins_to_compress() const
    {
        return low_rank_ && !compressed_ && is_laid_out() && reduced_steps_ >= options_.compression.start_step;
    }

    void compress_from_here()
    {
        compressed_ = true;
        dense_.reset(); // with its buffers
        set_plan(options_.bucket_bytes.empty()
                     ? detail::low_rank_ends(arena_.slices(), arena_.numel(), options_.compression)
                     : detail::at_ends_of_slices(arena_.slices(), buckets_.ends()));
        arena_.zero_gradients();
        ++layout_version_;
    }

    void set_plan(std::vector<int64_t> ends)
    {
        ++plans_;
        if (row_size() > 1 && !compressed_)
            ends = detail::at_multiples(ends, granule_bytes() / arena_.element_bytes());
        buckets_.lay_out(arena_, std::move(ends));
        tracker_.follow_layout();
        exchange().lay_out(arena_, buckets_.ends());
        parts_.lay_out(arena_, buckets_);
        std::vector<int64_t> bytes;
        for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
            bytes.push_back((buckets_.ends()[bucket] - buckets_.begin_of(bucket)) * arena_.element_bytes());
        timing_.lay_out(bytes);
    }

    void bucket_ready(size_t bucket) override
    {
        const std::lock_guard lock(launch_mutex_);
        timing_.ready(bucket);
        // In the order of the plan only: the order is part of what all ranks agree on.
        while (launched_ < buckets_.size() && buckets_.is_complete(launched_))
            launch_next();
    }

    /// More was added to a gradient than the recorded backward had. Harmless before it is sent.
    void late(size_t index) override
    {
        const std::lock_guard lock(launch_mutex_);
        GRADWIND_CHECK(buckets_.reach(index).first >= launched_, InternalError,
                       "[gradients] the gradient of {} was added to after it had been sent: this backward uses it more "
                       "often than the recorded one; call expect_new_graph() when the graph changes",
                       arena_.parameters()[index].name);
    }

    void launch_next()
    {
        if (!buckets_.is_complete(launched_) || !reduce_begun_)
            timing_.ready(launched_); // finish() decides that nothing more will come
        timing_.launch(launched_);
        exchange().launch(launched_);
        timing_.launched(launched_, exchange());
        ++launched_;
    }

    /// All ranks adopt the order of the first rank that had a backward, and the largest counts of any.
    void learn_from_recording()
    {
        const auto lesson =
            detail::learn(world_, reduce_begun_ ? tracker_.seen() : std::vector<int>(arena_.parameters().size()));
        if (!lesson)
            return; // nobody had samples: record the next step
        tracker_.expect(lesson->counts);
        recording_ = false;
        if (is_laid_out())
            return;
        auto order =
            detail::order_of_rank(world_, lesson->teacher, tracker_.order_of_completion(), arena_.parameters().size());
        if (low_rank_)
            order = detail::low_rank_order(detail::shapes_of(arena_.parameters()), order, options_.compression);
        detail::agree(world_, "order of the gradients", fmt::format("{}", fmt::join(order, " ")));
        arena_.lay_out(order);
        ++layout_version_;
        set_plan(buckets_.ends());
    }

    std::optional<detail::RankGrid> grid_;              ///< where buckets are cut over rows of ranks
    std::unique_ptr<detail::Exchange> dense_;           ///< null once gradients are compressed
    std::unique_ptr<detail::LowRankExchange> low_rank_; ///< null without compression
    detail::StepTiming timing_; ///< after the exchanges: it may still be asking them when a step has failed
    detail::ReadyTracker tracker_;
    bool compressed_ = false; ///< gradients go through low_rank_
    std::mutex launch_mutex_; ///< guards launched_ and what launching touches
    size_t launched_ = 0;
    int64_t plans_ = 0; ///< made so far
    bool recording_ = true;
    bool reduce_begun_ = false;
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

std::optional<int64_t> GradientEngine::kind_of_next_step() const
{
    return impl_->kind_of_next_step();
}

void GradientEngine::repeat_step()
{
    impl_->repeat_step();
}

void GradientEngine::expect_new_graph()
{
    impl_->expect_new_graph();
}

at::Tensor GradientEngine::flat_parameters() const
{
    return impl_->arena_.values();
}

const std::vector<GradientPiece>& GradientEngine::gradient_pieces() const
{
    return impl_->gradient_pieces();
}

at::Tensor GradientEngine::flat_gradients() const
{
    return impl_->flat_gradients();
}

at::Tensor GradientEngine::whole_gradients() const
{
    return impl_->whole_gradients();
}

at::Tensor GradientEngine::own_gradients() const
{
    return impl_->own_gradients();
}

const StateShare& GradientEngine::state_share() const
{
    return impl_->parts_.share();
}

void GradientEngine::share_parameters()
{
    impl_->share_parameters();
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
    return impl_->buckets_.ends();
}

void GradientEngine::replan(std::vector<int64_t> bucket_ends)
{
    impl_->replan(std::move(bucket_ends));
}

void GradientEngine::broadcast_parameters()
{
    impl_->world_.broadcast_(impl_->arena_.values(), 0);
}

EngineMemory GradientEngine::memory() const
{
    return impl_->memory();
}

std::vector<Group> GradientEngine::groups() const
{
    return impl_->groups();
}

void GradientEngine::watch_next_step()
{
    impl_->watch_next_step();
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
