// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Models that read and write several data sets at once.
#pragma once
#include "gradwind/model/model.h"

namespace gradwind::model
{

/// A data set beside the first one of a model. References must stay valid during build_model only.
struct FurtherDataset {
    std::string name;
    const VariableTable& variables;
    const Statistics* statistics = nullptr;
};

/// One tensor for each data set, by its name.
using Fields = std::map<std::string, at::Tensor>;

/// A model of one or several data sets: each has nodes of its name in the graph, an encoder, a decoder or both.
class SeveralDatasetsModel : public ForecastModel
{
public:
    /// ForecastModel::forward for every data set. What no decoder writes is not among the results.
    /// @param x [batch, n_step_input, ensemble, n_nodes, n_input] of every data set, with the same samples and members
    /// @throws ShapeError naming the data set
    [[nodiscard]] virtual Fields forward_all(const Fields& x, const ForwardContext& context = {}) = 0;
};

/// build_model for several data sets; `encoders` and `decoders` of the section say which reads and writes which.
/// @param inputs the first data set and what all share
/// @throws ConfigError as build_model
[[nodiscard]] std::shared_ptr<SeveralDatasetsModel> build_model(const Config& model_section, const ModelInputs& inputs,
                                                                const std::vector<FurtherDataset>& further);

} // namespace gradwind::model
