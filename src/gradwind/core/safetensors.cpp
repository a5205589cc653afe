// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/safetensors.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gradwind
{

namespace
{

struct DTypeRow {
    DType dtype;
    const char* name;
    size_t bytes;
};

constexpr std::array kDTypes = {
    DTypeRow{DType::F64, "F64", 8},   DTypeRow{DType::F32, "F32", 4}, DTypeRow{DType::F16, "F16", 2},
    DTypeRow{DType::BF16, "BF16", 2}, DTypeRow{DType::I64, "I64", 8}, DTypeRow{DType::I32, "I32", 4},
    DTypeRow{DType::I16, "I16", 2},   DTypeRow{DType::I8, "I8", 1},   DTypeRow{DType::U8, "U8", 1},
    DTypeRow{DType::Bool, "BOOL", 1},
};

/// The format's own bound on the header; anything larger is a damaged or hostile file.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr int kMaxHeaderDepth = 4; ///< {name: {shape: [...]}}
constexpr size_t kMaxDimensions = 64;

const DTypeRow& row_of(DType dtype)
{
    for (const auto& row : kDTypes)
        if (row.dtype == dtype)
            return row;
    throw InternalError("[safetensors] unknown dtype");
}

std::shared_ptr<const std::span<const std::byte>> map_file(const std::filesystem::path& path)
{
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    GRADWIND_CHECK(fd >= 0, DataError, "[safetensors] cannot open {}: {}", path.string(), std::strerror(errno));
    struct stat status {
    };
    const bool ok = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    const auto size = ok ? size_t(status.st_size) : 0;
    void* address = size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
    ::close(fd);
    GRADWIND_CHECK(ok, DataError, "[safetensors] {} is not a regular file", path.string());
    GRADWIND_CHECK(address != MAP_FAILED, DataError, "[safetensors] cannot map {}: {}", path.string(),
                   std::strerror(errno));
    return {new std::span<const std::byte>(static_cast<const std::byte*>(address), size),
            [](const std::span<const std::byte>* span) {
                if (!span->empty())
                    ::munmap(const_cast<std::byte*>(span->data()), span->size());
                delete span;
            }};
}

/// Element count of a shape, checked against overflow, which a hostile header would use. Strides must not overflow
/// either, so an extent of 0 does not excuse the others.
uint64_t checked_count(const std::vector<int64_t>& shape, const std::string& what)
{
    GRADWIND_CHECK(shape.size() <= kMaxDimensions, DataError, "{}: {} dimensions, at most {} are supported", what,
                   shape.size(), kMaxDimensions);
    int64_t strides = 1;
    bool is_empty = false;
    for (const auto extent : shape) {
        GRADWIND_CHECK(extent >= 0, DataError, "{}: negative extent {}", what, extent);
        is_empty = is_empty || extent == 0;
        GRADWIND_CHECK(!__builtin_mul_overflow(strides, std::max<int64_t>(extent, 1), &strides), DataError,
                       "{}: shape overflows", what);
    }
    return is_empty ? 0 : uint64_t(strides);
}

/// A list of whole numbers; the JSON library would convert fractions and truth values without a word.
template <class T>
std::vector<T> whole_numbers(const nlohmann::json& list, const std::string& what)
{
    GRADWIND_CHECK(list.is_array(), DataError, "{}: shape and data_offsets must be lists", what);
    for (const auto& item : list)
        GRADWIND_CHECK(item.is_number_integer(), DataError, "{}: {} is no whole number", what, item.dump());
    return list.get<std::vector<T>>();
}

/// Parses a header, refusing what would cost memory without end or mean two things.
nlohmann::json parse_header(std::string_view text, const std::string& file)
{
    std::set<std::string> names;
    const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
        GRADWIND_CHECK(depth <= kMaxHeaderDepth, DataError, "[safetensors] {}: the header is nested too deeply", file);
        if (event == nlohmann::json::parse_event_t::key && depth == 1)
            GRADWIND_CHECK(names.insert(parsed.get<std::string>()).second, DataError,
                           "[safetensors] {}: two entries are called {}", file, parsed.dump());
        return true;
    };
    auto header = nlohmann::json::parse(text, watch, false);
    GRADWIND_CHECK(header.is_object(), DataError, "[safetensors] {}: the header is not a JSON object", file);
    return header;
}

TensorInfo parse_tensor(const nlohmann::json& entry, size_t data_bytes, const std::string& what)
{
    TensorInfo info;
    GRADWIND_CHECK(entry.is_object() && entry.contains("dtype") && entry.contains("shape") &&
                       entry.contains("data_offsets"),
                   DataError, "{}: entry needs dtype, shape and data_offsets", what);
    const auto dtype = entry.at("dtype").get<std::string>();
    const DTypeRow* found = nullptr;
    for (const auto& row : kDTypes)
        if (dtype == row.name)
            found = &row;
    GRADWIND_CHECK(found != nullptr, DataError, "{}: dtype {} is not supported", what, dtype);
    info.dtype = found->dtype;
    info.shape = whole_numbers<int64_t>(entry.at("shape"), what);
    const auto offsets = whole_numbers<uint64_t>(entry.at("data_offsets"), what);
    GRADWIND_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, DataError,
                   "{}: data_offsets lie outside the file's {} data bytes (is the file truncated?)", what, data_bytes);
    info.begin = offsets[0];
    info.end = offsets[1];
    uint64_t needed = 0;
    GRADWIND_CHECK(!__builtin_mul_overflow(checked_count(info.shape, what), uint64_t(found->bytes), &needed) &&
                       needed == info.end - info.begin,
                   DataError, "{}: {} data bytes do not match dtype {} and shape", what, info.end - info.begin, dtype);
    return info;
}

/// The tensors must fill the data section without overlap or hole, as the format demands.
void check_layout(const std::map<std::string, TensorInfo>& tensors, size_t data_bytes, const std::string& file)
{
    std::vector<std::pair<size_t, size_t>> ranges;
    for (const auto& [name, info] : tensors)
        if (info.end > info.begin)
            ranges.emplace_back(info.begin, info.end);
    std::sort(ranges.begin(), ranges.end());
    size_t end = 0;
    for (const auto& range : ranges) {
        GRADWIND_CHECK(range.first >= end, DataError, "[safetensors] {}: tensors overlap", file);
        GRADWIND_CHECK(range.first == end, DataError,
                       "[safetensors] {}: bytes {} to {} of the data belong to no tensor", file, end, range.first);
        end = range.second;
    }
    GRADWIND_CHECK(end == data_bytes, DataError, "[safetensors] {}: bytes {} to {} of the data belong to no tensor",
                   file, end, data_bytes);
}

template <class T, class S>
void convert(std::span<const std::byte> bytes, std::vector<T>& out)
{
    for (size_t i = 0; i < out.size(); ++i) {
        S value;
        std::memcpy(&value, bytes.data() + i * sizeof(S), sizeof(S));
        out[i] = T(value);
    }
}

} // namespace

size_t size_of(DType dtype)
{
    return row_of(dtype).bytes;
}

const char* name_of(DType dtype)
{
    return row_of(dtype).name;
}

int64_t TensorInfo::count() const
{
    int64_t count = 1;
    for (const auto extent : shape)
        count *= extent;
    return count;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : path_(path), mapping_(map_file(path))
{
    const auto file = path.string();
    const auto all = *mapping_;
    GRADWIND_CHECK(all.size() >= 8, DataError, "[safetensors] {} has {} bytes, too few for a header", file, all.size());
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, all.data(), 8);
    GRADWIND_CHECK(header_bytes <= kMaxHeaderBytes && header_bytes <= all.size() - 8, DataError,
                   "[safetensors] {}: header of {} bytes does not fit into the file's {} bytes (truncated, or not a "
                   "safetensors file)",
                   file, header_bytes, all.size());
    const auto* text = reinterpret_cast<const char*>(all.data()) + 8;
    const auto header = parse_header({text, size_t(header_bytes)}, file);
    data_ = all.subspan(8 + header_bytes);
    try {
        for (const auto& [name, entry] : header.items()) {
            if (name == "__metadata__")
                metadata_ = entry.get<std::map<std::string, std::string>>();
            else
                tensors_[name] =
                    parse_tensor(entry, data_.size(), fmt::format("[safetensors] {}: tensor {}", file, name));
        }
    } catch (const nlohmann::json::exception& error) {
        throw DataError(fmt::format("[safetensors] {}: malformed header: {}", file, error.what()));
    }
    check_layout(tensors_, data_.size(), file);
}

const TensorInfo& SafetensorsFile::info(const std::string& name) const
{
    const auto found = tensors_.find(name);
    GRADWIND_CHECK(found != tensors_.end(), DataError, "[safetensors] {} has no tensor {}", path_.string(), name);
    return found->second;
}

std::span<const std::byte> SafetensorsFile::bytes(const std::string& name) const
{
    const auto& tensor = info(name);
    return data_.subspan(tensor.begin, tensor.end - tensor.begin);
}

template <class T>
std::vector<T> SafetensorsFile::values(const std::string& name) const
{
    const auto& tensor = info(name);
    std::vector<T> out(size_t(tensor.count()));
    const auto source = bytes(name);
    switch (tensor.dtype) {
    case DType::F64:
        convert<T, double>(source, out);
        break;
    case DType::F32:
        convert<T, float>(source, out);
        break;
    case DType::I64:
        convert<T, int64_t>(source, out);
        break;
    case DType::I32:
        convert<T, int32_t>(source, out);
        break;
    case DType::I16:
        convert<T, int16_t>(source, out);
        break;
    case DType::I8:
        convert<T, int8_t>(source, out);
        break;
    case DType::U8:
    case DType::Bool:
        convert<T, uint8_t>(source, out);
        break;
    default:
        throw DataError(fmt::format("[safetensors] {}: tensor {} has dtype {}, which cannot be read as numbers here",
                                    path_.string(), name, name_of(tensor.dtype)));
    }
    return out;
}

template std::vector<float> SafetensorsFile::values(const std::string&) const;
template std::vector<double> SafetensorsFile::values(const std::string&) const;
template std::vector<int64_t> SafetensorsFile::values(const std::string&) const;
template std::vector<int32_t> SafetensorsFile::values(const std::string&) const;

namespace
{

/// A temporary file that disappears unless commit() renames it into place.
class PendingFile
{
public:
    explicit PendingFile(const std::filesystem::path& path) : path_(path)
    {
        // A process of another node, or of another container, may have this number too and write the same file.
        for (int attempt = 0; fd_ < 0; ++attempt) {
            temporary_ = fmt::format("{}.tmp-{}-{}", path.string(), ::getpid(), attempt);
            fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            if (fd_ < 0 && errno != EEXIST) {
                temporary_.clear();
                fail("create");
            }
        }
    }
    PendingFile(const PendingFile&) = delete;
    PendingFile& operator=(const PendingFile&) = delete;
    ~PendingFile()
    {
        if (fd_ >= 0) {
            ::close(fd_);
            ::unlink(temporary_.c_str());
        }
    }

    void append(std::span<const std::byte> bytes)
    {
        while (!bytes.empty()) {
            const auto written = ::write(fd_, bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR)
                continue;
            if (written < 0)
                fail("write");
            bytes = bytes.subspan(size_t(written));
        }
    }

    void commit()
    {
        if (::fsync(fd_) != 0)
            fail("sync");
        if (::rename(temporary_.c_str(), path_.c_str()) != 0)
            fail("rename");
        ::close(fd_);
        fd_ = -1;
        sync_directory();
    }

private:
    [[noreturn]] void fail(const char* action)
    {
        const int reason = errno;
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = -1;
        if (!temporary_.empty())
            ::unlink(temporary_.c_str());
        throw DataError(
            fmt::format("[file] cannot {} {}: {}; nothing was changed", action, path_.string(), std::strerror(reason)));
    }

    /// A rename survives a power cut only once its directory is on disk.
    void sync_directory()
    {
        const auto parent = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
        const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory >= 0) {
            ::fsync(directory);
            ::close(directory);
        }
    }

    std::filesystem::path path_;
    std::string temporary_;
    int fd_ = -1;
};

} // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorBytes> tensors,
                       const std::map<std::string, std::string>& metadata)
{
    auto header = nlohmann::ordered_json::object();
    if (!metadata.empty())
        header["__metadata__"] = metadata;
    size_t offset = 0;
    for (const auto& tensor : tensors) {
        GRADWIND_ASSERT(checked_count(tensor.shape, tensor.name) * size_of(tensor.dtype) == tensor.bytes.size());
        header[tensor.name] = {{"dtype", name_of(tensor.dtype)},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, offset + tensor.bytes.size()}}};
        offset += tensor.bytes.size();
    }
    auto text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' '); // the format asks for aligned data
    const uint64_t header_bytes = text.size();

    PendingFile file(path);
    file.append(std::as_bytes(std::span(&header_bytes, 1)));
    file.append(std::as_bytes(std::span(text)));
    for (const auto& tensor : tensors)
        file.append(tensor.bytes);
    file.commit();
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes)
{
    PendingFile file(path);
    file.append(bytes);
    file.commit();
}

} // namespace gradwind
