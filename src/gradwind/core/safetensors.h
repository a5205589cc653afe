// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Safetensors files: the only tensor format that gradwind writes. Free of torch; ops/tensor_io.h makes tensors of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gradwind
{

enum class DType { F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool };

[[nodiscard]] size_t size_of(DType dtype);
[[nodiscard]] const char* name_of(DType dtype);

struct TensorInfo {
    DType dtype = DType::F32;
    std::vector<int64_t> shape;
    size_t begin = 0; ///< byte range in the data section
    size_t end = 0;
    [[nodiscard]] int64_t count() const; ///< number of elements
};

/// A file mapped for reading. Headers are checked completely before anything is returned: sizes, offsets, overlaps.
/// @throws DataError naming file and tensor, for a missing, truncated or inconsistent file
class SafetensorsFile
{
public:
    explicit SafetensorsFile(const std::filesystem::path& path);
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
    [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }
    [[nodiscard]] const TensorInfo& info(const std::string& name) const;
    [[nodiscard]] std::span<const std::byte> bytes(const std::string& name) const;
    /// Elements converted to T (float, double, int64_t, int32_t); any integer or 4/8-byte float source converts.
    template <class T>
    [[nodiscard]] std::vector<T> values(const std::string& name) const;

private:
    std::filesystem::path path_;
    std::shared_ptr<const std::span<const std::byte>> mapping_; ///< the whole file
    std::span<const std::byte> data_;
    std::map<std::string, TensorInfo> tensors_;
    std::map<std::string, std::string> metadata_;
};

/// One tensor to be written; `bytes` must stay valid until write_safetensors returns.
struct TensorBytes {
    std::string name;
    DType dtype = DType::F32;
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
};

/// Writes to a temporary name beside `path`, syncs and renames, so that the file is complete or absent.
/// @throws DataError naming the file and the system's reason (disk full, no permission)
void write_safetensors(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Writes any text file the same way. @throws DataError
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);

} // namespace gradwind
