// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What the steps of one rank did, in the form in which the reference runs are stored.
#pragma once
#include "gradwind/train/progress.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace gradwind::train
{

/// Collects `loss` and `anchors` of each batch (position of the first date of every sample), `lr` and `grad_norm` of
/// each optimiser step, and `validation`. Numbers of a run of n steps take about 100 n bytes.
class Recorder
{
public:
    void batch(double local_loss, std::vector<int64_t> first_positions);
    void step(double lr, double grad_norm);
    void validation(const ValidationResult& result);
    /// @throws DataError if the file cannot be written
    void write(const std::filesystem::path& path) const;

private:
    nlohmann::json record_ = {{"loss", nlohmann::json::array()},
                              {"lr", nlohmann::json::array()},
                              {"grad_norm", nlohmann::json::array()},
                              {"anchors", nlohmann::json::array()},
                              {"validation", nlohmann::json::array()}};
};

} // namespace gradwind::train
