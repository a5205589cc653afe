// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The data sets of a stage, whose samples have the same dates.
#pragma once
#include "gradwind/core/config.h"
#include "gradwind/data/dataset.h"
#include "gradwind/train/cell_reader.h"

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// What is read of one data set.
struct StagePart {
    std::string name; ///< the key below `data.datasets`
    std::shared_ptr<const data::Dataset> dataset;
    int64_t shift = 0;                         ///< position of a date in this data set minus that in the first one
    std::shared_ptr<const CellReader> cells{}; ///< that this process reads and works on; null: all
};

/// One or several data sets: a sample is the same dates in each of them.
class Stage
{
public:
    /// @param name "training", "validation", "test": for messages
    /// @throws ConfigError for data sets of different frequencies, or whose dates lie between each other's
    Stage(std::string name, std::vector<StagePart> parts);

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::vector<StagePart>& parts() const { return parts_; }
    [[nodiscard]] std::vector<StagePart>& parts() { return parts_; }
    /// The data set that positions count in.
    [[nodiscard]] const data::Dataset& first() const { return *parts_.front().dataset; }
    [[nodiscard]] int64_t frequency_s() const { return first().frequency_s(); }
    /// Positions in the first data set that can be the anchor of a sample: all data sets have all its dates.
    ///
    /// Of one data set they ascend; those of several are in the order in which the original has them, which counts the
    /// lowest byte of a position first.
    /// @param relative_indices steps of the frequency, such as -1, 0, 1
    /// @throws ConfigError where there are several data sets and no such position
    [[nodiscard]] std::vector<int64_t> anchors(std::span<const int64_t> relative_indices) const;
    /// The variables of every data set.
    [[nodiscard]] std::map<std::string, std::vector<std::string>> variables() const;

private:
    std::string name_;
    std::vector<StagePart> parts_;
};

/// The data set of a stage ("training", "validation", "test"): `dataloader.<stage>.datasets.<name>`.
/// @throws ConfigError if its frequency is not `data.frequency`; whatever open_dataset throws
[[nodiscard]] std::shared_ptr<const data::Dataset> open_dataset_of(const Config& config, const std::string& stage,
                                                                   const std::string& dataset_name);

/// All data sets of a stage. @throws ConfigError as open_dataset_of and Stage
[[nodiscard]] Stage open_stage(const Config& config, const std::string& stage, std::span<const std::string> names);

/// The stage "validation"; nothing where no data set has one. @throws ConfigError as open_stage, where some have one
/// only
[[nodiscard]] std::optional<Stage> open_validation(const Config& config, std::span<const std::string> names);

} // namespace gradwind::train
