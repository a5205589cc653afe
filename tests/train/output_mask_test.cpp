// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Limited areas: which nodes keep their predictions, and what a rollout makes of it.
#include "gradwind/train/output_mask.h"

#include "gradwind/core/error.h"
#include "gradwind/train/step_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::train
{
namespace
{

using nlohmann::json;

Config model_with(const json& mask)
{
    return Config::from_json({{"output_mask", mask}}, "model");
}

graph::Graph graph_with_area()
{
    graph::NodeSet nodes{.name = "data", .lat_rad = {0, 0, 0, 0}, .lon_rad = {0, 1, 2, 3}, .attributes = {}};
    nodes.attributes["area"] = {4, 1, {1, 1, 0, 1}};
    nodes.attributes["empty"] = {4, 1, {0, 0, 0, 0}};
    graph::Graph graph;
    graph.nodes.push_back(std::move(nodes));
    return graph;
}

TEST(OutputMask, IsAnAttributeOfTheNodes)
{
    const auto graph = graph_with_area();
    const auto mask = [&](const json& section) { return output_mask(model_with(section), graph, "data"); };
    const json area = {{"_target_", "Boolean1DMask"}, {"attribute_name", "area"}};
    const at::Tensor expected = at::tensor({1, 1, 0, 1}, at::kInt) != 0;
    EXPECT_TRUE(at::equal(mask(area), expected));
    EXPECT_TRUE(at::equal(mask({{"datasets", {{"data", area}}}}), expected));
    EXPECT_FALSE(mask({{"datasets", {{"data", {{"_target_", "NoOutputMask"}}}}}}).defined());
    EXPECT_FALSE(output_mask(Config::from_json(json::object(), "model"), graph, "data").defined());
    const auto refusal = [&](const json& section) -> std::string {
        try {
            (void)mask(section);
            return "";
        } catch (const ConfigError& error) {
            return error.what();
        }
    };
    EXPECT_NE(refusal({{"_target_", "Boolean1DMask"}, {"attribute_name", "aera"}}).find("area, empty"),
              std::string::npos);
    EXPECT_NE(refusal({{"_target_", "Boolean1DMask"}, {"attribute_name", "empty"}}).find("no node of `data`"),
              std::string::npos);
    EXPECT_NE(refusal({{"_target_", "Boolean2DMask"}, {"attribute_name", "area"}}).find("not available"),
              std::string::npos);
}

/// Tells its newest input, plus ten.
class TenMore : public model::SeveralDatasetsModel
{
public:
    model::Fields forward_all(const model::Fields& x, const model::ForwardContext&) override
    {
        return {{"data", x.at("data").narrow(1, 1, 1) + 10}};
    }
    at::Tensor forward(const at::Tensor& x, const model::ForwardContext& context) override
    {
        return forward_all({{"data", x}}, context).at("data");
    }
    std::vector<SharedPart> shared_parts(const std::map<std::string, parallel::Partition>&,
                                         const at::Tensor&) const override
    {
        return {};
    }
    void draw(model::UniformStream&) override {}
};

TEST(OutputMask, TheTruthComesInFromOutside)
{
    const VariableTable variables({"t"}, {}, {});
    const json section = {{"_target_", "MSELoss"}, {"scalers", json::array()}};
    const auto loss = loss::build_loss(Config::from_json(section, "loss"), Config::from_json(json::object(), "scalers"),
                                       Config::from_json({{"default", "sfc"}}, "groups"),
                                       {.variables = variables, .statistics = {{0}, {1}, {0}, {1}}});
    // Two input times, two outputs; the truth of node n at time t is 100 t + n.
    const auto time = 100 * at::arange(4, at::kFloat), node = at::arange(4, at::kFloat);
    const auto batch = (time.reshape({4, 1}) + node.reshape({1, 4})).reshape({1, 4, 1, 4, 1});
    const ForecasterTask task; // two inputs, one output
    TenMore model;
    RolloutDataset data{"data", variables, batch, loss.get()};
    std::vector<at::Tensor> last;
    const auto run = [&] {
        last.clear();
        (void)rollout_loss(model, std::array{data}, task, 2,
                           [&](size_t, int64_t, const at::Tensor& prediction, const at::Tensor&) {
                               last.push_back(prediction.reshape({-1}));
                           });
        return last.back();
    };
    EXPECT_TRUE(at::equal(run(), 100 + 20 + node)) << "its own predictions everywhere";
    data.inside = at::tensor({1, 1, 0, 1}, at::kInt) != 0;
    EXPECT_TRUE(at::equal(run(), at::tensor({120., 121., 212., 123.}, at::kFloat))) << "node 2 is told 200 + 2";
}

} // namespace
} // namespace gradwind::train
