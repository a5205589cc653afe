// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/zarr_writer.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <blosc.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <functional>
#include <limits>
#include <numeric>
#include <sys/stat.h>
#include <unistd.h>

namespace gradwind::data
{

namespace
{

namespace fs = std::filesystem;

constexpr int blosc_level = 5;

const char* dtype_of(ZarrType type)
{
    switch (type) {
    case ZarrType::Float32:
        return "<f4";
    case ZarrType::Float64:
        return "<f8";
    case ZarrType::DateSeconds:
        return "<M8[s]";
    }
    return "";
}

nlohmann::json fill_of(const ArraySpec& array)
{
    if (array.fill == ArraySpec::Fill::NaN)
        return "NaN";
    return array.type == ZarrType::DateSeconds ? nlohmann::json(0) : nlohmann::json(0.0);
}

int64_t product(std::span<const int64_t> numbers)
{
    return std::accumulate(numbers.begin(), numbers.end(), int64_t(1), std::multiplies<>());
}

[[noreturn]] void io_failure(const char* what, const fs::path& path, int error)
{
    throw DataError(fmt::format("[zarr] cannot {} {}: {}{}", what, path.string(), std::strerror(error),
                                error == ENOSPC ? "; free some space or choose another folder" : ""));
}

/// Closes a descriptor whatever happens.
struct Descriptor {
    int fd = -1;
    ~Descriptor()
    {
        if (fd >= 0)
            ::close(fd);
    }
};

/// One chunk of a row block: the part of every axis that it covers.
struct ChunkWindow {
    std::vector<int64_t> index;  ///< chunk number along each axis
    std::vector<int64_t> begin;  ///< first element along each axis, in the array
    std::vector<int64_t> length; ///< elements inside the array
};

/// Calls `visit(in_chunk, in_block, count)` for every contiguous run of elements that chunk and row block share.
void for_each_run(const ArraySpec& array, const ChunkWindow& window, int64_t first_row,
                  const std::function<void(int64_t, int64_t, int64_t)>& visit)
{
    const size_t rank = array.shape.size();
    std::vector<int64_t> position(rank, 0);
    const int64_t run = window.length.back();
    while (true) {
        int64_t in_chunk = 0;
        int64_t in_block = 0;
        for (size_t axis = 0; axis < rank; ++axis) {
            in_chunk = in_chunk * array.chunks[axis] + position[axis];
            const int64_t origin = window.begin[axis] - (axis == 0 ? first_row : 0);
            in_block = in_block * array.shape[axis] + origin + position[axis];
        }
        visit(in_chunk, in_block, run);
        size_t axis = rank - 1;
        while (axis > 0 && ++position[axis - 1] == window.length[axis - 1])
            position[--axis] = 0;
        if (axis == 0)
            return;
    }
}

/// Calls `visit` for every chunk that rows [first_row, first_row + rows) touch.
void for_each_chunk(const ArraySpec& array, int64_t first_row, int64_t rows,
                    const std::function<void(const ChunkWindow&)>& visit)
{
    const size_t rank = array.shape.size();
    std::vector<int64_t> first(rank, 0);
    std::vector<int64_t> last(rank);
    for (size_t axis = 0; axis < rank; ++axis)
        last[axis] = (array.shape[axis] + array.chunks[axis] - 1) / array.chunks[axis];
    first[0] = first_row / array.chunks[0];
    last[0] = (first_row + rows + array.chunks[0] - 1) / array.chunks[0];
    ChunkWindow window{first, std::vector<int64_t>(rank), std::vector<int64_t>(rank)};
    while (true) {
        for (size_t axis = 0; axis < rank; ++axis) {
            window.begin[axis] = window.index[axis] * array.chunks[axis];
            window.length[axis] = std::min(array.chunks[axis], array.shape[axis] - window.begin[axis]);
        }
        visit(window);
        size_t axis = rank;
        while (axis > 0 && ++window.index[axis - 1] == last[axis - 1]) {
            window.index[axis - 1] = first[axis - 1];
            --axis;
        }
        if (axis == 0)
            return;
    }
}

std::string chunk_name(const ArraySpec& array, const std::vector<int64_t>& index)
{
    return fmt::format("{}/{}", array.name, fmt::join(index, "."));
}

/// Checks that a row block starts and ends at chunk borders. @return number of rows
int64_t rows_of(const ArraySpec& array, int64_t first_row, size_t values)
{
    const int64_t row = product(std::span(array.shape).subspan(1));
    GRADWIND_ASSERT(array.type == ZarrType::Float32 && row > 0 && int64_t(values) % row == 0);
    const int64_t rows = int64_t(values) / row;
    const int64_t end = first_row + rows;
    GRADWIND_ASSERT(rows > 0 && first_row >= 0 && end <= array.shape[0] && first_row % array.chunks[0] == 0 &&
                    (end % array.chunks[0] == 0 || end == array.shape[0]));
    return rows;
}

} // namespace

ZarrWriter::ZarrWriter(fs::path target, Existing existing) : target_(std::move(target)), existing_(existing)
{
    if (target_.filename().empty())
        target_ = target_.parent_path();
    if (fs::exists(fs::symlink_status(target_))) {
        GRADWIND_CHECK(existing_ == Existing::Overwrite, DataError,
                       "[zarr] {} exists already; remove it, choose another name, or ask to overwrite it",
                       target_.string());
        GRADWIND_CHECK(fs::exists(target_ / ".zgroup"), DataError,
                       "[zarr] {} is not a zarr group and is not overwritten; remove it yourself", target_.string());
    }
    const auto parent = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
    std::error_code error;
    fs::create_directories(parent, error);
    if (error)
        io_failure("create", parent, error.value());
    auto pattern = (parent / ("." + target_.filename().string() + ".partial-XXXXXX")).string();
    if (!::mkdtemp(pattern.data()))
        io_failure("create a folder in", parent, errno);
    folder_ = pattern;
    ::chmod(folder_.c_str(), 0755);
    try {
        write_json(".zgroup", {{"zarr_format", 2}});
    } catch (...) {
        fs::remove_all(folder_, error);
        throw;
    }
}

ZarrWriter::~ZarrWriter()
{
    std::error_code ignored;
    if (!folder_.empty())
        fs::remove_all(folder_, ignored);
}

void ZarrWriter::add_array(const ArraySpec& given)
{
    auto array = given;
    if (array.chunks.empty())
        for (const auto length : array.shape)
            array.chunks.push_back(std::max<int64_t>(length, 1));
    GRADWIND_ASSERT(array.chunks.size() == array.shape.size() && array.dimensions.size() == array.shape.size());
    GRADWIND_ASSERT(!array.shape.empty() && std::ranges::all_of(array.chunks, [](int64_t c) { return c > 0; }));
    std::error_code error;
    fs::create_directories(folder_ / array.name, error);
    if (error)
        io_failure("create", folder_ / array.name, error.value());
    const nlohmann::json compressor = {
        {"blocksize", 0}, {"clevel", blosc_level}, {"cname", "lz4"}, {"id", "blosc"}, {"shuffle", BLOSC_SHUFFLE}};
    write_json(array.name + "/.zarray", {{"chunks", array.chunks},
                                         {"compressor", compressor},
                                         {"dtype", dtype_of(array.type)},
                                         {"fill_value", fill_of(array)},
                                         {"filters", nullptr},
                                         {"order", "C"},
                                         {"shape", array.shape},
                                         {"zarr_format", 2}});
    write_json(array.name + "/.zattrs", {{"_ARRAY_DIMENSIONS", array.dimensions}});
    arrays_[array.name] = std::move(array);
}

template <class T>
void ZarrWriter::write_one_chunk(const ArraySpec& array, std::span<const T> values)
{
    add_array(array);
    GRADWIND_ASSERT(product(array.shape) == int64_t(values.size()));
    if (!values.empty())
        write_chunk(chunk_name(array, std::vector<int64_t>(array.shape.size(), 0)), std::as_bytes(values), sizeof(T));
}

void ZarrWriter::write_whole(const ArraySpec& array, std::span<const double> values)
{
    GRADWIND_ASSERT(array.type == ZarrType::Float64 && array.chunks.empty());
    write_one_chunk(array, values);
}

void ZarrWriter::write_whole(const ArraySpec& array, std::span<const float> values)
{
    GRADWIND_ASSERT(array.type == ZarrType::Float32 && array.chunks.empty());
    write_one_chunk(array, values);
}

void ZarrWriter::write_whole(const ArraySpec& array, std::span<const int64_t> values)
{
    GRADWIND_ASSERT(array.type == ZarrType::DateSeconds && array.chunks.empty());
    write_one_chunk(array, values);
}

void ZarrWriter::write_rows(const std::string& name, int64_t first_row, std::span<const float> values)
{
    const auto& array = this->array(name);
    const int64_t rows = rows_of(array, first_row, values.size());
    const float fill = array.fill == ArraySpec::Fill::NaN ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
    std::vector<float> chunk;
    for_each_chunk(array, first_row, rows, [&](const ChunkWindow& window) {
        chunk.assign(size_t(product(array.chunks)), fill);
        for_each_run(array, window, first_row, [&](int64_t in_chunk, int64_t in_block, int64_t count) {
            std::copy_n(values.data() + in_block, count, chunk.data() + in_chunk);
        });
        write_chunk(chunk_name(array, window.index), std::as_bytes(std::span(chunk)), sizeof(float));
    });
}

void ZarrWriter::read_rows(const std::string& name, int64_t first_row, std::span<float> values) const
{
    const auto& array = this->array(name);
    const int64_t rows = rows_of(array, first_row, values.size());
    std::vector<float> chunk(size_t(product(array.chunks)));
    std::vector<char> file;
    for_each_chunk(array, first_row, rows, [&](const ChunkWindow& window) {
        const auto path = folder_ / chunk_name(array, window.index);
        const Descriptor in{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
        if (in.fd < 0)
            io_failure("read", path, errno);
        file.resize(fs::file_size(path));
        const auto got = ::read(in.fd, file.data(), file.size());
        const size_t bytes = chunk.size() * sizeof(float);
        GRADWIND_CHECK(got == ssize_t(file.size()) &&
                           blosc_decompress_ctx(file.data(), chunk.data(), bytes, 1) == int(bytes),
                       DataError, "[zarr] {}, which was just written, cannot be read back", path.string());
        for_each_run(array, window, first_row, [&](int64_t in_chunk, int64_t in_block, int64_t count) {
            std::copy_n(chunk.data() + in_chunk, count, values.data() + in_block);
        });
    });
}

void ZarrWriter::set_attributes(const nlohmann::json& attributes)
{
    write_json(".zattrs", attributes);
}

void ZarrWriter::commit()
{
    {
        const Descriptor root{::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        if (root.fd < 0 || ::syncfs(root.fd) != 0)
            io_failure("sync", folder_, errno);
    }
    fs::path old;
    std::error_code error;
    if (existing_ == Existing::Overwrite && fs::exists(target_)) {
        old = folder_.string() + ".old";
        fs::rename(target_, old, error);
        if (error)
            io_failure("replace", target_, error.value());
    }
    // A plain rename would put the group into an empty folder of this name that appeared meanwhile.
    if (fs::exists(target_))
        throw DataError(fmt::format("[zarr] {} appeared while the data set was made; it is left alone and the new "
                                    "data set is dropped",
                                    target_.string()));
    fs::rename(folder_, target_, error);
    if (error) {
        const auto reason = error.value();
        if (!old.empty())
            fs::rename(old, target_, error);
        io_failure("create", target_, reason);
    }
    folder_.clear();
    if (!old.empty())
        fs::remove_all(old, error);
}

const ArraySpec& ZarrWriter::array(const std::string& name) const
{
    const auto found = arrays_.find(name);
    GRADWIND_ASSERT(found != arrays_.end());
    return found->second;
}

void ZarrWriter::write_chunk(const std::string& relative, std::span<const std::byte> raw, size_t type_size)
{
    GRADWIND_CHECK(raw.size() <= size_t(BLOSC_MAX_BUFFERSIZE), ConfigError,
                   "[zarr] a chunk of {} holds {} bytes, Blosc takes at most {}; make `output.chunking` smaller",
                   relative, raw.size(), BLOSC_MAX_BUFFERSIZE);
    compressed_.resize(raw.size() + BLOSC_MAX_OVERHEAD);
    const int written = blosc_compress_ctx(blosc_level, BLOSC_SHUFFLE, type_size, raw.size(), raw.data(),
                                           compressed_.data(), compressed_.size(), "lz4", 0, 1);
    GRADWIND_CHECK(written > 0, InternalError, "[zarr] Blosc cannot compress {} ({})", relative, written);
    write_file(relative, std::span(compressed_).first(size_t(written)));
}

void ZarrWriter::write_json(const std::string& relative, const nlohmann::json& json)
{
    const auto text = json.dump(4);
    write_file(relative, std::as_bytes(std::span(text)));
}

void ZarrWriter::write_file(const std::string& relative, std::span<const std::byte> bytes)
{
    const auto path = folder_ / relative;
    Descriptor out{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (out.fd < 0)
        io_failure("write", path, errno);
    for (auto rest = bytes; !rest.empty();) {
        const auto done = ::write(out.fd, rest.data(), rest.size());
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            io_failure("write", path, errno);
        rest = rest.subspan(size_t(done));
    }
    // Some file systems report a full disk only here.
    const int closed = ::close(out.fd);
    out.fd = -1;
    if (closed != 0)
        io_failure("write", path, errno);
    ++size_.files;
    size_.bytes += int64_t(bytes.size());
}

} // namespace gradwind::data
