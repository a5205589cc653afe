// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Pre- and post-processing of fields: normalisation, imputation, remapping (spec §8).
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/core/variables.h"

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gradwind::model
{

/// Which variables the last dimension of a tensor holds.
enum class Space {
    Dataset,    ///< all variables of the data set
    ModelInput, ///< prognostic and forcing variables
    ModelOutput ///< prognostic and diagnostic variables
};

struct ProcessorInputs {
    const VariableTable& variables;
    Statistics&
        statistics; ///< a normaliser's `remap` writes here, and whatever is built later sees it, as in the original
};

/// What the imputers met in one batch; the inverse puts the NaN of the first time step back.
struct BatchMasks {
    std::map<size_t, at::Tensor> missing; ///< by imputer: [B, N, V_in] bool
    at::Tensor loss_mask; ///< [B, N, V_out], 0 where a value was imputed; undefined if no imputer ran on whole data
};

/// One step of the pipeline. Both directions work in place on [B, T, E, N, V], float or double, any device.
class FieldProcessor
{
public:
    virtual ~FieldProcessor() = default;
    virtual void transform(const at::Tensor& x, Space space, BatchMasks& masks) const = 0;
    virtual void inverse(const at::Tensor& x, Space space, const BatchMasks& masks) const = 0;
    /// Tensors that belong into a checkpoint under the original's names ("_norm_mul").
    [[nodiscard]] virtual std::vector<std::pair<std::string, at::Tensor>> buffers() const { return {}; }
};

/// The pipeline of one data set: in the order of the configuration, and back in reverse.
class Processors
{
public:
    struct Step {
        std::string name; ///< key in the configuration
        std::unique_ptr<FieldProcessor> processor;
    };
    Processors(std::vector<Step> steps, const VariableTable& variables, std::vector<std::string> notes);

    /// Raw fields to model space, in place. @param x [B, T, E, N, V]; a slice of the grid is as good as all of it
    /// @throws ShapeError if the last dimension does not fit `space`; DataError where data cannot be processed
    [[nodiscard]] BatchMasks transform(const at::Tensor& x, Space space) const;
    /// Model space to physical units, in place. @param masks of the batch's transform, for the imputers
    void inverse(const at::Tensor& x, Space space, const BatchMasks& masks = {}) const;

    [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
    /// What a user should hear once: constant fields and the like.
    [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
    [[nodiscard]] std::vector<std::string> names(Space space) const;

private:
    void check_width(const at::Tensor& x, Space space) const;
    std::vector<Step> steps_;
    VariableTable variables_;
    std::vector<std::string> notes_;
};

/// Builds the pipeline from `data.datasets.<name>.processors`: name -> {_target_, config}.
///
/// InputNormalizer; InputImputer, ConstantImputer, CopyImputer; Remapper; Postprocessor, NormalizedReluPostprocessor,
/// ConditionalZeroPostprocessor, ConditionalNaNPostprocessor.
/// @throws ConfigError for unknown classes, methods and variables; DataError for statistics that cannot be used (zero
/// standard deviation, NaN)
[[nodiscard]] Processors build_processors(const Config& processors, const ProcessorInputs& inputs);

/// Refuses NaN, as the original does for the first batch. @throws DataError naming the variables and how many
void require_no_nan(const at::Tensor& x, std::span<const std::string> names, const std::string& what);

} // namespace gradwind::model
