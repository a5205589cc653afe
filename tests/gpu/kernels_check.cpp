// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Compares the kernels of a GPU with those of the CPU in float64, results and every gradient, and prints a table.
// Exit code 1 if one is off. Needs a GPU; check.py does the same for whole trainings.
#include "gradwind/core/torch_version.h"
#include "gradwind/ops/edge_attention.h"
#include "gradwind/ops/layer_norm.h"
#include "gradwind/ops/linear.h"
#include "gradwind/ops/row_mlp.h"
#include "gradwind/parallel/low_rank_device.h"
#include "gradwind/parallel/orthonormal.h"
#include "gradwind/parallel/widen.h"
#include "gradwind/train/adamw.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

namespace
{

using namespace gradwind;
using Tensors = std::vector<at::Tensor>;

/// Node i receives i % 7 edges; every fifth source sends none.
ops::EdgeIndex random_edges(int64_t n_src, int64_t n_dst)
{
    std::vector<int64_t> src, dst;
    for (int64_t i = 0; i < n_dst; ++i)
        for (int64_t e = 0; e < i % 7; ++e) {
            const auto j = (i * 7919 + e * 104729) % n_src;
            src.push_back(j % 5 == 0 ? (j + 1) % n_src : j);
            dst.push_back(i);
        }
    return ops::make_edge_index(src, dst, n_src, n_dst);
}

class Check
{
public:
    using Function = std::function<Tensors(const Tensors& inputs, const ops::EdgeIndex& edges)>;

    /// Results and gradients of `function` on the GPU in `type`, against the CPU in float64 on the same numbers.
    void run(const std::string& name, const Tensors& inputs, const ops::EdgeIndex& edges, at::ScalarType type,
             const std::vector<bool>& reduced, const Function& function)
    {
        const bool low = type == at::kBFloat16;
        Tensors exact, device;
        for (size_t i = 0; i < inputs.size(); ++i) {
            const auto own = low && reduced[i] ? inputs[i].to(at::kBFloat16) : inputs[i].to(at::kFloat);
            exact.push_back(own.to(at::kDouble).requires_grad_());
            device.push_back(own.to(at::kCUDA).requires_grad_());
        }
        const auto expected = results(exact, edges, function);
        AutocastState autocast;
        autocast.cuda = AutocastState::Device{low, at::kBFloat16};
        Tensors found;
        {
            const AutocastGuard guard(autocast);
            found = results(device, edges.to(at::Device(at::kCUDA, 0)), function);
        }
        double worst = 0;
        for (size_t i = 0; i < expected.size(); ++i) {
            const auto difference = (found[i].detach().cpu().to(at::kDouble) - expected[i]).norm().item<double>();
            worst = std::max(worst, difference / std::max(expected[i].norm().item<double>(), 1e-12));
        }
        report(name, low ? "bf16" : "fp32", worst, low ? 2e-2 : 2e-5);
    }

    void report(const std::string& name, const char* type, double error, double allowed)
    {
        failed_ = failed_ || !(error <= allowed);
        fmt::print("{:50} {:5} {:10.2e} {:10.2e}  {}\n", name, type, error, allowed, error <= allowed ? "ok" : "WRONG");
    }

    [[nodiscard]] bool failed() const { return failed_; }

private:
    /// Values, then gradients of a weighted sum of them.
    static Tensors results(const Tensors& inputs, const ops::EdgeIndex& edges, const Function& function)
    {
        auto out = function(inputs, edges);
        at::Tensor loss = at::zeros({}, inputs[0].options().dtype(at::kDouble).requires_grad(false));
        for (const auto& value : out) {
            // The same on both sides and exact in bf16; random, for sums of a pattern would cancel.
            const auto weights = at::randn(value.sizes(), at::make_generator<at::CPUGeneratorImpl>(11), at::kFloat)
                                     .to(at::kBFloat16)
                                     .to(value.device(), at::kDouble);
            loss = loss + (value.to(at::kDouble) * weights).sum();
        }
        for (const auto& gradient : torch::autograd::grad({loss}, inputs))
            out.push_back(gradient);
        for (auto& value : out)
            value = value.detach().to(at::kDouble);
        return out;
    }

    bool failed_ = false;
};

void attention(Check& check, at::ScalarType type, int64_t heads, int64_t depth, int64_t columns)
{
    const auto edges = random_edges(300, 400);
    const auto width = heads * depth;
    const Tensors inputs = {at::randn({400, heads, depth}),      at::randn({300, heads, depth}),
                            at::randn({300, heads, depth}),      at::randn({edges.n_edges(), columns}),
                            at::randn({width, columns}).mul(.3), at::randn({width}).mul(.3)};
    check.run(fmt::format("edge_attention, {} heads of {}, {} features", heads, depth, columns), inputs, edges, type,
              {true, true, true, false, false, false}, [](const Tensors& x, const ops::EdgeIndex& index) {
                  return Tensors{ops::edge_attention(x[0], x[1], x[2], {x[3], x[4], x[5]}, index)};
              });
}

void perceptron(Check& check, at::ScalarType type, int64_t width, int64_t out)
{
    const auto edges = random_edges(300, 400);
    const auto weight = [](int64_t rows, int64_t columns) {
        return at::randn({rows, columns}).div(std::sqrt(double(columns)));
    };
    Tensors inputs = {at::randn({400, width}),  at::randn({300, width}), at::randn({edges.n_edges(), width}),
                      weight(width, 3 * width), weight(width, width),    weight(width, width)};
    for (int layer = 0; layer < 3; ++layer)
        inputs.push_back(at::randn({width}).mul(.3));
    inputs.push_back(at::rand({width}).add(.5));
    inputs.push_back(at::randn({width}).mul(.3));
    using At = ops::RowMlpOperand::At;
    check.run(fmt::format("row_mlp of edges, {} columns", width), inputs, edges, type,
              {true, true, true, false, false, false, false, false, false, false, false},
              [](const Tensors& x, const ops::EdgeIndex& index) {
                  const auto result = ops::row_mlp({{x[3], x[4], x[5]}, {x[6], x[7], x[8]}, x[9], x[10]},
                                                   {{x[0], At::Destination}, {x[1], At::Source}, {x[2]}},
                                                   {&index, 2, ops::RowMlpOptions::Sums::AtDestination});
                  return Tensors{result.rows, result.sums};
              });
    const Tensors plain = {at::randn({500, 11}), weight(width, 11), weight(out, width), at::randn({width}).mul(.3),
                           at::randn({out}).mul(.3)};
    check.run(fmt::format("row_mlp of 11 columns to {}, no norm", out), plain, edges, type,
              {true, false, false, false, false}, [](const Tensors& x, const ops::EdgeIndex&) {
                  return Tensors{ops::row_mlp({{x[1], x[2]}, {x[3], x[4]}, {}, {}}, {{x[0]}}).rows};
              });
}

/// Maps of the same rows, with a bias or without, many rows or few.
void maps(Check& check, at::ScalarType type, int64_t rows, int64_t in, const std::vector<int64_t>& widths,
          bool with_bias)
{
    Tensors inputs = {at::randn({rows, in})};
    for (const auto width : widths)
        inputs.push_back(at::randn({width, in}).div(std::sqrt(double(in))));
    for (const auto width : widths)
        if (with_bias)
            inputs.push_back(at::randn({width}).mul(.3));
    std::vector<bool> reduced(inputs.size(), false);
    reduced[0] = true;
    const auto n = widths.size();
    check.run(fmt::format("linear, {} rows of {} to {}{}", rows, in, fmt::join(widths, " and "),
                          with_bias ? "" : ", no bias"),
              inputs, random_edges(30, 40), type, reduced, [n, with_bias](const Tensors& x, const ops::EdgeIndex&) {
                  std::vector<ops::LinearMap> given;
                  for (size_t i = 0; i < n; ++i)
                      given.push_back({x[1 + i], with_bias ? x[1 + n + i] : at::Tensor()});
                  return ops::linear(x[0], given);
              });
}

void norms(Check& check, at::ScalarType type, int64_t rows, int64_t channels)
{
    const Tensors inputs = {at::randn({rows, channels}), at::rand({channels}).add(.5), at::randn({channels}).mul(.3)};
    check.run(fmt::format("layer_norm, {} rows of {}", rows, channels), inputs, random_edges(30, 40), type,
              {true, false, false},
              [](const Tensors& x, const ops::EdgeIndex&) { return Tensors{ops::layer_norm(x[0], x[1], x[2], 1e-5)}; });
}

void wide(Check& check, at::ScalarType type, int64_t width, int64_t hidden)
{
    const Tensors inputs = {at::randn({200, width}), at::randn({hidden, width}).div(std::sqrt(double(width))),
                            at::randn({width, hidden}).div(std::sqrt(double(hidden))), at::randn({hidden}).mul(.3),
                            at::randn({width}).mul(.3)};
    check.run(fmt::format("row_mlp of {} columns, {} hidden ones", width, hidden), inputs, random_edges(300, 400), type,
              {true, false, false, false, false}, [](const Tensors& x, const ops::EdgeIndex&) {
                  return Tensors{ops::row_mlp({{x[1], x[2]}, {x[3], x[4]}, {}, {}}, {{x[0]}}).rows};
              });
}

/// Bases on the GPU, of which the second has columns that are nearly equal and the third is zero.
void bases(Check& check, int64_t rows, int64_t rank)
{
    std::vector<at::Tensor> directions;
    for (uint64_t key = 1; key <= 3; ++key)
        directions.push_back(parallel::detail::fixed_directions(key, rows, rank, at::kCPU));
    auto matrices = at::randn({3, rows, rank}, at::kFloat);
    matrices[1] = matrices[1].narrow(1, 0, 1) + 1e-3 * matrices[1];
    matrices[2].zero_();
    const auto lengths = at::stack(directions);
    const auto exact = at::empty({3, rows, rank}, at::kDouble), device = at::empty_like(matrices, at::kCUDA);
    parallel::detail::orthonormalise(matrices.to(at::kDouble), lengths, exact);
    std::vector<parallel::detail::ToOrthonormalise> parts; // in one launch
    for (const auto& [first, count] : {std::pair{0, 1}, {1, 2}})
        parts.push_back({matrices.narrow(0, first, count).to(at::kCUDA), lengths.narrow(0, first, count).to(at::kCUDA),
                         device.narrow(0, first, count)});
    const bool done = parallel::detail::orthonormalise_on_device(parts, 1e-6, 1e-14);
    const auto gram = at::bmm(device.transpose(1, 2), device).cpu().to(at::kDouble);
    const auto name = fmt::format("orthonormal basis, {} x {}", rows, rank);
    check.report(name, "fp32", done ? (device.cpu().to(at::kDouble) - exact).abs().max().item<double>() : 1, 1e-5);
    check.report(name + ": products", "fp32", (gram - at::eye(rank, at::kDouble)).abs().max().item<double>(), 1e-5);
}

double relative_error(const at::Tensor& found, const at::Tensor& expected)
{
    const auto difference = found.detach().cpu().to(at::kDouble) - expected.detach().cpu().to(at::kDouble);
    return difference.norm().item<double>() / std::max(expected.norm().item<double>(), 1e-12);
}

/// Three steps of AdamW on a vector, matrices whose gradients are factors, and a vector that does not come in fours.
void optimiser(Check& check, int64_t rows, int64_t columns, int64_t rank, const train::ClipOptions& clip,
               const char* clip_name)
{
    const int64_t stride = (rows * columns + 63) / 64 * 64, first = 6400, last = first + 3 * stride;
    const std::vector<parallel::Slice> slices = {
        {"front", 0, 6301, {6301}}, {"matrices", first, 3 * stride, {3 * stride}}, {"back", last, 37, {37}}};
    const auto start = at::randn({last + 64}, at::kDouble);
    auto exact = start.clone(), device = start.to(at::kCUDA, at::kFloat);
    train::AdamW reference(slices, exact, at::zeros_like(exact), {}, clip);
    train::AdamW optimizer(slices, device, at::zeros_like(device), {}, clip);
    double norm_error = 0;
    for (int step = 0; step < 3; ++step) {
        const auto front = at::randn({6301}, at::kFloat), back = at::randn({37}, at::kFloat);
        const auto p = at::randn({3, rows, rank}, at::kFloat), q = at::randn({3, columns, rank}, at::kFloat);
        const auto pieces = [&](const at::TensorOptions& as) {
            return std::vector<parallel::GradientPiece>{
                {.offset = 0, .dense = front.to(as)},
                {.offset = first, .p = p.to(as), .q = q.to(as), .stride = stride},
                {.offset = last, .dense = back.to(as)}};
        };
        const auto expected = reference.step(0.01, pieces(exact.options()));
        const auto found = optimizer.step(0.01, pieces(device.options()));
        norm_error = std::max(norm_error, std::abs(found.grad_norm / expected.grad_norm - 1));
    }
    const auto name = fmt::format("AdamW, {} x {} of rank {}, {}", rows, columns, rank, clip_name);
    check.report(name, "fp32", relative_error(device, exact), 2e-6);
    check.report(name + ": moments", "fp32", relative_error(optimizer.exp_avg_sq(), reference.exp_avg_sq()), 2e-6);
    check.report(name + ": norm", "fp32", norm_error, 1e-7);
    const auto before = device.clone();
    auto bad = at::ones({6301}, device.options());
    bad[17] = std::numeric_limits<double>::infinity();
    const std::vector<parallel::GradientPiece> broken = {{.offset = 0, .dense = bad}};
    const auto done = optimizer.step(0.01, broken);
    const bool right =
        !done.applied && done.non_finite_parameter == "front" && at::equal(device, before) && optimizer.steps() == 3;
    check.report(name + ": skip", "fp32", right ? 0 : 1, 0);
}

/// A Q step of compression and the P step after it, on matrices with gaps between them and factors that begin anywhere.
void compression(Check& check, int64_t rows, int64_t columns, int64_t rank)
{
    const int64_t stride = (rows * columns + 63) / 64 * 64 + 64, batch = 3;
    const auto flat = at::randn({batch * stride}, at::kFloat), more = at::randn({batch * stride}, at::kFloat);
    const auto device = flat.to(at::kCUDA);
    const auto exact = flat.to(at::kDouble);
    const auto matrices = [&](const at::Tensor& x) {
        return x.as_strided({batch, rows, columns}, {stride, columns, 1});
    };
    const auto basis = [&](int64_t size) {
        return std::get<0>(at::linalg_qr(at::randn({batch, size, rank}, at::kDouble)))
            .to(device.options())
            .contiguous();
    };
    const auto place = [&](int64_t size) {
        return at::zeros({3 + batch * size * rank}, device.options())
            .narrow(0, 3, batch * size * rank)
            .view({batch, size, rank});
    };
    const auto as_exact = [](const at::Tensor& x) { return x.cpu().to(at::kDouble); };
    const auto name = [&](const char* what) {
        return fmt::format("{}, {} x {} of rank {}", what, rows, columns, rank);
    };
    const auto m = matrices(exact);
    const auto p_basis = basis(rows), q_basis = basis(columns), own_q = at::empty_like(q_basis);
    const auto q = place(columns), p = place(rows);

    bool done = parallel::detail::q_step_on_device(matrices(device), p_basis, q, own_q);
    const auto expected_q = at::bmm(m.transpose(1, 2), as_exact(p_basis));
    check.report(name("Q step: factor"), "fp32", done ? relative_error(q, expected_q) : 1, 2e-6);
    check.report(name("Q step: copy"), "fp32", at::equal(q, own_q) && at::equal(device.cpu(), flat) ? 0 : 1, 0);

    device.add_(more.to(device.device()));
    exact.add_(more);
    const auto looked_at = device.clone();
    m.sub_(at::bmm(as_exact(p_basis), as_exact(own_q).transpose(1, 2)));
    done = parallel::detail::subtract_on_device(matrices(looked_at), p_basis, own_q);
    check.report(name("what a Q step leaves"), "fp32", done ? relative_error(looked_at, exact) : 1, 2e-6);

    done = parallel::detail::p_step_on_device(matrices(device), q_basis, p_basis, own_q, p);
    const auto expected_p = at::bmm(m, as_exact(q_basis));
    m.sub_(at::bmm(expected_p, as_exact(q_basis).transpose(1, 2)));
    check.report(name("P step: factor"), "fp32", done ? relative_error(p, expected_p) : 1, 2e-6);
    check.report(name("P step: rest"), "fp32", relative_error(device, exact), 2e-6);
}

/// bf16 in float32 is exact; beyond both ends nothing changes.
void widening(Check& check, int64_t n)
{
    const auto from = at::randn({n + 8}, at::kFloat).to(at::kBFloat16).to(at::kCUDA);
    const auto to = at::zeros({n + 8}, from.options().dtype(at::kFloat));
    parallel::detail::widen(from.narrow(0, 4, n), to.narrow(0, 4, n));
    auto expected = at::zeros_like(to);
    expected.narrow(0, 4, n).copy_(from.narrow(0, 4, n));
    check.report(fmt::format("{} numbers in bf16 widened", n), "fp32", at::equal(to, expected) ? 0 : 1, 0);
}

} // namespace

int main()
{
    at::manual_seed(7);
    Check check;
    for (const int64_t n : {1, 3, 4, 1023, 4096, 1 << 20, (1 << 20) + 7})
        widening(check, n);
    for (const auto type : {at::kFloat, at::kBFloat16}) {
        for (const auto& [heads, depth, columns] :
             std::vector<std::array<int64_t, 3>>{{16, 32, 11}, {16, 64, 11}, {4, 16, 3}, {2, 128, 16}, {3, 8, 11}})
            attention(check, type, heads, depth, columns);
        perceptron(check, type, 128, 100);
        perceptron(check, type, 512, 90);
        perceptron(check, type, 1024, 101);
        perceptron(check, type, 2048, 100);
        wide(check, type, 1024, 4096);
        maps(check, type, 5000, 101, {90}, true);
        maps(check, type, 5000, 256, {128, 128}, true);
        maps(check, type, 500, 11, {1030}, true);
        maps(check, type, 5000, 64, {1030}, false);
        norms(check, type, 5003, 1024);
        norms(check, type, 37, 136);
    }
    for (const int64_t rank : {1, 2, 3, 4, 8, 13, 16})
        compression(check, 523, 1028, rank);
    compression(check, 4096, 1024, 4);
    compression(check, 7, 64, 4);
    for (const int64_t rank : {1, 2, 3, 4, 7, 8})
        bases(check, 1031, rank);
    bases(check, 9, 8);
    using train::ClipKind;
    for (const int64_t rank : {1, 2, 4, 7, 16, 32})
        optimiser(check, 523, 1024, rank, {ClipKind::Norm, 5.0}, "clipped by norm");
    optimiser(check, 64, 2052, 4, {}, "not clipped");
    optimiser(check, 33, 101, 4, {ClipKind::Value, 0.5}, "clipped by value");
    return check.failed() ? 1 : 0;
}
