// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/model/model.h"

#include <ATen/ATen.h>

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

} // namespace

void initialise_weights(ForecastModel& model, uint32_t trainer_seed)
{
    UniformStream stream(trainer_seed);
    // The original draws one number between seeding and building the model.
    (void)stream.next(0, 1);
    model.draw(stream);
}

void load_state(torch::nn::Module& model, const std::map<std::string, at::Tensor>& state)
{
    std::map<std::string, at::Tensor> own;
    for (const auto& item : model.named_parameters())
        own.emplace(item.key(), item.value());
    for (const auto& item : model.named_buffers())
        own.emplace(item.key(), item.value());
    std::vector<std::string> problems;
    for (const auto& [name, tensor] : own) {
        const auto found = state.find(name);
        if (found == state.end())
            problems.push_back(fmt::format("{} is missing", name));
        else if (!same_shape(found->second, tensor))
            problems.push_back(
                fmt::format("{} is {} but the model has {}", name, shape_of(found->second), shape_of(tensor)));
    }
    for (const auto& [name, tensor] : state)
        if (!own.contains(name))
            problems.push_back(fmt::format("{} is not a part of this model", name));
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
