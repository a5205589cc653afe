// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a run measured, as lines of JSON and as TensorBoard events.
#pragma once
#include "gradwind/train/tensorboard.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// One line of `metrics.jsonl` and one TensorBoard event.
struct MetricsRow {
    std::string event;                                    ///< "train", "epoch" or "validation"
    int64_t step = 0;                                     ///< optimiser steps done
    int64_t epoch = 0;                                    ///< from 0
    double wall_s = 0;                                    ///< of training, over all parts of a resumed run
    std::vector<std::pair<std::string, double>> values{}; ///< in the order to be written; Anemoi's names (spec §13.6)
};

/// Where a resumed run goes on.
struct LogPosition {
    int64_t step = 0;
    int64_t bytes = 0; ///< length of metrics.jsonl at the checkpoint; what follows is cut off
};

/// Writes `metrics.jsonl` (one object a line, flushed) and events below `events/` in a run folder.
///
/// Numbers that are not finite are written as null, for JSON has no others.
class MetricsLog
{
public:
    /// @throws DataError if the files cannot be opened
    MetricsLog(const std::filesystem::path& run_dir, std::optional<LogPosition> resume);
    void write(const MetricsRow& row);
    /// Bytes written so far, for LogPosition; everything up to here is on the disk when this returns.
    [[nodiscard]] int64_t synced_bytes();

private:
    std::filesystem::path path_;
    std::ofstream file_;
    TensorboardWriter events_;
};

} // namespace gradwind::train
