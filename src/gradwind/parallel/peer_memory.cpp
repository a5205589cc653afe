// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/peer_memory.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/cuda_driver.h"

#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <cuda.h>
#include <cuda_runtime.h>
#include <exception>
#include <fstream>
#include <string_view>
#include <type_traits>

namespace gradwind::parallel::detail
{
namespace
{

struct Driver {
    const CudaDriver library;
    CUresult (*const batch_of_memory_operations)(CUstream, unsigned, CUstreamBatchMemOpParams*, unsigned);
    CUresult (*const address_range)(CUdeviceptr*, size_t*, CUdeviceptr);

    Driver()
        : batch_of_memory_operations(library.find<decltype(batch_of_memory_operations)>("cuStreamBatchMemOp_v2")),
          address_range(library.find<decltype(address_range)>("cuMemGetAddressRange_v2"))
    {
    }
    [[nodiscard]] bool is_complete() const { return batch_of_memory_operations && address_range; }
    static const Driver& get()
    {
        static const Driver driver;
        return driver;
    }
};

/// How another process of this node finds a tensor.
struct Address {
    std::array<char, 40> node{}; ///< changes with every start of the machine; empty: nobody can find it
    int device = 0;              ///< number of the GPU in its own process
    std::array<char, 16> gpu{};  ///< its name in the bus
    cudaIpcMemHandle_t allocation{};
    int64_t offset = 0;
};
static_assert(std::is_trivially_copyable_v<Address>);

std::array<char, 40> name_of_node()
{
    std::array<char, 40> name{};
    std::ifstream("/proc/sys/kernel/random/boot_id").read(name.data(), name.size() - 1);
    return name;
}

/// What tells the communication library to leave links between GPUs alone counts here, too.
bool is_forbidden()
{
    const char* word = std::getenv("NCCL_P2P_DISABLE");
    return word != nullptr && std::string_view(word) == "1";
}

Address address_of(const at::Tensor& tensor)
{
    Address address;
    if (is_forbidden())
        return address;
    const auto at = reinterpret_cast<CUdeviceptr>(tensor.data_ptr());
    CUdeviceptr base = 0;
    size_t size = 0;
    address.device = tensor.device().index();
    const auto& driver = Driver::get();
    if (!driver.is_complete() || driver.address_range(&base, &size, at) != CUDA_SUCCESS ||
        cudaDeviceGetPCIBusId(address.gpu.data(), int(address.gpu.size()), address.device) != cudaSuccess ||
        cudaIpcGetMemHandle(&address.allocation, reinterpret_cast<void*>(base)) != cudaSuccess) {
        (void)cudaGetLastError(); // it was this call's, and is answered
        return address;
    }
    address.offset = int64_t(at - base);
    address.node = name_of_node();
    return address;
}

/// Whether this process may see another's GPU, and its own reaches that one's memory.
bool is_reachable(const Address& theirs, int own_device)
{
    int device = -1, can = 0;
    if (cudaDeviceGetByPCIBusId(&device, theirs.gpu.data()) != cudaSuccess ||
        (device != own_device && cudaDeviceCanAccessPeer(&can, own_device, device) != cudaSuccess)) {
        (void)cudaGetLastError();
        return false;
    }
    return can == 1;
}

constexpr size_t kMostFlags = 16;

/// @param per_flag  operations
template <class Fill>
void queue_operations(std::span<Flag* const> flags, unsigned per_flag, void* stream, Fill fill)
{
    GRADWIND_ASSERT(flags.size() <= kMostFlags);
    std::array<CUstreamBatchMemOpParams, 2 * kMostFlags> operations{};
    for (size_t i = 0; i < flags.size(); ++i)
        fill(&operations[per_flag * i], reinterpret_cast<CUdeviceptr>(flags[i]));
    const auto status = Driver::get().batch_of_memory_operations(
        static_cast<CUstream>(stream), per_flag * unsigned(flags.size()), operations.data(), 0);
    GRADWIND_CHECK(status == CUDA_SUCCESS, CommError, "[comm] the GPU's driver refuses to order copies: error {}",
                   int(status));
}

void write(CUstreamBatchMemOpParams& operation, CUdeviceptr flag, Flag value)
{
    operation.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    operation.writeValue.address = flag;
    operation.writeValue.value = value;
    operation.writeValue.flags = CU_STREAM_WRITE_VALUE_DEFAULT; // what was queued before is seen before
}

} // namespace

std::unique_ptr<PeerMemory> PeerMemory::share(const at::Tensor& own, int rank, const Ask& ask)
{
    const c10::cuda::CUDAGuard guard(own.device());
    const Address mine = address_of(own);
    const auto words = ask({reinterpret_cast<const char*>(&mine), sizeof(mine)});
    std::unique_ptr<PeerMemory> memory(new PeerMemory);
    bool good = mine.node[0] != 0;
    for (size_t other = 0; other < words.size(); ++other) {
        Address theirs;
        GRADWIND_ASSERT(words[other].size() == sizeof(theirs));
        std::memcpy(static_cast<void*>(&theirs), words[other].data(), sizeof(theirs));
        memory->at_.push_back(static_cast<char*>(own.data_ptr()));
        if (int(other) == rank)
            continue;
        good = good && theirs.node == mine.node && is_reachable(theirs, mine.device);
        void* mapping = nullptr;
        good = good && cudaIpcOpenMemHandle(&mapping, theirs.allocation, cudaIpcMemLazyEnablePeerAccess) == cudaSuccess;
        if (!good)
            continue;
        memory->mappings_.push_back(mapping);
        memory->at_.back() = static_cast<char*>(mapping) + theirs.offset;
    }
    (void)cudaGetLastError();
    const auto all = ask(good ? "1" : "0");
    return std::find(all.begin(), all.end(), "0") == all.end() ? std::move(memory) : nullptr;
}

PeerMemory::~PeerMemory()
{
    // Closing waits for the device, which after an error may wait for another process for ever.
    if (std::uncaught_exceptions() > 0)
        return;
    for (void* mapping : mappings_)
        (void)cudaIpcCloseMemHandle(mapping);
}

void set_flags(std::span<Flag* const> flags, void* stream)
{
    queue_operations(flags, 1, stream,
                     [](CUstreamBatchMemOpParams* operation, CUdeviceptr flag) { write(operation[0], flag, 1); });
}

void take_flags(std::span<Flag* const> flags, void* stream)
{
    queue_operations(flags, 2, stream, [](CUstreamBatchMemOpParams* operation, CUdeviceptr flag) {
        operation[0].operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
        operation[0].waitValue.address = flag;
        operation[0].waitValue.value = 1;
        operation[0].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
        write(operation[1], flag, 0);
    });
}

} // namespace gradwind::parallel::detail
