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

/// Collects `loss` and `anchors` of each batch (position of the first date of every sample), `lr`, `grad_norm` and
/// `n_batches` of each optimiser step, and `validation`.
class Recorder
{
public:
    void batch(double local_loss, std::vector<int64_t> first_positions);
    /// @param n_batches  how many batches of this rank the step had
    void step(double lr, double grad_norm, size_t n_batches);
    void validation(const ValidationResult& result);
    /// @throws DataError if the file cannot be written
    void write(const std::filesystem::path& path) const;

private:
    nlohmann::json record_ = {{"loss", nlohmann::json::array()},      {"lr", nlohmann::json::array()},
                              {"grad_norm", nlohmann::json::array()}, {"n_batches", nlohmann::json::array()},
                              {"anchors", nlohmann::json::array()},   {"validation", nlohmann::json::array()}};
};

} // namespace gradwind::train
