// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/error_kernels.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

namespace gradwind::loss
{

namespace
{

constexpr int64_t kBlockRows = 1024; ///< rows a task handles: fixed, so that sums do not depend on threads
constexpr int64_t kFlushRows = 64;   ///< rows added in the working type before they go to double

template <class Scalar>
Scalar sign(Scalar x)
{
    return Scalar(x > 0) - Scalar(x < 0);
}

struct Squared {
    template <class S>
    S value(S d) const
    {
        return d * d;
    }
    template <class S>
    S slope(S d) const
    {
        return 2 * d;
    }
};

struct Absolute {
    template <class S>
    S value(S d) const
    {
        return std::abs(d);
    }
    template <class S>
    S slope(S d) const
    {
        return sign(d);
    }
};

struct Huber {
    double delta;
    template <class S>
    S value(S d) const
    {
        const S size = std::abs(d);
        return size < S(delta) ? S(0.5) * d * d : S(delta) * (size - S(0.5 * delta));
    }
    template <class S>
    S slope(S d) const
    {
        return std::abs(d) < S(delta) ? d : S(delta) * sign(d);
    }
};

struct LogCosh {
    template <class S>
    S value(S d) const
    {
        const S size = std::abs(d);
        return size + std::log1p(std::exp(-2 * size)) - S(0.69314718055994530942);
    }
    template <class S>
    S slope(S d) const
    {
        return std::tanh(d);
    }
};

/// One task of a threaded loop: rows [first, last) of the nodes of one (batch, step, member).
struct Block {
    int64_t sample, step, member, first, last;
};

template <class Scalar>
class Blocks
{
public:
    /// @param members 1 where a kernel takes all members of a point together
    Blocks(const Field<Scalar>& field, int64_t members)
        : field_(field), members_(members), per_slab_((field.nodes + kBlockRows - 1) / kBlockRows)
    {
    }
    [[nodiscard]] int64_t count() const { return field_.batch * field_.steps * members_ * per_slab_; }
    [[nodiscard]] Block operator[](int64_t i) const
    {
        const auto slab = i / per_slab_;
        const auto first = (i % per_slab_) * kBlockRows;
        return {slab / (field_.steps * members_), slab / members_ % field_.steps, slab % members_, first,
                std::min(first + kBlockRows, field_.nodes)};
    }

private:
    const Field<Scalar>& field_;
    int64_t members_;
    int64_t per_slab_;
};

/// Pointers of one grid point of one block.
template <class Scalar>
struct Row {
    const Scalar* pred;
    const Scalar* target;
    const Scalar* mask; ///< null without mask
    Scalar weight;

    Row(const Field<Scalar>& f, const Block& b, int64_t node)
        : pred(f.pred + (((b.sample * f.steps + b.step) * f.members + b.member) * f.nodes + node) * f.pred_width),
          target(f.target + ((b.sample * f.steps + b.step) * f.nodes + node) * f.target_width),
          mask(f.mask ? f.mask + (b.sample * f.nodes + node) * f.pred_width : nullptr),
          weight(Scalar(f.time[b.step] * f.grid[node]))
    {
    }
};

template <bool Ignore, class Scalar>
bool counts(Scalar pred, Scalar target)
{
    return !Ignore || !std::isnan(pred + target);
}

/// Adds row by row through `add_row(row index, float accumulators)` and returns the sums of the block in double.
template <class Scalar, class AddRow>
void sum_block(const Block& block, int64_t variables, const AddRow& add_row, double* out)
{
    std::vector<Scalar> partial(static_cast<size_t>(variables), Scalar(0));
    std::fill(out, out + variables, 0.0);
    for (auto first = block.first; first < block.last; first += kFlushRows) {
        std::fill(partial.begin(), partial.end(), Scalar(0));
        for (auto node = first; node < std::min(first + kFlushRows, block.last); ++node)
            add_row(node, partial.data());
        for (int64_t v = 0; v < variables; ++v)
            out[v] += double(partial[size_t(v)]);
    }
}

template <class Scalar, class AddRow>
void sum_blocks(const Field<Scalar>& field, int64_t members, const AddRow& add_row, double* sums)
{
    const Blocks<Scalar> blocks(field, members);
    std::vector<double> partial(size_t(blocks.count() * field.variables));
    at::parallel_for(0, blocks.count(), 1, [&](int64_t begin, int64_t end) {
        for (auto i = begin; i < end; ++i) {
            const auto block = blocks[i];
            sum_block<Scalar>(
                block, field.variables,
                [&](int64_t node, Scalar* sum) { add_row(Row<Scalar>(field, block, node), sum); },
                partial.data() + i * field.variables);
        }
    });
    for (int64_t i = 0; i < blocks.count(); ++i)
        for (int64_t v = 0; v < field.variables; ++v)
            sums[v] += partial[size_t(i * field.variables + v)];
}

template <bool Ignore, class Scalar, class Error>
void pointwise_sums(const Field<Scalar>& field, const Error& error, double* sums)
{
    sum_blocks(
        field, field.members,
        [&](const Row<Scalar>& row, Scalar* sum) {
            for (const auto& s : field.segments) {
                const auto* p = row.pred + s.pred;
                const auto* t = row.target + s.target;
                auto* out = sum + s.variable;
                if (row.mask == nullptr) {
                    for (int64_t i = 0; i < s.length; ++i)
                        out[i] += counts<Ignore>(p[i], t[i]) ? row.weight * error.value(p[i] - t[i]) : Scalar(0);
                } else {
                    const auto* m = row.mask + s.pred;
                    for (int64_t i = 0; i < s.length; ++i)
                        out[i] += counts<Ignore>(p[i], t[i]) ? row.weight * m[i] * error.value(p[i] - t[i]) : Scalar(0);
                }
            }
        },
        sums);
}

template <bool Ignore, class Scalar, class Error>
void pointwise_gradient(const Field<Scalar>& field, const Error& error, const std::vector<Scalar>& grad,
                        Scalar* grad_pred)
{
    const Blocks<Scalar> blocks(field, field.members);
    at::parallel_for(0, blocks.count(), 1, [&](int64_t begin, int64_t end) {
        for (auto b = begin; b < end; ++b) {
            const auto block = blocks[b];
            for (auto node = block.first; node < block.last; ++node) {
                const Row<Scalar> row(field, block, node);
                for (const auto& s : field.segments) {
                    const auto* p = row.pred + s.pred;
                    const auto* t = row.target + s.target;
                    const auto* g = grad.data() + s.variable;
                    auto* out = grad_pred + (p - field.pred);
                    for (int64_t i = 0; i < s.length; ++i) {
                        const Scalar weight = row.mask ? row.weight * row.mask[s.pred + i] : row.weight;
                        out[i] = counts<Ignore>(p[i], t[i]) ? g[i] * weight * error.slope(p[i] - t[i]) : Scalar(0);
                    }
                }
            }
        }
    });
}

/// All members of one point: the mean over pairs i<j of |x_i-y| + |x_j-y| - kept |x_i-x_j|, in which no term is
/// negative, so that nothing cancels (spec §6.5, the `stable` form).
template <class Scalar>
struct Crps {
    int64_t members;
    int64_t stride; ///< from a member's row to the next one's
    Scalar kept;
    Scalar scale;
    Crps(const Field<Scalar>& field, double alpha)
        : members(field.members), stride(field.nodes * field.pred_width),
          kept(Scalar(1 - (1 - alpha) / double(field.members))),
          scale(Scalar(1.0 / double(field.members * (field.members - 1))))
    {
    }

    template <bool Ignore>
    bool valid(const Scalar* x, Scalar y) const
    {
        bool all = true;
        for (int64_t k = 0; k < members; ++k)
            all = all && counts<Ignore>(x[k * stride], y);
        return all;
    }
    Scalar value(const Scalar* x, Scalar y) const
    {
        Scalar sum = 0;
        for (int64_t i = 0; i < members; ++i) {
            const Scalar xi = x[i * stride];
            for (int64_t j = i + 1; j < members; ++j) {
                const Scalar xj = x[j * stride];
                sum += std::abs(xi - y) + std::abs(xj - y) - kept * std::abs(xi - xj);
            }
        }
        return sum * scale;
    }
    Scalar slope(const Scalar* x, Scalar y, int64_t k) const
    {
        const Scalar xk = x[k * stride];
        Scalar sum = 0;
        for (int64_t j = 0; j < members; ++j)
            sum += sign(xk - x[j * stride]);
        return scale * (Scalar(members - 1) * sign(xk - y) - kept * sum);
    }
};

template <bool Ignore, class Scalar>
void crps_sums(const Field<Scalar>& field, double alpha, double* sums)
{
    const Crps<Scalar> crps(field, alpha);
    sum_blocks(
        field, 1,
        [&](const Row<Scalar>& first, Scalar* sum) {
            for (const auto& s : field.segments)
                for (int64_t i = 0; i < s.length; ++i) {
                    const auto* x = first.pred + s.pred + i;
                    const auto y = first.target[s.target + i];
                    const Scalar weight = first.mask ? first.weight * first.mask[s.pred + i] : first.weight;
                    if (crps.template valid<Ignore>(x, y))
                        sum[s.variable + i] += weight * crps.value(x, y);
                }
        },
        sums);
}

template <bool Ignore, class Scalar>
void crps_gradient(const Field<Scalar>& field, double alpha, const std::vector<Scalar>& grad, Scalar* grad_pred)
{
    const Crps<Scalar> crps(field, alpha);
    const Blocks<Scalar> blocks(field, 1);
    at::parallel_for(0, blocks.count(), 1, [&](int64_t begin, int64_t end) {
        for (auto b = begin; b < end; ++b) {
            const auto block = blocks[b];
            for (auto node = block.first; node < block.last; ++node) {
                const Row<Scalar> row(field, block, node);
                for (const auto& s : field.segments)
                    for (int64_t i = 0; i < s.length; ++i) {
                        const auto* x = row.pred + s.pred + i;
                        const auto y = row.target[s.target + i];
                        const bool valid = crps.template valid<Ignore>(x, y);
                        const Scalar mask = row.mask ? row.mask[s.pred + i] : Scalar(1);
                        const Scalar g = grad[size_t(s.variable + i)] * row.weight * mask;
                        for (int64_t k = 0; k < crps.members; ++k)
                            grad_pred[x - field.pred + k * crps.stride] = valid ? g * crps.slope(x, y, k) : Scalar(0);
                    }
            }
        }
    });
}

/// Calls `run` with the point error of the specification.
template <class Run>
void with_error(const ErrorSpec& spec, const Run& run)
{
    switch (spec.kind) {
    case ErrorKind::Squared:
        return run(Squared{});
    case ErrorKind::Absolute:
        return run(Absolute{});
    case ErrorKind::Huber:
        return run(Huber{spec.huber_delta});
    case ErrorKind::LogCosh:
        return run(LogCosh{});
    case ErrorKind::Crps:
        return;
    }
}

} // namespace

std::vector<Segment> find_segments(std::span<const int64_t> pred_columns, std::span<const int64_t> target_columns)
{
    std::vector<Segment> out;
    for (size_t v = 0; v < pred_columns.size(); ++v) {
        const auto p = pred_columns[v];
        const auto t = target_columns[v];
        if (!out.empty() && out.back().pred + out.back().length == p && out.back().target + out.back().length == t)
            ++out.back().length;
        else
            out.push_back({p, t, int64_t(v), 1});
    }
    return out;
}

template <class Scalar>
void fused_sums(const Field<Scalar>& field, const ErrorSpec& spec, double* sums)
{
    const bool ignore = spec.nans == NanPolicy::Ignore;
    if (spec.kind == ErrorKind::Crps)
        return ignore ? crps_sums<true>(field, spec.crps_alpha, sums) : crps_sums<false>(field, spec.crps_alpha, sums);
    with_error(spec, [&](const auto& error) {
        ignore ? pointwise_sums<true>(field, error, sums) : pointwise_sums<false>(field, error, sums);
    });
}

template <class Scalar>
void fused_gradient(const Field<Scalar>& field, const ErrorSpec& spec, const double* grad, Scalar* grad_pred)
{
    const bool ignore = spec.nans == NanPolicy::Ignore;
    const std::vector<Scalar> g(grad, grad + field.variables);
    if (spec.kind == ErrorKind::Crps)
        return ignore ? crps_gradient<true>(field, spec.crps_alpha, g, grad_pred)
                      : crps_gradient<false>(field, spec.crps_alpha, g, grad_pred);
    with_error(spec, [&](const auto& error) {
        ignore ? pointwise_gradient<true>(field, error, g, grad_pred)
               : pointwise_gradient<false>(field, error, g, grad_pred);
    });
}

template void fused_sums(const Field<float>&, const ErrorSpec&, double*);
template void fused_sums(const Field<double>&, const ErrorSpec&, double*);
template void fused_gradient(const Field<float>&, const ErrorSpec&, const double*, float*);
template void fused_gradient(const Field<double>&, const ErrorSpec&, const double*, double*);

} // namespace gradwind::loss
