// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A small data set and configuration for the tests of this layer.
#pragma once
#include "gradwind/core/error.h"
#include "gradwind/loss/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace gradwind::loss::test
{

constexpr int64_t kNodes = 37;
constexpr int64_t kSteps = 2;

inline Config config(const std::string& json)
{
    return Config::from_json(nlohmann::json::parse(json), "test.yaml");
}

/// Prognostic a_500, a_850, b; diagnostic d; forcings between them, so that columns are not contiguous.
struct World {
    VariableTable variables;
    Statistics statistics;
    Statistics tendency;
    at::Tensor area = at::linspace(0.5, 2.0, kNodes, at::kFloat);

    World()
        : variables({"a_500", "lat", "a_850", "b", "lon", "d"}, std::vector<std::string>{"lat", "lon"},
                    std::vector<std::string>{"d"}),
          statistics{{1, 0, 2, 3, 0, 4}, {2, 1, 3, 4, 1, 5}, {-5, -1, -6, -7, -1, 0}, {7, 1, 9, 10, 1, 20}},
          tendency{{0, 0, 0, 0, 0, 0}, {1, 1, 1.5, 0.5, 1, 2}, {}, {}}
    {
    }

    [[nodiscard]] LossInputs inputs() const
    {
        return {.variables = variables,
                .statistics = statistics,
                .tendencies = {{"6h", tendency}},
                .node_attribute = [this](const std::string& name) { return name == "area" ? area : at::Tensor(); },
                .n_step_output = kSteps};
    }
};

inline const char* const kScalers = R"({
  "general": {"_target_": "GeneralVariableLossScaler", "weights": {"default": 1, "a": 2, "d": 0.5}},
  "levels": {"_target_": "ReluVariableLevelScaler", "group": "pl", "y_intercept": 0.2, "slope": 0.001},
  "nodes": {"_target_": "anemoi.training.losses.scalers.GraphNodeAttributeScaler", "nodes_attribute_name": "area",
            "norm": "unit-sum"},
  "steps": {"_target_": "UniformTimeStepScaler"},
  "mask": {"_target_": "NaNMaskScaler"},
  "tendency": {"_target_": "StdevTendencyScaler"}})";

inline const char* const kGroups = R"({"default": "sfc", "pl": {"param": ["a"]}})";

inline std::unique_ptr<Loss> build(const std::string& loss, const World& world = {})
{
    return build_loss(config(loss), config(kScalers), config(kGroups), world.inputs());
}

struct Batch {
    at::Tensor pred, target;
};

inline Batch random_batch(int64_t members, at::ScalarType type, int64_t samples = 2)
{
    at::manual_seed(7);
    return {at::randn({samples, kSteps, members, kNodes, 4}, type), at::randn({samples, kSteps, 1, kNodes, 6}, type)};
}

} // namespace gradwind::loss::test
