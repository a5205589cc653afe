// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/tensor_io.h"

#include "gradwind/core/error.h"

#include <array>
#include <ATen/ATen.h>
#include <cstring>

namespace gradwind::ops
{

namespace
{

constexpr std::array<std::pair<DType, at::ScalarType>, 10> kTypes = {{
    {DType::F64, at::kDouble},
    {DType::F32, at::kFloat},
    {DType::F16, at::kHalf},
    {DType::BF16, at::kBFloat16},
    {DType::I64, at::kLong},
    {DType::I32, at::kInt},
    {DType::I16, at::kShort},
    {DType::I8, at::kChar},
    {DType::U8, at::kByte},
    {DType::Bool, at::kBool},
}};

at::ScalarType scalar_type_of(DType dtype)
{
    for (const auto& [ours, theirs] : kTypes)
        if (ours == dtype)
            return theirs;
    throw InternalError("[tensor_io] unknown dtype");
}

DType dtype_of(const at::Tensor& tensor, const std::string& name)
{
    for (const auto& [ours, theirs] : kTypes)
        if (theirs == tensor.scalar_type())
            return ours;
    throw DataError(fmt::format("[tensor_io] tensor {} has type {}, which safetensors cannot hold", name,
                                c10::toString(tensor.scalar_type())));
}

} // namespace

at::Tensor read_tensor(const SafetensorsFile& file, const std::string& name)
{
    const auto& info = file.info(name);
    auto tensor = at::empty(info.shape, at::TensorOptions().dtype(scalar_type_of(info.dtype)));
    const auto bytes = file.bytes(name);
    if (!bytes.empty())
        std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    return tensor;
}

std::map<std::string, at::Tensor> read_tensors(const SafetensorsFile& file)
{
    std::map<std::string, at::Tensor> out;
    for (const auto& [name, info] : file.tensors())
        out.emplace(name, read_tensor(file, name));
    return out;
}

void write_tensors(const std::filesystem::path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                   const std::map<std::string, std::string>& metadata)
{
    std::vector<at::Tensor> kept; // owns what `entries` points into
    std::vector<TensorBytes> entries;
    for (const auto& [name, tensor] : tensors) {
        kept.push_back(tensor.detach().to(at::kCPU).contiguous());
        const auto& data = kept.back();
        entries.push_back({name, dtype_of(data, name), data.sizes().vec(),
                           std::span(static_cast<const std::byte*>(data.data_ptr()), data.nbytes())});
    }
    write_safetensors(path, entries, metadata);
}

} // namespace gradwind::ops
