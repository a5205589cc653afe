// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/adamw.h"

#include "gradwind/core/error.h"
#include "gradwind/train/adamw_device.h"
#include "gradwind/train/adamw_kernel.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <limits>

namespace gradwind::train
{

using parallel::GradientPiece;

namespace
{

// Elements of one unit of work: 4 arenas of 128 KiB; the order of the norm's summation follows from it.
constexpr int64_t kBlock = 32768;

/// What the kernels take.
bool is_fused(const at::Tensor& tensor)
{
    return tensor.scalar_type() == at::kFloat;
}

double sum_of(const std::vector<double>& values)
{
    double total = 0;
    for (const double value : values)
        total += value;
    return total;
}

/// The places of a piece in a tensor that lies as the arena does, from `shift` elements earlier on.
at::Tensor view_of(const at::Tensor& flat, const GradientPiece& piece, int64_t shift)
{
    return piece.is_factored() ? piece.matrices_of(flat) : flat.narrow(0, piece.offset - shift, piece.dense.numel());
}

} // namespace

AdamW::AdamW(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients,
             const AdamWOptions& options, const ClipOptions& clip, parallel::StateShare share)
    : slices_(std::move(slices)), parameters_(std::move(parameters)), gradients_(std::move(gradients)),
      options_(options), clip_(clip), share_(std::move(share))
{
    check_arenas();
    int64_t count = is_shared() ? 0 : parameters_.numel();
    for (const auto& span : share_.owned)
        count += span.size;
    exp_avg_ = at::zeros({count}, parameters_.options());
    exp_avg_sq_ = at::zeros({count}, parameters_.options());
    if (is_fused(parameters_) && !parameters_.device().is_cpu())
        device_ = detail::make_device_adamw(parameters_.device());
}

AdamW::~AdamW() = default;

void AdamW::check_arenas() const
{
    GRADWIND_CHECK(parameters_.dim() == 1 && parameters_.is_contiguous() && gradients_.is_contiguous() &&
                       parameters_.sizes() == gradients_.sizes() &&
                       parameters_.scalar_type() == gradients_.scalar_type(),
                   InternalError, "[adamw] expected flat arenas of one size and type");
    for (const auto& slice : slices_)
        GRADWIND_ASSERT(slice.offset >= 0 && slice.offset + slice.numel <= parameters_.numel());
    GRADWIND_ASSERT(is_shared() != share_.owned.empty());
}

void AdamW::move_to(std::vector<parallel::Slice> slices, at::Tensor parameters, at::Tensor gradients,
                    parallel::StateShare share)
{
    Moments whole{gathered(exp_avg_, true), gathered(exp_avg_sq_, true)};
    whole = {parallel::rearrange(whole.exp_avg, slices_, slices),
             parallel::rearrange(whole.exp_avg_sq, slices_, slices)};
    slices_ = std::move(slices);
    parameters_ = std::move(parameters);
    gradients_ = std::move(gradients);
    share_ = std::move(share);
    own_pieces_.clear();
    check_arenas();
    exp_avg_ = own_part(whole.exp_avg);
    exp_avg_sq_ = own_part(whole.exp_avg_sq);
}

at::Tensor AdamW::gathered(const at::Tensor& own, bool keep) const
{
    if (!is_shared())
        return own;
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> buckets;
    int64_t begin = 0;
    for (const auto& span : share_.owned) {
        const auto bucket = share_.group.all_gather(own.narrow(0, begin, span.size));
        begin += span.size;
        if (keep)
            buckets.push_back(bucket.cpu());
    }
    return keep ? at::cat(buckets) : at::Tensor();
}

at::Tensor AdamW::own_part(const at::Tensor& whole) const
{
    if (!is_shared())
        return whole.to(parameters_.options());
    std::vector<at::Tensor> parts;
    for (const auto& span : share_.owned)
        parts.push_back(whole.narrow(0, span.begin, span.size));
    return at::cat(parts).to(parameters_.options());
}

int64_t AdamW::state_bytes() const
{
    return int64_t(exp_avg_.nbytes() + exp_avg_sq_.nbytes());
}

detail::AdamWRates AdamW::rates(double lr) const
{
    detail::AdamWRates result{.lr = lr,
                              .beta1 = options_.beta1,
                              .beta2 = options_.beta2,
                              .eps = options_.eps,
                              .weight_decay = options_.weight_decay};
    if (clip_.kind == ClipKind::Norm)
        result.clip_norm = clip_.threshold;
    if (clip_.kind == ClipKind::Value)
        result.clip_value = clip_.threshold;
    return result;
}

void AdamW::point_at(std::span<const GradientPiece> pieces)
{
    pieces_ = pieces;
    memory_.resize(pieces.size());
    transposed_.resize(pieces.size());
    size_t range = 0;
    int64_t before = 0; // elements of the moments that belong to ranges before this one
    for (size_t i = 0; i < pieces.size(); ++i) {
        const auto& piece = pieces[i];
        GRADWIND_ASSERT(piece.offset >= 0 && piece.end() <= parameters_.numel());
        int64_t shift = 0;
        if (is_shared()) {
            while (range < share_.owned.size() && share_.owned[range].end() <= piece.offset)
                before += share_.owned[range++].size;
            GRADWIND_ASSERT(!piece.is_factored() && range < share_.owned.size() &&
                            share_.owned[range].begin <= piece.offset && piece.end() <= share_.owned[range].end());
            shift = share_.owned[range].begin - before;
        }
        auto& memory = memory_[i];
        memory = {};
        memory.shift = shift;
        if (!is_fused(parameters_))
            continue;
        memory.parameter = parameters_.data_ptr<float>() + piece.offset;
        memory.exp_avg = exp_avg_.data_ptr<float>() + piece.offset - shift;
        memory.exp_avg_sq = exp_avg_sq_.data_ptr<float>() + piece.offset - shift;
        if (!piece.is_factored()) {
            memory.gradient = piece.dense.data_ptr<float>();
            memory.count = piece.dense.numel();
            continue;
        }
        transposed_[i] = piece.q.transpose(1, 2).contiguous();
        memory.p = piece.p.data_ptr<float>();
        memory.q = piece.q.data_ptr<float>();
        memory.qt = transposed_[i].data_ptr<float>();
        memory.matrices = piece.matrices();
        memory.rows = piece.rows();
        memory.columns = piece.columns();
        memory.rank = piece.p.size(2);
        memory.stride = piece.stride;
    }
}

void AdamW::cut_into_units()
{
    units_.clear();
    for (size_t i = 0; i < memory_.size(); ++i) {
        const auto& piece = memory_[i];
        const bool dense = piece.gradient != nullptr;
        const int64_t count = dense ? piece.count : piece.matrices * piece.rows;
        const int64_t unit = dense ? kBlock : std::max<int64_t>(1, kBlock / std::max<int64_t>(1, piece.columns));
        for (int64_t first = 0; first < count; first += unit)
            units_.push_back({i, first, std::min(first + unit, count)});
    }
}

double AdamW::sum_of_squares() const
{
    double total = 0;
    std::vector<double> sums;
    for (const auto& piece : memory_) {
        const bool dense = piece.gradient != nullptr;
        const int64_t n = dense ? (piece.count + kBlock - 1) / kBlock : piece.matrices;
        sums.assign(size_t(n), 0.0);
        at::parallel_for(0, n, 1, [&](int64_t first, int64_t last) {
            for (int64_t i = first; i < last; ++i)
                sums[size_t(i)] = dense ? detail::sum_of_squares(piece.gradient + i * kBlock,
                                                                 std::min(kBlock, piece.count - i * kBlock))
                                        : detail::sum_of_squares(piece, i);
        });
        total += sum_of(sums);
    }
    return total;
}

double AdamW::generic_sum_of_squares(std::span<const GradientPiece> pieces) const
{
    double total = 0;
    for (const auto& piece : pieces) {
        if (piece.is_factored()) {
            const auto p = piece.p.to(at::kDouble), q = piece.q.to(at::kDouble);
            total += (at::bmm(p.transpose(1, 2), p) * at::bmm(q.transpose(1, 2), q)).sum().item<double>();
        } else {
            total += piece.dense.to(at::kDouble).square().sum().item<double>();
        }
    }
    return total;
}

std::string AdamW::first_non_finite() const
{
    const auto is_finite = [](const at::Tensor& x) { return at::isfinite(x).all().item<bool>(); };
    for (const auto& slice : slices_)
        for (const auto& piece : pieces_) {
            const int64_t begin = std::max(slice.offset, piece.offset), end = std::min(slice.end(), piece.end());
            if (begin >= end)
                continue;
            if (!piece.is_factored()) {
                if (!is_finite(piece.dense.narrow(0, begin - piece.offset, end - begin)))
                    return slice.name;
                continue;
            }
            const int64_t k = (slice.offset - piece.offset) / piece.stride;
            if (!is_finite(piece.p[k]) || !is_finite(piece.q[k]))
                return slice.name;
        }
    return is_shared() ? "" : "a gradient outside all parameters";
}

OptimizerStep AdamW::step(double lr)
{
    if (own_pieces_.empty()) {
        if (is_shared())
            for (const auto& span : share_.owned)
                own_pieces_.push_back({.offset = span.begin, .dense = gradients_.narrow(0, span.begin, span.size)});
        else
            own_pieces_.push_back({.offset = 0, .dense = gradients_});
    }
    return step(lr, own_pieces_);
}

OptimizerStep AdamW::step(double lr, std::span<const GradientPiece> pieces)
{
    queue(lr, pieces);
    return verdict();
}

void AdamW::queue(double lr, std::span<const GradientPiece> pieces)
{
    const at::NoGradGuard no_grad;
    decided_.reset();
    point_at(pieces);
    if (device_) {
        device_->queue(memory_, rates(lr), share_.group);
        return;
    }
    const bool fused = is_fused(parameters_) && parameters_.device().is_cpu();
    double squares = fused ? sum_of_squares() : generic_sum_of_squares(pieces);
    if (is_shared())
        squares = share_.group.sum(std::array{squares})[0];
    decided_ = OptimizerStep{.grad_norm = std::sqrt(squares), .applied = std::isfinite(squares)};
    if (!decided_->applied)
        return;
    ++steps_;
    if (fused)
        apply_fused(lr, decided_->grad_norm);
    else
        apply_generic(lr, decided_->grad_norm, pieces);
}

OptimizerStep AdamW::verdict()
{
    const at::NoGradGuard no_grad;
    OptimizerStep result;
    if (decided_) {
        result = *decided_;
    } else {
        GRADWIND_ASSERT(device_ != nullptr);
        const auto read = device_->verdict();
        result.grad_norm = std::sqrt(read.sum_of_squares);
        result.applied = read.applied;
        steps_ += read.applied ? 1 : 0;
    }
    if (result.applied)
        return result;
    result.non_finite_parameter = first_non_finite();
    if (is_shared())
        for (const auto& found : share_.group.all_gather_bytes(result.non_finite_parameter))
            if (!found.empty())
                result.non_finite_parameter = found;
    return result;
}

void AdamW::apply_fused(double lr, double norm)
{
    const auto factors = detail::factors_of(rates(lr), steps_, norm);
    cut_into_units();
    at::parallel_for(0, int64_t(units_.size()), 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const auto& unit = units_[size_t(i)];
            const auto& piece = memory_[unit.piece];
            const int64_t at = unit.first;
            if (piece.gradient != nullptr)
                detail::adamw_range(piece.parameter + at, piece.exp_avg + at, piece.exp_avg_sq + at,
                                    piece.gradient + at, unit.last - at, factors);
            else
                detail::adamw_rows(piece, at, unit.last, factors);
        }
    });
}

void AdamW::apply_generic(double lr, double norm, std::span<const GradientPiece> pieces)
{
    const double bc1 = 1.0 - std::pow(options_.beta1, double(steps_));
    const double bc2 = 1.0 - std::pow(options_.beta2, double(steps_));
    const double scale = clip_.kind == ClipKind::Norm ? detail::clip_scale(clip_.threshold, norm) : 1.0;
    for (size_t i = 0; i < pieces.size(); ++i) {
        const auto& piece = pieces[i];
        const auto parameters = view_of(parameters_, piece, 0);
        const auto exp_avg = view_of(exp_avg_, piece, memory_[i].shift);
        const auto exp_avg_sq = view_of(exp_avg_sq_, piece, memory_[i].shift);
        auto gradient = piece.is_factored() ? at::bmm(piece.p, piece.q.transpose(1, 2)) : piece.dense;
        if (clip_.kind == ClipKind::Value)
            gradient = gradient.clamp(-clip_.threshold, clip_.threshold);
        else if (scale < 1.0)
            gradient = gradient * scale;
        parameters.mul_(1.0 - lr * options_.weight_decay);
        exp_avg.lerp_(gradient, 1.0 - options_.beta1);
        exp_avg_sq.mul_(options_.beta2).addcmul_(gradient, gradient, 1.0 - options_.beta2);
        const auto denominator = exp_avg_sq.sqrt().div_(std::sqrt(bc2)).add_(options_.eps);
        parameters.addcdiv_(exp_avg, denominator, -lr / bc1);
    }
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const
{
    const bool keep = share_.group.rank() == 0;
    const Moments whole{gathered(exp_avg_, keep), gathered(exp_avg_sq_, keep)};
    return keep ? named(whole) : std::vector<std::pair<std::string, at::Tensor>>{};
}

Moments AdamW::blank() const
{
    if (!is_shared())
        return {exp_avg_, exp_avg_sq_};
    const auto options = parameters_.options().device(at::kCPU);
    return {at::zeros({parameters_.numel()}, options), at::zeros({parameters_.numel()}, options)};
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::named(const Moments& whole) const
{
    std::vector<std::pair<std::string, at::Tensor>> result;
    for (const auto& slice : slices_) {
        const auto view = [&](const at::Tensor& flat) {
            return flat.narrow(0, slice.offset, slice.numel).view(slice.shape);
        };
        result.emplace_back("exp_avg." + slice.name, view(whole.exp_avg));
        result.emplace_back("exp_avg_sq." + slice.name, view(whole.exp_avg_sq));
    }
    return result;
}

void AdamW::adopt(const Moments& whole)
{
    const at::NoGradGuard no_grad;
    if (!is_shared())
        return; // blank() gave out the moments themselves
    exp_avg_ = own_part(whole.exp_avg);
    exp_avg_sq_ = own_part(whole.exp_avg_sq);
}

void AdamW::restore_step_count(int64_t steps)
{
    steps_ = steps;
    if (device_)
        device_->set_steps(steps);
}

} // namespace gradwind::train
