// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/metrics_log.h"

#include "gradwind/core/error.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace gradwind::train
{

namespace fs = std::filesystem;

MetricsLog::MetricsLog(const fs::path& run_dir, std::optional<LogPosition> resume)
    : path_(run_dir / "metrics.jsonl"), events_(run_dir / "events", resume ? std::optional(resume->step) : std::nullopt)
{
    if (resume && fs::exists(path_) && int64_t(fs::file_size(path_)) > resume->bytes)
        fs::resize_file(path_, uintmax_t(resume->bytes));
    file_.open(path_, std::ios::binary | (resume ? std::ios::app : std::ios::trunc));
    GRADWIND_CHECK(file_.good(), DataError, "[run] cannot write {}: {}", path_.string(), std::strerror(errno));
}

void MetricsLog::write(const MetricsRow& row)
{
    nlohmann::ordered_json line = {
        {"event", row.event}, {"step", row.step}, {"epoch", row.epoch}, {"wall_s", row.wall_s}};
    for (const auto& [name, value] : row.values)
        line[name] = std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
    file_ << line.dump() << '\n' << std::flush;
    GRADWIND_CHECK(file_.good(), DataError, "[run] cannot write {}: {}", path_.string(), std::strerror(errno));
    events_.write(row.step, row.values);
}

int64_t MetricsLog::synced_bytes()
{
    file_.flush();
    if (const int handle = ::open(path_.c_str(), O_RDONLY); handle >= 0) {
        ::fsync(handle);
        ::close(handle);
    }
    return int64_t(fs::file_size(path_));
}

} // namespace gradwind::train
