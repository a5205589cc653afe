// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Batches on the device where they are needed, read ahead of the steps that use them.
#pragma once
#include "gradwind/data/loader.h"
#include "gradwind/train/stage.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

namespace gradwind::train
{

struct FeederOptions {
    at::Device device = at::kCPU;
    at::ScalarType dtype = at::kFloat;
    int64_t n_threads = 1; ///< of all data sets together, but at least one each
    int64_t prefetch_batches = 2;
    std::vector<int64_t> relative_indices; ///< dates of a sample, in steps of the data sets
    enum class Cells { Own, All } cells = Cells::Own;
};

/// Values as the data sets hold them, and where they come from.
struct RawBatch {
    std::vector<int64_t> anchors; ///< positions in the first data set, one per sample
    /// Of every data set, in their order: [samples, T, members, cells, variables] on the feeder's device.
    std::vector<at::Tensor> values;
    data::DecodingTime decoded{};
};

/// Reads the batches of a list in order, in threads of its own.
///
/// On a GPU the values travel from page-locked memory in a stream of their own while the batch before is worked on.
class BatchFeeder
{
public:
    /// @param batches  anchors of every batch, in the order in which next() gives them; none of them empty
    BatchFeeder(const Stage& stage, const std::vector<std::vector<int64_t>>& batches, const FeederOptions& options);
    ~BatchFeeder();
    /// @throws DataError from reading; InternalError past the end of the list
    [[nodiscard]] RawBatch next();

private:
    class Reader;
    std::vector<std::unique_ptr<Reader>> readers_; ///< one for each data set
};

} // namespace gradwind::train
