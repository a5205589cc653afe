// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/tensor_io.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace gradwind::ops
{
namespace
{

TEST(TensorIo, RoundTripOfEveryTypeAndOfViews)
{
    const auto path = std::filesystem::temp_directory_path() / ("gradwind-tensor-io-" + std::to_string(::getpid()));
    const auto base = at::arange(24, at::kDouble).reshape({4, 6});
    std::vector<std::pair<std::string, at::Tensor>> tensors = {{"view", base.t()}, {"empty", at::empty({0, 3})}};
    for (const auto type :
         {at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kByte, at::kBool})
        tensors.emplace_back(c10::toString(type), base.to(type));
    write_tensors(path, tensors);
    const SafetensorsFile file(path);
    for (const auto& [name, tensor] : tensors) {
        const auto back = read_tensor(file, name);
        EXPECT_EQ(back.scalar_type(), tensor.scalar_type()) << name;
        EXPECT_TRUE(at::equal(back, tensor.contiguous())) << name;
    }
    EXPECT_EQ(read_tensors(file).size(), tensors.size());
    std::filesystem::remove(path);
}

} // namespace
} // namespace gradwind::ops
