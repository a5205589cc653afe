// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/gradient_engine.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/ready_tracker.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <numeric>
#include <set>
#include <sstream>

namespace gradwind::parallel
{
namespace
{

using Clock = std::chrono::steady_clock;

/// 64 bits that tell texts apart (FNV-1a).
std::string hash_of(std::string_view text)
{
    uint64_t hash = 14695981039346656037ull;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    return fmt::format("{:016x}", hash);
}

/// What all ranks have to have in common: a line per parameter, then the order asked for.
std::string manifest_of(const std::vector<NamedParameter>& parameters, const EngineOptions& options)
{
    std::string text;
    for (const auto& [name, tensor] : parameters)
        text += fmt::format("parameter {} {} [{}]\n", name, c10::toString(tensor.scalar_type()),
                            fmt::join(tensor.sizes(), ", "));
    text += fmt::format("bucket_cap_mb {} first_bucket_mb {}\n", options.bucket_cap_mb, options.first_bucket_mb);
    return text + fmt::format("order {}\n", fmt::join(options.order, " "));
}

/// "`a` where rank 0 has `b`" for the first line that differs; empty if none does.
std::string first_difference(const std::string& here, const std::string& there)
{
    std::istringstream own(here), root(there);
    for (int line = 1;; ++line) {
        std::string a, b;
        const bool more_own = static_cast<bool>(std::getline(own, a));
        const bool more_root = static_cast<bool>(std::getline(root, b));
        if (!more_own && !more_root)
            return {};
        if (a != b)
            return fmt::format("`{}` where rank 0 has `{}`", more_own ? a : "nothing", more_root ? b : "nothing");
    }
}

/// Throws the same ConfigError on all ranks unless all bring the same text.
void agree(const Group& world, const std::string& what, const std::string& text)
{
    const auto hashes = world.all_gather_bytes(hash_of(text));
    if (std::all_of(hashes.begin(), hashes.end(), [&](const std::string& hash) { return hash == hashes.front(); }))
        return;
    const std::string root = world.broadcast_bytes(text, 0);
    const auto differences = world.all_gather_bytes(first_difference(text, root));
    const auto other = std::find_if(differences.begin(), differences.end(), [](const auto& d) { return !d.empty(); });
    GRADWIND_ASSERT(other != differences.end());
    throw ConfigError(
        fmt::format("[gradients] the ranks do not agree on the {}: rank {} has {}. Start all processes with the "
                    "same configuration and version",
                    what, other - differences.begin(), *other));
}

/// Reverse of the order of registration, which is about the order of use: what is used last is ready first.
std::vector<size_t> reversed(size_t count)
{
    std::vector<size_t> order(count);
    std::iota(order.rbegin(), order.rend(), size_t{0});
    return order;
}

/// Indices of the names of options.order.
std::vector<size_t> order_from_names(const std::vector<NamedParameter>& parameters,
                                     const std::vector<std::string>& names)
{
    std::map<std::string, size_t> index_of;
    for (size_t index = 0; index < parameters.size(); ++index)
        index_of[parameters[index].name] = index;
    std::vector<size_t> order;
    for (const std::string& name : names) {
        const auto found = index_of.find(name);
        GRADWIND_CHECK(found != index_of.end(), ConfigError,
                       "[gradients] the stored order names {}, which the model does not have (or has once)", name);
        order.push_back(found->second);
        index_of.erase(found);
    }
    GRADWIND_CHECK(index_of.empty(), ConfigError, "[gradients] the stored order lacks {}", index_of.begin()->first);
    return order;
}

} // namespace

std::vector<int64_t> plan_buckets(int64_t numel, int64_t element_bytes, const EngineOptions& options)
{
    const auto elements = [&](double mib, const char* key) {
        GRADWIND_CHECK(mib > 0, ConfigError, "[gradients] {} must be above 0, found {}", key, mib);
        // Whole 256-byte units, so that every bucket begins aligned.
        const double units = std::min(mib * 1024 * 1024 / 256, 1e15);
        return std::max<int64_t>(1, static_cast<int64_t>(units)) * 256 / element_bytes;
    };
    const int64_t first = elements(options.first_bucket_mb, "first_bucket_mb");
    const int64_t cap = elements(options.bucket_cap_mb, "bucket_cap_mb");
    std::vector<int64_t> ends;
    for (int64_t end = std::min(first, cap); end < numel; end += cap)
        ends.push_back(end);
    ends.push_back(numel);
    return ends;
}

class GradientEngine::Impl
{
public:
    Impl(std::vector<NamedParameter> parameters, Group world, EngineOptions options)
        : world_(std::move(world)), options_(std::move(options)), arena_(checked(std::move(parameters))),
          tracker_(
              arena_.parameters(), [this](size_t index) { on_ready(index); }, [this](size_t index) { on_late(index); })
    {
        arena_.lay_out(options_.order.empty() ? reversed(arena_.parameters().size())
                                              : order_from_names(arena_.parameters(), options_.order));
        set_plan(plan_buckets(arena_.numel(), arena_.element_bytes(), options_));
    }

    void begin_step()
    {
        GRADWIND_CHECK(launched_ == 0, InternalError, "[gradients] a step was begun before finish() of the one before");
        tracker_.end();
        reduce_begun_ = false;
        arena_.restore_gradient_views();
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
        for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
            pending_[bucket].store(buckets_[bucket].slices, std::memory_order_relaxed);
        tracker_.begin(recording_ ? detail::ReadyTracker::Mode::Record : detail::ReadyTracker::Mode::Count);
    }

    void finish()
    {
        if (!reduce_begun_)
            start_ = Clock::now(); // a rank without samples
        const double begin = now();
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
            buckets_[bucket].work.wait();
            buckets_[bucket].timing.waited = now() - before;
            report_.buckets[bucket] = buckets_[bucket].timing;
        }
        report_.backward = begin;
        report_.exposed = now() - begin;
        report_.launched_in_backward = launched_before;
        launched_ = 0;
        reduce_begun_ = false;
    }

    void expect_new_graph() { recording_ = true; }

    void replan(std::vector<int64_t> ends)
    {
        GRADWIND_CHECK(!reduce_begun_ && launched_ == 0, InternalError,
                       "[gradients] buckets change between steps only");
        agree(world_, "buckets", fmt::format("{}", fmt::join(ends, " ")));
        int64_t begin = 0;
        for (const int64_t end : ends) {
            GRADWIND_CHECK(end > begin, ConfigError, "[gradients] bucket ends must grow: {} follows {}", end, begin);
            begin = end;
        }
        GRADWIND_CHECK(begin == arena_.numel(), ConfigError, "[gradients] the last bucket ends at {}, the arena at {}",
                       begin, arena_.numel());
        set_plan(std::move(ends));
    }

    void broadcast_parameters() { world_.broadcast_(arena_.values(), 0); }

    const Group world_;
    const EngineOptions options_;
    Arena arena_;
    std::vector<int64_t> ends_;
    int64_t layout_version_ = 0;
    BucketReport report_;

private:
    struct Bucket {
        at::Tensor gradients; ///< a view of the arena
        int slices = 0;       ///< parameters that reach into it
        Work work;
        BucketReport::Bucket timing;
    };
    /// The buckets that a parameter reaches into: [first, last].
    struct Reach {
        size_t first = 0, last = 0;
    };

    /// Before anything is changed, all ranks make sure that they hold the same model.
    std::vector<NamedParameter> checked(std::vector<NamedParameter> parameters)
    {
        agree(world_, "model's parameters", manifest_of(parameters, options_));
        return parameters;
    }

    [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    void set_plan(std::vector<int64_t> ends)
    {
        ends_ = std::move(ends);
        buckets_.clear();
        buckets_.resize(ends_.size());
        pending_ = std::make_unique<std::atomic<int>[]>(ends_.size());
        int64_t begin = 0;
        for (size_t bucket = 0; bucket < ends_.size(); ++bucket) {
            buckets_[bucket].gradients = arena_.gradients().narrow(0, begin, ends_[bucket] - begin);
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
        bucket.work = world_.all_reduce_sum_async_(bucket.gradients);
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
        if (layout_version_ > 0 || !options_.order.empty())
            return;
        const auto own = tracker_.order_of_completion();
        std::string bytes(reinterpret_cast<const char*>(own.data()), own.size() * sizeof(size_t));
        bytes = world_.broadcast_bytes(bytes, static_cast<int>(teacher - flags.begin()));
        std::vector<size_t> order(bytes.size() / sizeof(size_t));
        std::memcpy(order.data(), bytes.data(), bytes.size());
        const std::set<size_t> known(order.begin(), order.end());
        for (const size_t index : reversed(arena_.parameters().size()))
            if (!known.count(index))
                order.push_back(index); // never seen there: last, where it holds up nothing
        arena_.lay_out(order);
        ++layout_version_;
        set_plan(ends_);
    }

    detail::ReadyTracker tracker_;
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
    return impl_->arena_.gradients();
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

BucketReport GradientEngine::last_step() const
{
    return impl_->report_;
}

} // namespace gradwind::parallel
