// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/layout_config.h"

#include "gradwind/core/error.h"

#include <limits>

namespace gradwind::parallel
{
namespace
{

/// The first of two keys that is set.
int count(const Config& config, const char* key, const char* other_key, int fallback)
{
    const auto value = config.get<int64_t>(key, config.get<int64_t>(other_key, fallback));
    GRADWIND_CHECK(value <= std::numeric_limits<int>::max(), ConfigError, "[layout] {} = {} is too large", key, value);
    return static_cast<int>(value);
}

} // namespace

LayoutOptions layout_from(const Config& config)
{
    LayoutOptions options;
    const char* nodes = "system.hardware.num_nodes";
    const char* gpus = "system.hardware.num_gpus_per_node";
    options.nodes = count(config, nodes, nodes, 1);
    options.gpus_per_node = count(config, gpus, gpus, 1);
    options.gpus_per_model =
        count(config, "training.strategy.num_gpus_per_model", "system.hardware.num_gpus_per_model", 1);
    options.gpus_per_ensemble = count(config, "training.strategy.num_gpus_per_ensemble",
                                      "system.hardware.num_gpus_per_ensemble", options.gpus_per_model);
    options.read_group_size =
        count(config, "training.strategy.read_group_size", "dataloader.read_group_size", options.gpus_per_model);
    const auto is = [&](const std::string& section, const char* name) {
        return config.has(section + "._target_") && config.at(section).target() == name;
    };
    if (is("training.strategy", "DDPEnsGroupStrategy") || is("training.method", "EnsembleTraining"))
        options.kind = JobKind::Ensemble;
    return options;
}

} // namespace gradwind::parallel
