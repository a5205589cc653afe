// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace gradwind::cli
{

/// `gradwind forecast RUN`: forecasts with a trained model and scores them against persistence.
struct ForecastCommand {
    enum class Format { Text, Json };
    enum class Pictures { Skip, Draw };
    std::filesystem::path run;          ///< a run folder, or one checkpoint folder in it
    std::vector<std::string> dates;     ///< start dates of forecasts; empty: all of the test period
    int64_t steps = 4;                  ///< time steps forward
    std::vector<int64_t> leads;         ///< steps that the table shows; empty: all
    std::filesystem::path output;       ///< where forecast fields go (safetensors); empty: they are not kept
    std::vector<std::string> overrides; ///< of the run's configuration, e.g. system.input.dataset=...
    Pictures pictures = Pictures::Skip;
    Format format = Format::Text;
};

/// Prints root-mean-square errors per variable and lead time beside persistence, those of a linear regression where the
/// grid allows one (forecast_scores.h), and where run and pictures are.
/// @throws CheckpointError, DataError, ConfigError
int run(const ForecastCommand& command, std::ostream& out);

} // namespace gradwind::cli
