// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/cell_reader.h"

#include "gradwind/core/error.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/parallel/layout.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

namespace gradwind::train
{

namespace
{

constexpr int64_t kCells = 3; ///< dimension of a batch

std::vector<int64_t> listed(const data::CellRanges& cells)
{
    std::vector<int64_t> list;
    for (const auto& part : cells.parts())
        for (auto cell = part.begin; cell < part.end; ++cell)
            list.push_back(cell);
    return list;
}

/// What the processes of a group are to read. @collective the group, if the cells of some process are no one range
std::vector<data::CellRanges> choose(const parallel::Group& readers,
                                     const std::shared_ptr<const data::Dataset>& dataset, OwnCells own)
{
    auto parts = own_parts(own);
    if (are_ranges(parts) || readers.size() == 1)
        return parts;
    auto ranges = equal_ranges(dataset->n_cells(), readers.size());
    const auto rank = size_t(readers.rank());
    const auto tallies = data::decode_one_date(dataset, std::array{parts[rank], ranges[rank]});
    const auto worst = readers.max(std::array{double(tallies[0].bytes), double(tallies[1].bytes)});
    return prefers_own_parts(int64_t(worst[0]), int64_t(worst[1])) ? parts : ranges;
}

/// Positions among `read` of those cells that are also `own`; both ascend.
std::vector<int64_t> shared_positions(const std::vector<int64_t>& read, const std::vector<int64_t>& own)
{
    std::vector<int64_t> positions;
    for (const auto cell : own) {
        const auto found = std::lower_bound(read.begin(), read.end(), cell);
        if (found != read.end() && *found == cell)
            positions.push_back(found - read.begin());
    }
    return positions;
}

} // namespace

std::vector<data::CellRanges> own_parts(OwnCells own)
{
    std::vector<data::CellRanges> result;
    for (size_t rank = 0; rank < own.size(); ++rank) {
        const auto before = std::count(own.begin(), own.begin() + long(rank), own[rank]);
        const auto all = std::count(own.begin(), own.end(), own[rank]);
        const auto span = parallel::balanced_span(int64_t(own[rank].size()), all, before);
        result.push_back(data::CellRanges::of(std::span(own[rank]).subspan(size_t(span.begin), size_t(span.size))));
    }
    return result;
}

bool are_ranges(std::span<const data::CellRanges> parts)
{
    return std::all_of(parts.begin(), parts.end(), [](const auto& cells) { return cells.parts().size() <= 1; });
}

std::vector<data::CellRanges> equal_ranges(int64_t n_cells, int n_parts)
{
    std::vector<data::CellRanges> result;
    for (int part = 0; part < n_parts; ++part) {
        const auto span = parallel::balanced_span(n_cells, n_parts, part);
        result.emplace_back(span.begin, span.end());
    }
    return result;
}

bool prefers_own_parts(int64_t bytes_of_parts, int64_t bytes_of_ranges)
{
    return double(bytes_of_parts) <= 1.1 * double(bytes_of_ranges);
}

/// Rows of an all-to-all among the readers: cells of a batch, each with all its values.
struct CellReader::Exchange {
    parallel::Group readers;
    at::Tensor send; ///< positions among the cells read, by receiver; on the device of the last batch
    std::vector<int64_t> send_rows, receive_rows;
};

CellReader::CellReader(int64_t n_cells) : cells_(0, n_cells) {}

CellReader::CellReader(parallel::Group readers, const std::shared_ptr<const data::Dataset>& dataset, OwnCells own)
{
    GRADWIND_ASSERT(int(own.size()) == readers.size());
    const auto rank = size_t(readers.rank());
    const auto read = choose(readers, dataset, own);
    cells_ = read[rank];
    std::vector<std::vector<int64_t>> lists;
    for (const auto& cells : read)
        lists.push_back(listed(cells));
    if (std::equal(lists.begin(), lists.end(), own.begin()))
        return; // on every rank, or on none
    auto exchange = std::make_shared<Exchange>(Exchange{std::move(readers), {}, {}, {}});
    std::vector<int64_t> send;
    for (size_t peer = 0; peer < own.size(); ++peer) {
        const auto theirs = shared_positions(lists[rank], own[peer]);
        send.insert(send.end(), theirs.begin(), theirs.end());
        exchange->send_rows.push_back(int64_t(theirs.size()));
        // What one rank reads lies before what the next one reads, so own cells arrive in their order.
        exchange->receive_rows.push_back(int64_t(shared_positions(lists[peer], own[rank]).size()));
    }
    exchange->send = at::tensor(send, at::kLong);
    exchange_ = std::move(exchange);
}

at::Tensor CellReader::own(const at::Tensor& values) const
{
    if (!exchange_)
        return values;
    auto& send = exchange_->send;
    if (send.device() != values.device())
        send = send.to(values.device());
    const auto rows = values.permute({kCells, 0, 1, 2, 4}).index_select(0, send);
    const auto received = exchange_->readers.all_to_all(rows, exchange_->send_rows, exchange_->receive_rows);
    return received.permute({1, 2, 3, 0, 4}).contiguous();
}

} // namespace gradwind::train
