// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Functions of the driver that the CUDA runtime does not have; private to parallel.
#pragma once
#include <dlfcn.h>
#include <type_traits>

namespace gradwind::parallel::detail
{

/// Looked up when it is first used, so that a machine without a GPU, and without the driver's library, can start what
/// was built with CUDA.
class CudaDriver
{
public:
    CudaDriver() : library_(::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {}

    /// @return null if the driver does not have it
    template <class Function>
    [[nodiscard]] std::remove_const_t<Function> find(const char* name) const
    {
        return library_ ? reinterpret_cast<std::remove_const_t<Function>>(::dlsym(library_, name)) : nullptr;
    }

private:
    void* library_; ///< stays open as long as the process
};

} // namespace gradwind::parallel::detail
