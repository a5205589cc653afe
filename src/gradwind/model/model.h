// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Forecast models as the trainer sees them.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/variables.h"
#include "gradwind/graph/graph.h"
#include "gradwind/grid/sparse_matrix.h"
#include "gradwind/model/noise_source.h"
#include "gradwind/model/shared_work.h"
#include "gradwind/model/uniform_stream.h"
#include "gradwind/parallel/sharding.h"

#include <torch/nn/module.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace gradwind::model
{

/// What a model is built for. The references must stay valid during build_model only.
struct ModelInputs {
    const graph::Graph& graph;
    const VariableTable& variables;
    const Statistics* statistics = nullptr; ///< needed by boundings that are given in physical units
    int64_t n_step_input = 1;
    int64_t n_step_output = 1;
    std::string dataset_name = "data";
    /// The model group and the rows of each of its ranks; by default this process holds the whole model.
    parallel::Sharding sharding = {};
    grid::MatrixByName matrices = {}; ///< asked for the matrices that the section names, before files
};

/// What a forward pass is told besides its input.
struct ForwardContext {
    int64_t rollout_step = 0;           ///< 0 for the first forecast step
    const NoiseSource* noise = nullptr; ///< what ensemble models draw from; others do not look at it
};

/// A network with its residual connection and boundings. Parameters and buffers have the names of spec §2.6.
///
/// Parameters are ordinary leaves that may be pointed at other storage (`set_data`); no handle to old storage is kept.
/// A model must outlive every backward pass through what it computed.
class ForecastModel : public torch::nn::Module
{
public:
    /// @param x [batch, n_step_input, ensemble, n_nodes, n_input], normalised; the nodes that this rank owns
    /// @return [batch, n_step_output, ensemble, n_nodes, n_output], normalised, after residual and bounding
    /// @collective all ranks of the model group, with as many samples and members each
    /// @throws ShapeError for another shape
    [[nodiscard]] virtual at::Tensor forward(const at::Tensor& x, const ForwardContext& context = {}) = 0;
    /// What this model exchanges in a training step where several processes share it, part by part.
    struct SharedPart {
        std::string name;           ///< "encoder", "processor", "decoder"
        std::string source, target; ///< node sets
        SharedWork work;
    };
    /// @param nodes  every node set, cut over these processes @param like  as Mapper::shared_work
    [[nodiscard]] virtual std::vector<SharedPart> shared_parts(const std::map<std::string, parallel::Partition>& nodes,
                                                               const at::Tensor& like) const = 0;
    /// Sets every parameter to its initial value, drawing in the original's order.
    virtual void draw(UniformStream& stream) = 0;

    /// Called with intermediate results by the names of the golden files: "encoder.in_src", "processor.out", ...
    std::function<void(const std::string& name, const at::Tensor& value)> observer;
};

/// Builds the model that a `model` section describes (keys as in the newest release, the previous spelling too).
/// Weights are zero and normalisations one until initialise_weights or load_state.
/// @throws ConfigError naming the key, its origin and what would work
[[nodiscard]] std::shared_ptr<ForecastModel> build_model(const Config& model_section, const ModelInputs& inputs);

/// Initial weights, bit-equal to the original's for a trainer seed (spec §2.7).
void initialise_weights(ForecastModel& model, uint32_t trainer_seed);

/// Parameters and buffers by name, the second names under which the original lists shared tensors too.
[[nodiscard]] std::map<std::string, at::Tensor> named_state(const torch::nn::Module& model);

/// Copies tensors into the parameters and buffers of the same names, converting type and device.
/// Second names of shared tensors may be absent.
/// @throws CheckpointError listing every missing and unexpected name, every shape that differs and every second name
///         with other values than the first; nothing is copied then
void load_state(torch::nn::Module& model, const std::map<std::string, at::Tensor>& state);

} // namespace gradwind::model
