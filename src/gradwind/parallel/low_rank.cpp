// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/low_rank.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/lane.h"
#include "gradwind/parallel/low_rank_device.h"
#include "gradwind/parallel/low_rank_plan.h"
#include "gradwind/parallel/orthonormal.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace gradwind::parallel::detail
{
namespace
{

constexpr size_t kPrepare = ~size_t{0}; ///< the job that makes the bases of a step

uint64_t key_of(std::string_view name, uint64_t purpose)
{
    uint64_t hash = 14695981039346656037ull + purpose;
    for (const char c : name)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    return hash;
}

/// Matrices of one shape that lie in a row in the arena, and so at a constant stride.
struct Batch {
    std::vector<std::string> names;
    int64_t offset = 0, stride = 0; ///< in the arena
    at::Tensor gradient;            ///< [b, n, m], view of the arena
    at::Tensor p, q;                ///< [b, n, r], [b, m, r]: summed in this step or the last; parts of messages
    at::Tensor p_basis, q_basis;
    at::Tensor p_directions, q_directions;
    /// [b, m, r]: p_basis own_q^T is still to be taken off after a Q step of ACP. Zero: nothing is, as always where
    /// there are no kernels, and so on CPUs, where a run goes on bit for bit from any step.
    at::Tensor own_q;
};

/// What travels as it is: a range of the arena and its places in the messages.
struct Rest {
    int64_t offset = 0;
    at::Tensor gradient, in_p, in_q;
};

struct Bucket {
    std::vector<Batch> batches;
    std::vector<Rest> rests;
    at::Tensor p_message, q_message;
    std::optional<MessageSum> p_sum, q_sum; ///< with PowerSGD the latter is of the factors alone
};

} // namespace

class LowRankExchange::Impl
{
public:
    Impl(WorldSum sum, const CompressionOptions& options) : sum_(std::move(sum)), options_(options) {}

    /// In the lane, or in line.
    void run(size_t job)
    {
        if (job == kPrepare)
            orthonormalise(p_step_ ? bases_of_p_step_ : bases_of_q_step_);
        else if (options_.kind == Compression::PowerSgd)
            exchange_both(buckets_[job]);
        else
            exchange_one(buckets_[job]);
        // A thread has nothing better to do, and the ticket of its job says when the sum is there.
        if (job != kPrepare && arena_.is_cpu())
            last_sum(job).wait();
    }

    /// After the lane's job.
    void wait(size_t bucket)
    {
        if (!arena_.is_cpu())
            last_sum(bucket).wait();
    }

    /// Null where the lane's job says it.
    [[nodiscard]] std::function<bool()> probe(size_t bucket)
    {
        return arena_.is_cpu() ? std::function<bool()>() : last_sum(bucket).probe();
    }

    void lay_out(const Arena& arena, const std::vector<int64_t>& ends)
    {
        std::vector<std::pair<std::string, at::Tensor>> kept;
        for (const auto& [name, tensor] : factors())
            kept.emplace_back(name, tensor.clone());
        settle();
        arena_ = arena.gradients();
        applied_ = at::Tensor();
        assembled_ = false;
        buckets_.clear();
        for (const auto& plan : plan_low_rank(arena.slices(), arena.numel(), ends, options_, sum_.granule()))
            buckets_.push_back(make_bucket(arena, plan));
        for (const auto& [name, tensor] : factors())
            for (const auto& [old_name, old] : kept)
                if (old_name == name)
                    tensor.copy_(old);
        compressed_.clear();
        for (const Slice& slice : arena.slices())
            if (is_compressible(slice.shape, options_))
                compressed_.push_back(slice);
        of_p_step_ = pieces_of(Side::P);
        of_q_step_ = pieces_of(Side::Q);
        bases_of_p_step_ = bases_of(Side::P);
        bases_of_q_step_ = bases_of(Side::Q);
    }

    void begin_step()
    {
        for (auto& bucket : buckets_)
            for (auto& rest : bucket.rests)
                rest.gradient.zero_();
    }

    [[nodiscard]] int64_t wire_bytes(size_t index) const
    {
        const auto& bucket = buckets_[index];
        if (options_.kind == Compression::PowerSgd)
            return bucket.p_sum->handed_bytes() + bucket.q_sum->handed_bytes();
        return (p_step_ ? bucket.p_sum : bucket.q_sum)->handed_bytes();
    }

    [[nodiscard]] int64_t buffer_bytes() const
    {
        int64_t bytes = 0;
        for (const auto& bucket : buckets_) {
            bytes += int64_t(bucket.p_message.nbytes() + bucket.q_message.nbytes());
            bytes += bucket.p_sum->buffer_bytes() + bucket.q_sum->buffer_bytes();
            for (const auto& batch : bucket.batches)
                for (const auto* tensor :
                     {&batch.p_basis, &batch.q_basis, &batch.p_directions, &batch.q_directions, &batch.own_q})
                    bytes += tensor->defined() ? int64_t(tensor->nbytes()) : 0;
        }
        return bytes;
    }

    void end_step()
    {
        pieces_ = p_step_ && options_.kind == Compression::Acp ? &of_p_step_ : &of_q_step_;
        assembled_ = false;
        flip();
    }

    const at::Tensor& applied()
    {
        if (assembled_)
            return applied_;
        if (!applied_.defined())
            applied_ = at::zeros_like(arena_);
        for (const auto& piece : *pieces_) {
            if (piece.is_factored()) {
                at::Tensor place = piece.matrices_of(applied_);
                at::bmm_out(place, piece.p, piece.q.transpose(1, 2));
            } else {
                applied_.narrow(0, piece.offset, piece.dense.numel()).copy_(piece.dense);
            }
        }
        assembled_ = true;
        return applied_;
    }

    /// What the last step left to be taken off is taken off, so that gradients are errors.
    void settle()
    {
        if (!p_step_ || options_.kind != Compression::Acp || !arena_.is_cuda())
            return; // a P step leaves nothing
        for (auto& bucket : buckets_)
            for (auto& batch : bucket.batches) {
                subtract(batch, batch.p_basis, batch.own_q);
                batch.own_q.zero_();
            }
    }

    void discard_step()
    {
        for (auto& bucket : buckets_)
            for (auto& batch : bucket.batches) {
                batch.gradient.zero_();
                if (options_.kind == Compression::Acp)
                    batch.own_q.zero_();
                if (options_.kind == Compression::PowerSgd)
                    batch.q.copy_(batch.q_basis); // of this step's sums nothing can be used
            }
        flip(); // the sums of the step before serve once more
    }

    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> factors() const
    {
        std::vector<std::pair<std::string, at::Tensor>> result;
        for (const auto& bucket : buckets_)
            for (const auto& batch : bucket.batches)
                for (size_t i = 0; i < batch.names.size(); ++i) {
                    result.emplace_back("p." + batch.names[i], batch.p[static_cast<int64_t>(i)]);
                    result.emplace_back("q." + batch.names[i], batch.q[static_cast<int64_t>(i)]);
                }
        return result;
    }

    bool p_step_ = true;
    std::vector<Slice> compressed_;
    std::vector<GradientPiece> of_p_step_, of_q_step_;       ///< with PowerSGD the latter only
    const std::vector<GradientPiece>* pieces_ = &of_q_step_; ///< of the step that ended

private:
    enum class Side { P, Q };

    /// The one that a step of this kind ends with.
    [[nodiscard]] MessageSum& last_sum(size_t bucket)
    {
        const bool is_p = p_step_ && options_.kind == Compression::Acp;
        return is_p ? *buckets_[bucket].p_sum : *buckets_[bucket].q_sum;
    }

    [[nodiscard]] std::vector<GradientPiece> pieces_of(Side side) const
    {
        std::vector<GradientPiece> result;
        const bool both = options_.kind == Compression::PowerSgd;
        for (const auto& bucket : buckets_) {
            for (const auto& batch : bucket.batches)
                result.push_back({.offset = batch.offset,
                                  .p = side == Side::P ? batch.p : batch.p_basis,
                                  .q = side == Side::P ? batch.q_basis : batch.q,
                                  .stride = batch.stride});
            for (const auto& rest : bucket.rests)
                result.push_back({.offset = rest.offset, .dense = side == Side::P || both ? rest.in_p : rest.in_q});
        }
        return result;
    }

    void flip() { p_step_ = options_.kind == Compression::PowerSgd || !p_step_; }

    [[nodiscard]] Bucket make_bucket(const Arena& arena, const LowRankBucket& plan) const
    {
        Bucket bucket;
        const auto options = arena.gradients().options();
        bucket.p_message = at::zeros({plan.p_message}, options);
        bucket.q_message = at::zeros({plan.q_message}, options);
        bucket.p_sum.emplace(sum_, bucket.p_message);
        bucket.q_sum.emplace(sum_, options_.kind == Compression::PowerSgd
                                       ? bucket.q_message.narrow(0, 0, plan.q_factors)
                                       : bucket.q_message);
        int64_t p_at = 0, q_at = 0;
        for (const auto& run : plan.runs) {
            bucket.batches.push_back(make_batch(arena, run.first, run.count, run.size));
            Batch& batch = bucket.batches.back();
            const auto [rows, columns, rank] = run.size;
            batch.p = bucket.p_message.narrow(0, p_at, run.count * rows * rank).view({run.count, rows, rank});
            batch.q = bucket.q_message.narrow(0, q_at, run.count * columns * rank).view({run.count, columns, rank});
            p_at += run.count * rows * rank;
            q_at += run.count * columns * rank;
            batch.q.copy_(batch.q_directions); // the first basis: random, and the same on all ranks
            batch.p.copy_(batch.p_directions);
        }
        p_at = plan.p_rest;
        q_at = plan.q_rest;
        for (const auto& [from, to] : plan.ranges) {
            bucket.rests.push_back({from, arena.gradients().narrow(0, from, to - from),
                                    bucket.p_message.narrow(0, p_at, to - from),
                                    bucket.q_message.narrow(0, q_at, to - from)});
            p_at += to - from;
            q_at += to - from;
        }
        return bucket;
    }

    [[nodiscard]] Batch make_batch(const Arena& arena, size_t first, int64_t count, const MatrixSize& size) const
    {
        const auto& slices = arena.slices();
        const auto device = arena.gradients().device();
        Batch batch;
        batch.offset = slices[first].offset;
        batch.stride = count > 1 ? slices[first + 1].offset - slices[first].offset : size.rows * size.columns;
        std::vector<at::Tensor> p_directions, q_directions;
        for (size_t place = first; place < first + static_cast<size_t>(count); ++place) {
            const auto& name = slices[place].name;
            batch.names.push_back(name);
            p_directions.push_back(fixed_directions(key_of(name, 1), size.rows, size.rank, device));
            q_directions.push_back(fixed_directions(key_of(name, 2), size.columns, size.rank, device));
        }
        batch.gradient = arena.gradients().as_strided({count, size.rows, size.columns}, {batch.stride, size.columns, 1},
                                                      arena.gradients().storage_offset() + batch.offset);
        batch.p_directions = at::stack(p_directions);
        batch.q_directions = at::stack(q_directions);
        const auto options = arena.gradients().options();
        batch.p_basis = at::zeros({count, size.rows, size.rank}, options);
        batch.q_basis = at::zeros({count, size.columns, size.rank}, options);
        if (options_.kind == Compression::Acp)
            batch.own_q = at::zeros_like(batch.q_basis);
        return batch;
    }

    /// What a step needs before its first bucket.
    [[nodiscard]] std::vector<ToOrthonormalise> bases_of(Side side) const
    {
        std::vector<ToOrthonormalise> result;
        for (const auto& bucket : buckets_)
            for (const auto& batch : bucket.batches)
                result.push_back(side == Side::P ? ToOrthonormalise{batch.q, batch.q_directions, batch.q_basis}
                                                 : ToOrthonormalise{batch.p, batch.p_directions, batch.p_basis});
        return result;
    }

    static void project_p(Batch& batch) { at::bmm_out(batch.p, batch.gradient, batch.q_basis); }
    static void project_q(Batch& batch) { at::bmm_out(batch.q, batch.gradient.transpose(1, 2), batch.p_basis); }
    static void subtract(Batch& batch, const at::Tensor& p, const at::Tensor& q)
    {
        if (!subtract_on_device(batch.gradient, p, q))
            batch.gradient.baddbmm_(p, q.transpose(1, 2), 1, -1);
    }
    static void step_p(Batch& batch)
    {
        if (p_step_on_device(batch.gradient, batch.q_basis, batch.p_basis, batch.own_q, batch.p))
            return;
        project_p(batch);
        subtract(batch, batch.p, batch.q_basis);
    }
    /// On a GPU what it takes away stays until the P step after it, which passes over the gradients anyway.
    static void step_q(Batch& batch)
    {
        if (q_step_on_device(batch.gradient, batch.p_basis, batch.q, batch.own_q))
            return;
        project_q(batch);
        subtract(batch, batch.p_basis, batch.q);
    }
    void exchange_one(Bucket& bucket)
    {
        for (auto& batch : bucket.batches) {
            if (p_step_)
                step_p(batch);
            else
                step_q(batch);
        }
        start_with_rest(bucket, p_step_ ? Side::P : Side::Q);
    }

    void exchange_both(Bucket& bucket)
    {
        for (auto& batch : bucket.batches)
            project_p(batch);
        start_with_rest(bucket, Side::P);
        bucket.p_sum->wait();
        for (auto& batch : bucket.batches) {
            orthonormalise(batch.p, batch.p_directions, batch.p_basis);
            if (!q_step_on_device(batch.gradient, batch.p_basis, batch.q, at::empty_like(batch.q)))
                project_q(batch);
            subtract(batch, batch.p_basis, batch.q);
        }
        bucket.q_sum->start();
    }

    void start_with_rest(Bucket& bucket, Side side)
    {
        for (auto& rest : bucket.rests)
            (side == Side::P ? rest.in_p : rest.in_q).copy_(rest.gradient);
        (side == Side::P ? bucket.p_sum : bucket.q_sum)->start();
    }

    const WorldSum sum_;
    const CompressionOptions options_;
    std::vector<Bucket> buckets_;
    std::vector<ToOrthonormalise> bases_of_p_step_, bases_of_q_step_;
    at::Tensor arena_, applied_;
    bool assembled_ = false;
};

LowRankExchange::LowRankExchange(WorldSum sum, const CompressionOptions& options, at::Device device)
    : impl_(std::make_shared<Impl>(std::move(sum), options)),
      in_line_(!device.is_cpu() && options.kind == Compression::Acp),
      lane_(in_line_ ? nullptr : make_lane(device, [impl = impl_](size_t job) { impl->run(job); }))
{
}

LowRankExchange::~LowRankExchange() = default;

void LowRankExchange::lay_out(const Arena& arena, const std::vector<int64_t>& ends)
{
    const at::NoGradGuard no_grad;
    impl_->lay_out(arena, ends);
    tickets_.assign(ends.size(), 0);
}

void LowRankExchange::begin_step()
{
    impl_->begin_step();
    if (in_line_)
        run_in_line(kPrepare);
    else
        lane_->submit(kPrepare);
}

void LowRankExchange::run_in_line(size_t job)
{
    const at::NoGradGuard no_grad;
    impl_->run(job);
}

void LowRankExchange::launch(size_t bucket)
{
    if (in_line_)
        run_in_line(bucket);
    else
        tickets_[bucket] = lane_->submit(bucket);
}

void LowRankExchange::wait(size_t bucket)
{
    if (!in_line_)
        lane_->join(tickets_[bucket]);
    impl_->wait(bucket);
}

std::function<bool()> LowRankExchange::probe(size_t bucket) const
{
    auto summed = impl_->probe(bucket);
    return summed || in_line_ ? summed : lane_->probe(tickets_[bucket]);
}

int64_t LowRankExchange::wire_bytes(size_t bucket) const
{
    return impl_->wire_bytes(bucket);
}

int64_t LowRankExchange::buffer_bytes() const
{
    return impl_->buffer_bytes();
}

void LowRankExchange::end_step()
{
    impl_->end_step();
}

void LowRankExchange::settle()
{
    const at::NoGradGuard no_grad;
    impl_->settle();
}

void LowRankExchange::discard_step()
{
    const at::NoGradGuard no_grad;
    impl_->discard_step();
}

const std::vector<GradientPiece>& LowRankExchange::pieces() const
{
    return *impl_->pieces_;
}

const at::Tensor& LowRankExchange::applied() const
{
    const at::NoGradGuard no_grad;
    return impl_->applied();
}

std::vector<std::pair<std::string, at::Tensor>> LowRankExchange::factors() const
{
    return impl_->factors();
}

bool LowRankExchange::next_is_p() const
{
    return impl_->p_step_;
}

void LowRankExchange::set_next_is_p(bool value)
{
    impl_->p_step_ = value;
}

std::vector<Slice> LowRankExchange::compressed() const
{
    return impl_->compressed_;
}

} // namespace gradwind::parallel::detail
