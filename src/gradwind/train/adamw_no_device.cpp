// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Stands in for adamw_device.cpp in a build without CUDA.
#include "gradwind/train/adamw_device.h"

namespace gradwind::train::detail
{

std::unique_ptr<DeviceAdamW> make_device_adamw(at::Device)
{
    return nullptr;
}

} // namespace gradwind::train::detail
