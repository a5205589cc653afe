// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What all processors share, private to this layer: columns by space, methods by variable, the factories.
#pragma once
#include "gradwind/model/processors.h"

#include <optional>

namespace gradwind::model
{

/// Where each variable of the data set stands in each space.
class Columns
{
public:
    explicit Columns(const VariableTable& variables);
    /// Column of a variable given by its dataset position; -1 if the space does not have it.
    [[nodiscard]] int64_t operator()(Space space, int64_t dataset_index) const
    {
        return columns_[size_t(space)][size_t(dataset_index)];
    }

private:
    std::vector<int64_t> columns_[3];
};

/// A processor's `config`: `default`, and method -> variables turned around.
struct Methods {
    std::vector<std::string> by_variable; ///< in dataset order; "none" where nothing is to be done
    std::vector<bool> listed;             ///< named in the configuration, not by default
    Config config;                        ///< for `remap`, `normalizer`, `method_kwargs`
};

/// @throws ConfigError for a variable the data set does not have (naming the nearest) or one listed twice
[[nodiscard]] Methods read_methods(const Config& config, const VariableTable& variables);

/// Dataset position of a variable that a key names. @throws ConfigError naming the nearest
[[nodiscard]] int64_t require_variable(const std::string& name, const VariableTable& variables, const Config& where);

/// The number that a method's name spells. @throws ConfigError
[[nodiscard]] double require_number(const std::string& text, const Config& where);

struct ProcessorRequest {
    const Config& config;
    const ProcessorInputs& inputs;
    size_t position; ///< in the pipeline; key of an imputer's masks
    std::vector<std::string>& notes;
};

[[nodiscard]] std::unique_ptr<FieldProcessor> make_normalizer(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_input_imputer(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_constant_imputer(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_copy_imputer(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_remapper(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_postprocessor(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_normalized_relu(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_conditional_zero(const ProcessorRequest& request);
[[nodiscard]] std::unique_ptr<FieldProcessor> make_conditional_nan(const ProcessorRequest& request);

} // namespace gradwind::model
