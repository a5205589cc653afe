// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files with scalars, written without a protobuf library.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace gradwind::train
{

/// CRC-32C (Castagnoli) of some bytes, as TFRecord files use it (before their masking).
[[nodiscard]] uint32_t crc32c(std::span<const std::byte> bytes);

/// One event file below `folder`, named after time and host so that the files of resumed runs lie side by side.
class TensorboardWriter
{
public:
    /// @param resumed_step  TensorBoard is told to forget what older files of the folder say about later steps
    /// @throws DataError if the file cannot be created
    TensorboardWriter(const std::filesystem::path& folder, std::optional<int64_t> resumed_step);
    /// One event with several scalars, flushed. @throws DataError if it cannot be written
    void write(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
    void record(const std::string& event);

    std::filesystem::path path_;
    std::ofstream file_;
};

} // namespace gradwind::train
