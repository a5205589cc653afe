// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/compression_checkpoint.h"

#include "gradwind/core/error.h"
#include "gradwind/ops/tensor_io.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

namespace
{

constexpr const char* kPrefix = "compression.";

std::string factor_name(const std::string& name)
{
    return fmt::format("{}factor.{}", kPrefix, name);
}

std::string error_name(int rank, const std::string& name)
{
    return fmt::format("{}error.{}.{}", kPrefix, rank, name);
}

void fill(const at::Tensor& destination, const Checkpoint& checkpoint, const std::string& name, double factor)
{
    const auto& file = checkpoint.optimizer;
    GRADWIND_CHECK(file.has(name) && at::IntArrayRef(file.info(name).shape) == destination.sizes(), CheckpointError,
                   "[checkpoint] expected `{}` of shape [{}] in {}: the run was compressed otherwise; resume with its "
                   "training.strategy.gradient_compression, or with kind none",
                   name, fmt::join(destination.sizes(), ", "), file.path().string());
    destination.add_(ops::read_tensor(file, name).to(destination.options()), factor);
}

} // namespace

NamedTensors gather_compression(const parallel::GradientEngine& engine, const parallel::Group& world)
{
    const at::NoGradGuard no_grad;
    const auto state = engine.compression_state();
    NamedTensors result;
    for (const auto& [name, tensor] : state.factors)
        if (world.rank() == 0)
            result.emplace_back(factor_name(name), tensor.cpu());
    for (const auto& [name, tensor] : state.errors) {
        const auto all = world.all_gather(tensor.contiguous()).cpu();
        for (int rank = 0; rank < world.size() && world.rank() == 0; ++rank)
            result.emplace_back(error_name(rank, name), all.narrow(0, rank * tensor.size(0), tensor.size(0)).clone());
    }
    return result;
}

NamedTensors with_compression(const Checkpoint& checkpoint, NamedTensors optimizer)
{
    for (const auto& [name, info] : checkpoint.optimizer.tensors())
        if (name.starts_with(kPrefix))
            optimizer.emplace_back(name, at::empty(info.shape));
    return optimizer;
}

nlohmann::json compression_to_json(const parallel::GradientEngine& engine, const parallel::Group& world)
{
    const auto state = engine.compression_state();
    return {{"reduced_steps", engine.reduced_steps()},
            {"active", state.active},
            {"next_is_p", state.next_is_p},
            {"world", world.size()}};
}

void restore_compression(const Checkpoint& checkpoint, parallel::GradientEngine& engine, const parallel::Group& world)
{
    const auto json = checkpoint.state.value("exchange", nlohmann::json::object());
    if (json.empty())
        return; // written before there was compression
    const at::NoGradGuard no_grad;
    parallel::GradientEngine::CompressionState numbers;
    numbers.active = json.at("active").get<bool>();
    numbers.next_is_p = json.at("next_is_p").get<bool>();
    engine.restore(json.at("reduced_steps").get<int64_t>(), numbers);
    const auto state = engine.compression_state();
    for (const auto& [name, tensor] : state.factors) {
        tensor.zero_();
        fill(tensor, checkpoint, factor_name(name), 1);
    }
    const int then = json.at("world").get<int>();
    for (const auto& [name, tensor] : state.errors) {
        if (then == world.size())
            fill(tensor, checkpoint, error_name(world.rank(), name), 1);
        else
            for (int rank = 0; rank < then; ++rank)
                fill(tensor, checkpoint, error_name(rank, name), 1.0 / world.size());
    }
}

} // namespace gradwind::train
