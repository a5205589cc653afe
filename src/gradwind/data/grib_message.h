// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A thin layer over ecCodes: errors become exceptions, handles close themselves.
#pragma once
#include "gradwind/data/source.h"

#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

struct grib_handle;

namespace gradwind::data
{

/// One GRIB message in memory.
class GribMessage
{
public:
    /// Reads the message at the position of `file`. @return nothing at the end of the file @throws DataError
    static std::optional<GribMessage> read(std::FILE* file, const std::filesystem::path& path);
    GribMessage(GribMessage&& other) noexcept;
    GribMessage& operator=(GribMessage&&) = delete;
    ~GribMessage();

    [[nodiscard]] int64_t integer(const char* key) const;
    [[nodiscard]] double real(const char* key) const;
    [[nodiscard]] std::string text(const char* key) const;
    [[nodiscard]] bool has(const char* key) const;
    /// The keys by which MARS names the field, as text; `param` is the short name.
    [[nodiscard]] std::map<std::string, std::string> mars() const;
    /// Seconds since 1970 at which the field is valid.
    [[nodiscard]] int64_t valid_date() const;
    [[nodiscard]] SourceGrid grid() const;
    /// Values in the order of the message, NaN where the bitmap says so. @throws DataError unless there are out.size()
    void values(std::span<float> out) const;

private:
    GribMessage(grib_handle* handle, std::string where) : handle_(handle), where_(std::move(where)) {}
    void check(int status, const char* what) const;
    [[nodiscard]] std::vector<double> array(const char* key) const;

    grib_handle* handle_;
    std::string where_;
};

} // namespace gradwind::data
