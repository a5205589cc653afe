// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A thin layer over libnetcdf: errors become exceptions, handles close themselves.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gradwind::data
{

/// A netCDF file open for reading. Not thread-safe, as libnetcdf is not.
class NetcdfFile
{
public:
    struct Dimension {
        std::string name;
        int64_t length = 0;
    };

    struct Variable {
        int id = 0;
        std::string name;
        int type = 0;
        std::vector<Dimension> dimensions;
        [[nodiscard]] bool is_float32() const;
        [[nodiscard]] bool is_number() const;
    };

    /// @throws DataError if the file is absent or not netCDF
    explicit NetcdfFile(const std::filesystem::path& path);
    ~NetcdfFile();
    NetcdfFile(const NetcdfFile&) = delete;
    NetcdfFile& operator=(const NetcdfFile&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] const std::vector<Variable>& variables() const { return variables_; }
    [[nodiscard]] const Variable* find(const std::string& name) const;
    /// Text of an attribute; empty if there is none.
    [[nodiscard]] std::string text(const Variable& variable, const char* attribute) const;
    [[nodiscard]] std::optional<double> number(const Variable& variable, const char* attribute) const;

    /// A block of a variable, converted to T (float or double). @throws DataError if it cannot be read
    template <class T>
    void read(const Variable& variable, std::span<const size_t> start, std::span<const size_t> count,
              std::span<T> out) const;
    [[nodiscard]] std::vector<double> read_all(const Variable& variable) const;

private:
    void check(int status, const std::string& what) const;

    std::filesystem::path path_;
    int id_ = -1;
    std::vector<Variable> variables_;
};

} // namespace gradwind::data
