// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which variable of a data set plays which part, and the index spaces that follow (spec §2.1).
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gradwind
{

enum class Role { Prognostic, Forcing, Diagnostic, Target };

/// Statistics of a data set's variables, in its own units, one value per variable in dataset order.
struct Statistics {
    std::vector<double> mean, stdev, minimum, maximum;
};

/// The variables of one data set in dataset order with their roles, and the index spaces of model and loss.
///
/// Index lists are ascending, so the order of names in a configuration never matters.
class VariableTable
{
public:
    VariableTable() = default;
    /// @param names in dataset order; whatever is in no list is prognostic
    /// @throws ConfigError for a listed name that the data set does not have (names the nearest), or one listed twice
    VariableTable(std::vector<std::string> names, std::span<const std::string> forcing,
                  std::span<const std::string> diagnostic, std::span<const std::string> target = {});

    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
    [[nodiscard]] Role role(int64_t dataset_index) const { return roles_[size_t(dataset_index)]; }
    [[nodiscard]] int64_t count() const { return int64_t(names_.size()); }
    [[nodiscard]] int64_t n_input() const { return int64_t(data_input_.size()); }
    [[nodiscard]] int64_t n_output() const { return int64_t(data_output_.size()); }

    /// Dataset positions of the model's input columns (forcing and prognostic).
    [[nodiscard]] const std::vector<int64_t>& data_input() const { return data_input_; }
    /// Dataset positions of the model's output columns (prognostic and diagnostic).
    [[nodiscard]] const std::vector<int64_t>& data_output() const { return data_output_; }
    /// Columns of the model's input / output that are prognostic, and the input columns that are forcing.
    [[nodiscard]] const std::vector<int64_t>& model_input_prognostic() const { return model_input_prognostic_; }
    [[nodiscard]] const std::vector<int64_t>& model_output_prognostic() const { return model_output_prognostic_; }
    [[nodiscard]] const std::vector<int64_t>& model_input_forcing() const { return model_input_forcing_; }
    /// Dataset positions of the forcing variables.
    [[nodiscard]] const std::vector<int64_t>& data_forcing() const { return data_forcing_; }
    /// Names of the model's output columns.
    [[nodiscard]] std::vector<std::string> output_names() const;

private:
    std::vector<std::string> names_;
    std::vector<Role> roles_;
    std::vector<int64_t> data_input_, data_output_, data_forcing_;
    std::vector<int64_t> model_input_prognostic_, model_output_prognostic_, model_input_forcing_;
};

} // namespace gradwind
