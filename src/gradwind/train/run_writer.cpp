// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/run_writer.h"

#include "gradwind/core/error.h"
#include "gradwind/core/safetensors.h"

namespace gradwind::train
{

namespace fs = std::filesystem;

RunWriter::RunWriter(RunRole role, const fs::path& run_dir, const Retention& retention,
                     std::optional<LogPosition> resume)
    : role_(role), run_dir_(run_dir), checkpoints_(run_dir / "checkpoints", retention)
{
    if (role == RunRole::Silent)
        return;
    GRADWIND_CHECK(resume || !checkpoints_.last(), ConfigError,
                   "[run] expected an empty run folder at {}, found checkpoints of an earlier run; choose another with "
                   "--run, or go on with it: `gradwind train --resume {}`",
                   run_dir.string(), run_dir.string());
    std::error_code failed;
    fs::create_directories(run_dir, failed);
    GRADWIND_CHECK(!failed, DataError, "[run] cannot create the folder {}: {}", run_dir.string(), failed.message());
    log_ = std::make_unique<MetricsLog>(run_dir, resume);
}

void RunWriter::write_config(const std::string& yaml) const
{
    if (role_ == RunRole::Writer)
        write_file_atomically(run_dir_ / "config.yaml", std::as_bytes(std::span(yaml)));
}

void RunWriter::log(const MetricsRow& row)
{
    if (log_)
        log_->write(row);
}

int64_t RunWriter::log_bytes()
{
    return log_ ? log_->synced_bytes() : 0;
}

fs::path RunWriter::save(const CheckpointContents& contents) const
{
    return role_ == RunRole::Writer ? checkpoints_.save(contents) : fs::path();
}

} // namespace gradwind::train
