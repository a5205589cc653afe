// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Tensors from and to safetensors files.
#pragma once
#include "gradwind/core/safetensors.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace gradwind::ops
{

/// A tensor of a file as a CPU tensor of its own memory, with the file's dtype.
/// @throws DataError if the file has no such tensor
[[nodiscard]] at::Tensor read_tensor(const SafetensorsFile& file, const std::string& name);

/// All tensors of a file.
[[nodiscard]] std::map<std::string, at::Tensor> read_tensors(const SafetensorsFile& file);

/// Writes tensors (any device, any stride) in the order given; complete or absent. @throws DataError
void write_tensors(const std::filesystem::path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                   const std::map<std::string, std::string>& metadata = {});

} // namespace gradwind::ops
