// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/netcdf_file.h"

#include "gradwind/core/error.h"

#include <array>
#include <netcdf.h>
#include <type_traits>

namespace gradwind::data
{

bool NetcdfFile::Variable::is_float32() const
{
    return type == NC_FLOAT;
}

bool NetcdfFile::Variable::is_number() const
{
    return type != NC_CHAR && type >= NC_BYTE && type <= NC_UINT64;
}

NetcdfFile::NetcdfFile(const std::filesystem::path& path) : path_(path)
{
    const int status = nc_open(path.c_str(), NC_NOWRITE, &id_);
    GRADWIND_CHECK(status == NC_NOERR, DataError, "[netcdf] {} cannot be opened: {}", path.string(),
                   nc_strerror(status));
    int count = 0;
    check(nc_inq_nvars(id_, &count), "list the variables");
    for (int id = 0; id < count; ++id) {
        std::array<char, NC_MAX_NAME + 1> name = {};
        int rank = 0;
        nc_type type = 0;
        check(nc_inq_var(id_, id, name.data(), &type, &rank, nullptr, nullptr), "describe a variable");
        std::vector<int> dimension_ids(static_cast<size_t>(rank));
        check(nc_inq_vardimid(id_, id, dimension_ids.data()), "describe a variable");
        Variable variable{id, name.data(), type, {}};
        for (const int dimension : dimension_ids) {
            size_t length = 0;
            check(nc_inq_dim(id_, dimension, name.data(), &length), "describe a dimension");
            variable.dimensions.push_back({name.data(), int64_t(length)});
        }
        variables_.push_back(std::move(variable));
    }
}

NetcdfFile::~NetcdfFile()
{
    nc_close(id_);
}

const NetcdfFile::Variable* NetcdfFile::find(const std::string& name) const
{
    for (const auto& variable : variables_)
        if (variable.name == name)
            return &variable;
    return nullptr;
}

std::string NetcdfFile::text(const Variable& variable, const char* attribute) const
{
    nc_type type = 0;
    size_t length = 0;
    if (nc_inq_att(id_, variable.id, attribute, &type, &length) != NC_NOERR)
        return {};
    if (type == NC_STRING && length == 1) {
        char* value = nullptr;
        check(nc_get_att_string(id_, variable.id, attribute, &value), "read an attribute");
        std::string out = value ? value : "";
        nc_free_string(1, &value);
        return out;
    }
    if (type != NC_CHAR)
        return {};
    std::string out(length, '\0');
    check(nc_get_att_text(id_, variable.id, attribute, out.data()), "read an attribute");
    while (!out.empty() && (out.back() == '\0' || out.back() == ' '))
        out.pop_back();
    return out;
}

std::optional<double> NetcdfFile::number(const Variable& variable, const char* attribute) const
{
    nc_type type = 0;
    size_t length = 0;
    if (nc_inq_att(id_, variable.id, attribute, &type, &length) != NC_NOERR || length != 1 || type == NC_CHAR ||
        type == NC_STRING)
        return std::nullopt;
    double value = 0;
    check(nc_get_att_double(id_, variable.id, attribute, &value), "read an attribute");
    return value;
}

template <class T>
void NetcdfFile::read(const Variable& variable, std::span<const size_t> start, std::span<const size_t> count,
                      std::span<T> out) const
{
    size_t values = 1;
    for (const auto length : count)
        values *= length;
    GRADWIND_ASSERT(start.size() == variable.dimensions.size() && count.size() == start.size() && out.size() == values);
    int status = NC_NOERR;
    if constexpr (std::is_same_v<T, float>)
        status = nc_get_vara_float(id_, variable.id, start.data(), count.data(), out.data());
    else
        status = nc_get_vara_double(id_, variable.id, start.data(), count.data(), out.data());
    check(status, "read variable " + variable.name);
}
template void NetcdfFile::read(const Variable&, std::span<const size_t>, std::span<const size_t>,
                               std::span<float>) const;
template void NetcdfFile::read(const Variable&, std::span<const size_t>, std::span<const size_t>,
                               std::span<double>) const;

std::vector<double> NetcdfFile::read_all(const Variable& variable) const
{
    std::vector<size_t> count;
    size_t values = 1;
    for (const auto& dimension : variable.dimensions) {
        count.push_back(size_t(dimension.length));
        values *= size_t(dimension.length);
    }
    const std::vector<size_t> start(count.size(), 0);
    std::vector<double> out(values);
    read<double>(variable, start, count, out);
    return out;
}

void NetcdfFile::check(int status, const std::string& what) const
{
    GRADWIND_CHECK(status == NC_NOERR, DataError, "[netcdf] {}: cannot {}: {}", path_.string(), what,
                   nc_strerror(status));
}

} // namespace gradwind::data
