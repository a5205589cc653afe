// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Batches on the device where they are needed, read ahead of the steps that use them.
#pragma once
#include "gradwind/data/cells.h"
#include "gradwind/data/loader.h"

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

namespace gradwind::train
{

struct FeederOptions {
    at::Device device = at::kCPU;
    at::ScalarType dtype = at::kFloat;
    int64_t n_threads = 1;
    int64_t prefetch_batches = 2;
    std::vector<int64_t> relative_indices;      ///< dates of a sample, in steps of the data set
    std::optional<data::CellRanges> cells = {}; ///< that are read; nothing: all
};

/// Values as the data set holds them, and where they come from.
struct RawBatch {
    std::vector<int64_t> anchors; ///< positions in the data set, one per sample
    at::Tensor values;            ///< [samples, T, members, cells, variables] on the feeder's device
    data::DecodingTime decoded{};
};

/// Reads the batches of a list in order, in threads of its own.
///
/// On a GPU the values travel from page-locked memory in a stream of their own while the batch before is worked on.
class BatchFeeder
{
public:
    /// @param batches  anchors of every batch, in the order in which next() gives them; none of them empty
    BatchFeeder(std::shared_ptr<const data::Dataset> dataset, std::vector<std::vector<int64_t>> batches,
                const FeederOptions& options);
    ~BatchFeeder();
    /// @throws DataError from reading; InternalError past the end of the list
    [[nodiscard]] RawBatch next();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace gradwind::train
