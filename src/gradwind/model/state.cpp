// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/model/model.h"

#include <ATen/ATen.h>

#include <optional>

namespace gradwind::model
{

namespace
{

constexpr size_t kMaxListed = 12;

/// A one-element vector stands for a scalar: some files cannot hold tensors without dimensions.
bool same_shape(const at::Tensor& a, const at::Tensor& b)
{
    return a.sizes() == b.sizes() || (a.numel() == 1 && b.numel() == 1 && a.dim() <= 1 && b.dim() <= 1);
}

std::string shape_of(const at::Tensor& tensor)
{
    return fmt::format("[{}]", fmt::join(tensor.sizes().vec(), ", "));
}

/// The name of a tensor whose second name this is (spec §4.1); nothing if it is a first name.
std::optional<std::string> first_name(const std::string& name)
{
    const std::string second = ".layer_norm_attention_dest.", first = ".layer_norm_attention.";
    const auto found = name.rfind(second);
    if (found == std::string::npos)
        return std::nullopt;
    return name.substr(0, found) + first + name.substr(found + second.size());
}

std::map<std::string, at::Tensor> first_names(const torch::nn::Module& model)
{
    std::map<std::string, at::Tensor> result;
    for (const auto& item : model.named_parameters())
        result.emplace(item.key(), item.value());
    for (const auto& item : model.named_buffers())
        result.emplace(item.key(), item.value());
    return result;
}

} // namespace

std::map<std::string, at::Tensor> named_state(const torch::nn::Module& model)
{
    auto result = first_names(model);
    // The blocks that normalise sources apart are those in which one normalisation has two names.
    const std::string source = ".layer_norm_attention_src.";
    for (const auto& [name, tensor] : first_names(model))
        if (const auto found = name.rfind(source);
            found != std::string::npos &&
            !result.contains(name.substr(0, found) + ".layer_norm_attention_dst.weight")) {
            const auto block = name.substr(0, found), rest = name.substr(found + source.size());
            result.emplace(block + ".layer_norm_attention_dest." + rest,
                           result.at(block + ".layer_norm_attention." + rest));
        }
    return result;
}

void initialise_weights(ForecastModel& model, uint32_t trainer_seed)
{
    UniformStream stream(trainer_seed);
    // The original draws one number between seeding and building the model.
    (void)stream.next(0, 1);
    model.draw(stream);
}

void load_state(torch::nn::Module& model, const std::map<std::string, at::Tensor>& state)
{
    auto own = first_names(model);
    std::vector<std::string> problems;
    for (const auto& [name, tensor] : own) {
        const auto found = state.find(name);
        if (found == state.end())
            problems.push_back(fmt::format("{} is missing", name));
        else if (!same_shape(found->second, tensor))
            problems.push_back(
                fmt::format("{} is {} but the model has {}", name, shape_of(found->second), shape_of(tensor)));
    }
    for (const auto& [name, tensor] : state) {
        if (own.contains(name))
            continue;
        const auto first = first_name(name);
        if (!first || !own.contains(*first))
            problems.push_back(fmt::format("{} is not a part of this model", name));
        else if (state.contains(*first) && !at::equal(tensor, state.at(*first)))
            problems.push_back(fmt::format("{} and {} are one tensor here but have different values", *first, name));
    }
    if (!problems.empty()) {
        const auto more =
            problems.size() > kMaxListed ? fmt::format("\n  and {} more", problems.size() - kMaxListed) : "";
        problems.resize(std::min(problems.size(), kMaxListed));
        throw CheckpointError(
            fmt::format("[model] the weights do not fit the model (was it configured otherwise?):\n  {}{}",
                        fmt::join(problems, "\n  "), more));
    }
    const at::NoGradGuard no_gradients;
    for (auto& [name, tensor] : own)
        tensor.copy_(state.at(name).view_as(tensor));
}

} // namespace gradwind::model
