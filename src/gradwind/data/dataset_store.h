// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// A data set in a zarr store, and the selections that options make of it.
#pragma once
#include "gradwind/data/dataset.h"
#include "gradwind/data/decode_tally.h"
#include "gradwind/data/zarr_array.h"
#include "gradwind/data/zarr_transpose.h"

#include <atomic>
#include <filesystem>
#include <mutex>

namespace gradwind::data
{

/// A store of Anemoi's gridded layout (spec §14), opened and checked as a whole; shared by what is selected from it.
struct Store {
    std::filesystem::path path;
    ZarrArray data;         ///< [date, variable, member, cell]
    DatasetInfo info;       ///< of everything that is in it
    std::string version;    ///< of the layout
    std::string allow_nans; ///< the attribute as written
    std::string statistics_period;
};

/// Opens a store and checks everything but the chunks of `data`.
/// @throws DataError naming file or attribute, and what was expected of it
[[nodiscard]] std::shared_ptr<const Store> open_store(const std::filesystem::path& path);

/// What is taken from a store: positions in it per axis, and the description after selection.
struct Selection {
    DatasetInfo info;
    std::vector<int64_t> dates, variables, members;
    std::optional<std::vector<int64_t>> cells; ///< ascending; nothing for all
    /// Where the option `statistics` named another data set.
    std::shared_ptr<const Dataset> statistics_from;
    std::vector<std::string> names_in_statistics;
};

[[nodiscard]] Selection select_all(const Store& store);

class StoreDataset : public Dataset
{
public:
    StoreDataset(std::shared_ptr<const Store> store, Selection selection);
    ~StoreDataset() override;
    [[nodiscard]] const Store& store() const { return *store_; }
    [[nodiscard]] const std::shared_ptr<const Store>& shared_store() const { return store_; }
    /// What was decoded through this object, by all threads.
    [[nodiscard]] DecodeTally decoded() const;
    [[nodiscard]] const Selection& selection() const { return selection_; }
    [[nodiscard]] std::optional<Statistics> statistics_tendencies(int64_t delta_s) const override;
    [[nodiscard]] int64_t decode_group(int64_t position) const override;
    void read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const override;

private:
    struct Work;
    struct Request;
    class WorkLease;
    /// Part of a request that lies in one chunk of members and cells (and any chunks of variables).
    struct Box {
        int64_t member_chunk = 0, cell_chunk = 0;
        CellRange part, whole; ///< cells of this data set: of the box, of the request
    };
    /// @param requests dates of one chunk row
    void read_group(std::span<const Request> requests, CellRange cells, Work& work) const;
    void read_box(std::span<const Request> requests, const Box& box, Work& work) const;
    void count(const DecodedChunk& chunk) const;
    void decode_box(std::span<const Request> requests, const Box& box, Work& work) const;
    [[nodiscard]] CellSelection cells_of(const Box& box) const;
    /// Element of a chunk's first cell for a date, variable and member of the store.
    [[nodiscard]] int64_t element_of(int64_t date, int64_t variable, int64_t member) const;

    std::shared_ptr<const Store> store_;
    Selection selection_;
    /// Chunks along the variable axis that are needed, and for each selected variable its slot among them.
    std::vector<int64_t> variable_chunks_;
    std::vector<int64_t> variable_slots_;
    mutable std::atomic<int64_t> decoded_chunks_ = 0, decoded_bytes_ = 0, block_bytes_ = 0;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Work>> idle_; ///< working memory, one for each thread that ever read at once
};

} // namespace gradwind::data
