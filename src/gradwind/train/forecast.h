// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Autoregressive forecasts with a trained model.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/dataset.h"
#include "gradwind/model/model.h"
#include "gradwind/model/processors.h"
#include "gradwind/train/settings.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gradwind::train
{

/// Fields of one forecast in physical units: member 0 of the analysis, and of an ensemble the mean of its members.
struct Forecast {
    int64_t anchor = 0;                    ///< position of the start date in the data set
    std::vector<std::vector<float>> steps; ///< [lead step - 1][cells * output variables], row-major
};

/// A trained model with the data set it is tried on.
class Forecaster
{
public:
    /// @param run        a run folder, its `checkpoints`, or one checkpoint in it
    /// @param overrides  of the run's configuration; `system.input.dataset=...` counts wherever the old data set stood
    /// @throws CheckpointError, ConfigError, DataError
    Forecaster(const std::filesystem::path& run, const std::vector<std::string>& overrides);

    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] const TrainSettings& settings() const { return settings_; }
    [[nodiscard]] const data::Dataset& dataset() const { return *dataset_; }
    /// The training period, which baselines are fitted on.
    [[nodiscard]] const data::Dataset& training() const { return *training_; }
    [[nodiscard]] const VariableTable& variables() const { return variables_; }
    [[nodiscard]] const std::filesystem::path& checkpoint() const { return checkpoint_; }
    /// Units of the output variables; empty where the data set does not say.
    [[nodiscard]] std::vector<std::string> units() const;
    /// Positions between one time step and the next.
    [[nodiscard]] int64_t stride() const { return settings_.task.timestep_s / dataset_->frequency_s(); }

    /// Start positions of the test period whose inputs and at least one following date exist.
    [[nodiscard]] std::vector<int64_t> start_positions() const;
    /// How many of `n_steps` following dates exist without a gap: what a forecast from there can be scored on. (The
    /// forcings of those dates are needed too.)
    [[nodiscard]] int64_t available_steps(int64_t anchor, int64_t n_steps) const;
    /// The start position of a date. @throws ConfigError if the test period has no such date, naming it
    [[nodiscard]] int64_t position_of(const std::string& date) const;

    /// Members of a forecast: as many as the training scores together; 1 for a deterministic model. They run one after
    /// the other, each with noise that depends on base seed, date and member.
    [[nodiscard]] int64_t n_members() const { return n_members_; }
    /// @throws DataError for a start whose dates are missing
    [[nodiscard]] Forecast run(int64_t anchor, int64_t n_steps);

    enum class Period { Training, Test };
    /// What a period's data set says of one date, the output variables of member 0, [cells * output variables].
    /// @throws DataError for a missing date
    [[nodiscard]] std::vector<float> analysis(int64_t position, Period period = Period::Test) const;

private:
    /// Fields of a member's steps, [cells * output variables] in physical units, one after the other.
    [[nodiscard]] std::vector<std::vector<float>> run_member(const at::Tensor& batch, const model::BatchMasks& masks,
                                                             int64_t n_steps, const model::NoiseSource& noise);

    Config config_;
    TrainSettings settings_;
    std::filesystem::path checkpoint_;
    std::shared_ptr<const data::Dataset> training_, dataset_;
    VariableTable variables_;
    Statistics statistics_;
    std::unique_ptr<model::Processors> processors_;
    std::shared_ptr<model::ForecastModel> model_;
    int64_t n_members_ = 1;
    at::Tensor inside_; ///< cells of a limited area; its boundary gets the analysis in every step
};

} // namespace gradwind::train
