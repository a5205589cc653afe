// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Loss scalers: the weights by variable, grid point and output time that multiply an error (spec §7.4).
#pragma once
#include "gradwind/core/variables.h"
#include "gradwind/grid/sparse_matrix.h"
#include "gradwind/loss/variable_groups.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::loss
{

/// What a loss needs to know about data, graph and task. References must live while build_loss runs, not longer.
struct LossInputs {
    const VariableTable& variables;
    const Statistics& statistics;
    /// Statistics of tendencies by lead time ("6h"), in the data set's order; empty if it has none.
    std::vector<std::pair<std::string, Statistics>> tendencies = {};
    /// The data set's `variables_metadata`; an empty object if it has none.
    nlohmann::json variables_metadata = nlohmann::json::object();
    /// Attribute of the data nodes, [N] or [N,1]; an undefined tensor for one that does not exist.
    std::function<at::Tensor(const std::string& attribute)> node_attribute = {};
    int64_t n_step_output = 1;
    /// [N] bool, false where outputs do not count (limited area); undefined: everywhere true.
    at::Tensor output_mask = {};
    /// Values to take in place of computed ones, by scaler name: stored results, tests.
    std::map<std::string, at::Tensor> given = {};
    grid::MatrixByName matrices = {}; ///< asked for smoothing matrices before files
};

/// What a scaler multiplies along.
enum class ScalerAxis {
    Time,     ///< [T_out]
    Grid,     ///< [N]
    Variable, ///< [V_out], model output order
    NanMask   ///< [B, N, V_out], made by the imputers for every batch: no values of its own
};

struct Scaler {
    std::string name;
    ScalerAxis axis = ScalerAxis::Variable;
    at::Tensor values; ///< float32 on the CPU, as the original stores them; undefined for NanMask
};

/// The scalers of a configuration, computed when a loss first asks for them, so that what no loss uses needs no inputs.
class ScalerSet
{
public:
    /// @param scalers the section `training.scalers` of one data set: name -> {_target_, options}
    /// @throws ConfigError for a `_target_` that does not exist
    ScalerSet(const Config& scalers, VariableGroups groups, const LossInputs& inputs);

    [[nodiscard]] std::vector<std::string> names() const { return scalers_.keys(); }
    /// One scaler by its name in the configuration.
    /// @throws ConfigError for an unknown name (naming the nearest), a bad option, or an input that is not there
    [[nodiscard]] Scaler get(const std::string& name) const;
    /// Expands a loss's list: "*" is every scaler, "!name" takes one away. @throws ConfigError for unknown names
    [[nodiscard]] std::vector<std::string> select(const std::vector<std::string>& listed,
                                                  const std::string& where) const;
    [[nodiscard]] const LossInputs& inputs() const { return inputs_; }

private:
    Config scalers_;
    VariableGroups groups_;
    const LossInputs& inputs_;
};

} // namespace gradwind::loss
