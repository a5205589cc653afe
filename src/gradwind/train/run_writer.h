// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The files of a run folder, written by rank 0.
#pragma once
#include "gradwind/train/checkpoint.h"
#include "gradwind/train/metrics_log.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace gradwind::train
{

enum class RunRole { Writer, Silent };

/// Config, log and checkpoints of a run. On the ranks that do not write, every call does nothing.
class RunWriter
{
public:
    /// @param resume  where the log goes on; nothing for a new run
    /// @throws ConfigError if a new run's folder already holds one; DataError if it cannot be written
    RunWriter(RunRole role, const std::filesystem::path& run_dir, const Retention& retention,
              std::optional<LogPosition> resume);
    void write_config(const std::string& yaml) const;
    void log(const MetricsRow& row);
    /// Length of the log on the disk; 0 on ranks that do not write.
    [[nodiscard]] int64_t log_bytes();
    /// @return the checkpoint's folder; empty on ranks that do not write
    std::filesystem::path save(const CheckpointContents& contents) const;

private:
    RunRole role_;
    std::filesystem::path run_dir_;
    CheckpointFolder checkpoints_;
    std::unique_ptr<MetricsLog> log_;
};

} // namespace gradwind::train
