// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Autoregressive forecasts with a trained model.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/train/setup.h"
#include "gradwind/train/stage.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gradwind::train
{

/// Fields of one forecast in physical units: member 0 of the analysis, and of an ensemble the mean of its members.
struct Forecast {
    using Steps = std::vector<std::vector<float>>; ///< [lead step - 1][cells * output variables], row-major
    int64_t anchor = 0;                            ///< position of the start date in the first data set
    std::vector<Steps> datasets;                   ///< by data set; empty for those that are read only
};

/// A trained model with the data sets it is tried on. Positions count in the first data set of a period.
class Forecaster
{
public:
    /// @param run        a run folder, its `checkpoints`, or one checkpoint in it
    /// @param overrides  of the run's configuration; `system.input.dataset=...` counts wherever the old data set stood
    /// @throws CheckpointError, ConfigError, DataError
    Forecaster(const std::filesystem::path& run, const std::vector<std::string>& overrides);

    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] const TrainSettings& settings() const { return settings_; }
    enum class Period { Training, Test };
    /// What is forecast, or the training period, which baselines are fitted on.
    [[nodiscard]] const Stage& stage(Period period = Period::Test) const
    {
        return period == Period::Training ? training_ : test_;
    }
    [[nodiscard]] const data::Dataset& dataset(size_t index) const { return *test_.parts()[index].dataset; }
    /// As the model knows them, in the order in which they are numbered.
    [[nodiscard]] const std::vector<ModelDataset>& datasets() const { return datasets_; }
    [[nodiscard]] const VariableTable& variables(size_t dataset) const { return datasets_[dataset].variables; }
    /// Numbers of the data sets that the model predicts.
    [[nodiscard]] const std::vector<size_t>& predicted() const { return predicted_; }
    [[nodiscard]] const std::filesystem::path& checkpoint() const { return checkpoint_; }
    /// Units of the output variables; empty where the data set does not say.
    [[nodiscard]] std::vector<std::string> units(size_t dataset) const;
    /// Positions between one time step and the next.
    [[nodiscard]] int64_t stride() const { return settings_.task.timestep_s / test_.frequency_s(); }

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
    /// @throws DataError for a start whose dates are missing; ConfigError for more steps than one call of the model
    /// gives where it does not predict all that it reads
    [[nodiscard]] Forecast run(int64_t anchor, int64_t n_steps);

    /// Cells whose forecasts count, where the model has an output mask; empty: all.
    [[nodiscard]] std::vector<int64_t> cells_that_count(size_t dataset) const;

    /// What a period's data set says of one date, the output variables of member 0, [cells * output variables].
    /// @throws DataError for a missing date
    [[nodiscard]] std::vector<float> analysis(size_t dataset, int64_t position, Period period = Period::Test) const;

private:
    /// A data set at the dates of a forecast, normalised.
    struct Batch {
        at::Tensor values; ///< [1, T, 1, cells, variables]
        model::BatchMasks masks;
    };
    [[nodiscard]] Batch read(size_t dataset, int64_t anchor, const std::vector<int64_t>& relative) const;
    [[nodiscard]] int64_t n_calls(int64_t n_steps) const;
    /// Fields of a member's steps by data set.
    [[nodiscard]] std::vector<Forecast::Steps> run_member(const std::vector<Batch>& batches, int64_t n_steps,
                                                          const model::NoiseSource& noise);

    Config config_;
    TrainSettings settings_;
    std::filesystem::path checkpoint_;
    Stage training_, test_;
    std::vector<ModelDataset> datasets_;
    std::vector<size_t> predicted_;
    std::vector<at::Tensor> insides_; ///< by data set: cells that keep predictions from step to step; undefined: all
    std::shared_ptr<model::SeveralDatasetsModel> model_;
    int64_t n_members_ = 1;
};

} // namespace gradwind::train
