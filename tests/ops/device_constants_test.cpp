// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace
{

using gradwind::ops::columns_on;
using gradwind::ops::on_device;

const at::Device kElsewhere(at::kMeta); ///< has tensors without values, on every machine

TEST(DeviceConstants, AreThemselvesOnTheirDevice)
{
    const auto constant = at::arange(5);
    EXPECT_TRUE(on_device(constant, at::kCPU).is_same(constant));
    EXPECT_FALSE(on_device({}, at::kCPU).defined());
}

TEST(DeviceConstants, AreCopiedOnce)
{
    const auto constant = at::arange(5), other = at::arange(7);
    const auto copy = on_device(constant, kElsewhere);
    EXPECT_EQ(copy.device().type(), at::kMeta);
    EXPECT_EQ(on_device(other, kElsewhere).numel(), 7);
    EXPECT_TRUE(on_device(constant, kElsewhere).is_same(copy));
}

TEST(DeviceConstants, AreCopiedAgainOnceTheyChanged)
{
    const auto constant = at::arange(5);
    const auto copy = on_device(constant, kElsewhere);
    constant.add_(1);
    EXPECT_FALSE(on_device(constant, kElsewhere).is_same(copy));
}

TEST(DeviceConstants, ThatAreGoneAreNotTakenForOthers)
{
    for (int64_t n = 1; n < 200; ++n) // memory is used again soon
        EXPECT_EQ(on_device(at::arange(n), kElsewhere).numel(), n);
}

TEST(DeviceConstants, ColumnsAreMadeOnce)
{
    const auto columns = columns_on({3, 1, 2}, at::kCPU);
    EXPECT_TRUE(at::equal(columns, at::tensor({3, 1, 2}, at::kLong)));
    EXPECT_TRUE(columns_on({3, 1, 2}, at::kCPU).is_same(columns));
    EXPECT_FALSE(columns_on({3, 1}, at::kCPU).is_same(columns));
    EXPECT_EQ(columns_on({3, 1, 2}, kElsewhere).device().type(), at::kMeta);
}

} // namespace
