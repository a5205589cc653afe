// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "bench/exchange_network.h"

#include "gradwind/core/error.h"
#include "gradwind/core/torch_version.h"

#include <ATen/ATen.h>
#include <torch/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

namespace gradwind::bench
{
namespace
{

using Clock = std::chrono::steady_clock;

void sleep_until(Clock::time_point start, double ms)
{
    std::this_thread::sleep_until(
        start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(ms)));
}

/// With so many times fewer elements: of large matrices both sides are shorter, else the first.
std::vector<int64_t> shrunk(std::vector<int64_t> shape, int64_t factor)
{
    const auto side = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(factor))));
    const bool square = shape.size() == 2 && std::min(shape[0], shape[1]) >= 64 * side;
    if (!shape.empty())
        shape[0] = std::max<int64_t>(1, shape[0] / (square ? side : factor));
    if (square)
        shape[1] /= side;
    return shape;
}

/// Backward takes its time and gives gradients that were made before: what a network does, without one.
struct TimedBlock : torch::autograd::Function<TimedBlock> {
    template <class... Parameters>
    static at::Tensor forward(torch::autograd::AutogradContext* context, double ms, const at::Tensor& x,
                              const Parameters&... parameters)
    {
        context->saved_data["ms"] = ms;
        context->save_for_backward({parameters...});
        return x.clone();
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list gradients)
    {
        const auto start = Clock::now();
        torch::autograd::variable_list result = {at::Tensor(), gradients[0]};
        for (const auto& parameter : context->get_saved_variables())
            result.push_back(parameter.detach());
        sleep_until(start, context->saved_data["ms"].toDouble());
        return result;
    }
};

/// Gives the gradient of one parameter at a moment of backward, which begins with the first stage: the one without a
/// parameter.
struct Stage : torch::autograd::Function<Stage> {
    static at::Tensor forward(torch::autograd::AutogradContext* context, double ms, const at::Tensor& clock,
                              const at::Tensor& x, const at::Tensor& parameter)
    {
        context->saved_data["ms"] = ms;
        context->save_for_backward({clock, parameter});
        return x.clone();
    }
    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   torch::autograd::variable_list gradients)
    {
        const auto saved = context->get_saved_variables();
        auto* const begun = saved[0].data_ptr<int64_t>();
        if (*begun == 0)
            *begun = Clock::now().time_since_epoch().count();
        sleep_until(Clock::time_point(Clock::duration(*begun)), context->saved_data["ms"].toDouble());
        return {at::Tensor(), at::Tensor(), gradients[0], saved[1].detach()};
    }
};

} // namespace

Network::Network(const NetworkOptions& options, at::Device device) : options_(options)
{
    at::manual_seed(1);
    if (options.compute == "profile")
        read_profile(device);
    else
        make_blocks(device);
}

void Network::make_blocks(at::Device device)
{
    const int64_t c = options_.channels;
    const std::vector<std::pair<const char*, std::vector<int64_t>>> shapes = {
        {"norm1.weight", {c}},      {"norm1.bias", {c}},   {"qkv.weight", {3 * c, c}}, {"qkv.bias", {3 * c}},
        {"out.weight", {c, c}},     {"out.bias", {c}},     {"norm2.weight", {c}},      {"norm2.bias", {c}},
        {"fc1.weight", {4 * c, c}}, {"fc1.bias", {4 * c}}, {"fc2.weight", {c, 4 * c}}, {"fc2.bias", {c}}};
    for (int64_t block = 0; block < options_.blocks; ++block)
        for (const auto& [name, shape] : shapes) {
            auto tensor = at::randn(shape, at::device(device)) * 0.02;
            if (std::string_view(name).starts_with("norm") && std::string_view(name).ends_with("weight"))
                tensor.add_(1);
            parameters_.push_back({fmt::format("blocks.{}.{}", block, name), tensor.requires_grad_()});
        }
    per_block_ = shapes.size();
    x_ = at::randn({options_.compute == "timed" ? 1 : options_.tokens, c}, at::device(device));
}

void Network::read_profile(at::Device device)
{
    std::ifstream in(options_.profile);
    GRADWIND_CHECK(in.good(), ConfigError, "[bench] expected a profile for --profile, cannot read `{}`",
                   options_.profile);
    const auto profile = nlohmann::json::parse(in);
    auto stages = profile.at("parameters").get<std::vector<nlohmann::json>>();
    std::stable_sort(stages.begin(), stages.end(), [](const auto& a, const auto& b) {
        return a.at("ready_ms").template get<double>() < b.at("ready_ms").template get<double>();
    });
    const double recorded = profile.at("forward_ms").get<double>() + profile.at("backward_ms").get<double>();
    const double factor = options_.slow * (options_.step_ms > 0 ? options_.step_ms / recorded : 1);
    forward_ms_ = factor * profile.at("forward_ms").get<double>();
    backward_ms_ = factor * profile.at("backward_ms").get<double>();
    for (const auto& stage : stages) {
        const auto shape = shrunk(stage.at("shape").get<std::vector<int64_t>>(), options_.shrink);
        const auto tensor = at::randn(shape, at::device(device)) * 0.02;
        parameters_.push_back({stage.at("name").get<std::string>(), tensor.requires_grad_()});
        ready_ms_.push_back(factor * stage.at("ready_ms").get<double>());
    }
    x_ = at::randn({1}, at::device(device));
}

at::Tensor Network::loss(double share) const
{
    if (options_.compute == "profile")
        return replayed(share);
    const AutocastGuard autocast({{false, at::kBFloat16}, {x_.is_cuda(), at::kBFloat16}, false});
    at::Tensor x = x_;
    for (size_t block = 0; block < static_cast<size_t>(options_.blocks); ++block)
        x = options_.compute == "timed" ? timed(x, block) : real(x, block);
    return x.to(at::kFloat).square().mean();
}

at::Tensor Network::real(const at::Tensor& x, size_t block) const
{
    const int64_t c = options_.channels;
    auto h = at::linear(at::layer_norm(x, {c}, p(block, 0), p(block, 1)), p(block, 2), p(block, 3));
    const auto parts = h.chunk(3, 1);
    const auto y = x + at::linear(parts[0] * at::sigmoid(parts[1]) * parts[2], p(block, 4), p(block, 5));
    h = at::gelu(at::linear(at::layer_norm(y, {c}, p(block, 6), p(block, 7)), p(block, 8), p(block, 9)));
    return y + at::linear(h, p(block, 10), p(block, 11));
}

at::Tensor Network::timed(const at::Tensor& x, size_t block) const
{
    const double ms = options_.backward_ms / static_cast<double>(options_.blocks);
    return TimedBlock::apply(ms, x, p(block, 0), p(block, 1), p(block, 2), p(block, 3), p(block, 4), p(block, 5),
                             p(block, 6), p(block, 7), p(block, 8), p(block, 9), p(block, 10), p(block, 11));
}

void Network::work_on(const std::vector<parallel::GradientPiece>& pieces) const
{
    if (std::any_of(pieces.begin(), pieces.end(), [](const auto& piece) { return piece.is_factored(); }))
        sleep_until(Clock::now(), options_.slow * options_.factor_ms);
}

at::Tensor Network::replayed(double share) const
{
    const auto start = Clock::now();
    const auto clock = at::zeros({1}, at::kLong);
    // Backward runs from the last stage to the first.
    at::Tensor x = Stage::apply(share * backward_ms_, clock, x_.detach().requires_grad_(), at::zeros({1}));
    for (size_t i = parameters_.size(); i-- > 0;)
        x = Stage::apply(share * ready_ms_[i], clock, x, parameters_[i].tensor);
    sleep_until(start, share * forward_ms_);
    return x.sum();
}

} // namespace gradwind::bench
