// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/dataset_store.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/combined_dataset.h"
#include "gradwind/data/dataset_dates.h"
#include "gradwind/data/zarr_transpose.h"

#include <algorithm>
#include <numeric>

namespace gradwind::data
{

namespace
{

/// Gaps of fewer elements than this are not worth a range of their own.
constexpr int64_t kRangeGap = 1024;

} // namespace

/// One date of a request, where it lies in the store and where its values go.
struct StoreDataset::Request {
    int64_t date = 0;
    float* out = nullptr;
};

/// Memory of one reading thread, reused.
struct StoreDataset::Work {
    DecodeScratch scratch;
    std::vector<DecodedChunk> chunks; ///< one per needed chunk along the variable axis
    std::vector<CellRow> rows;
    std::vector<ElementRange> cells, needed;
};

/// Takes working memory from the pool and gives it back.
class StoreDataset::WorkLease
{
public:
    explicit WorkLease(const StoreDataset& owner) : owner_(owner)
    {
        const std::lock_guard lock(owner_.mutex_);
        if (!owner_.idle_.empty()) {
            work_ = std::move(owner_.idle_.back());
            owner_.idle_.pop_back();
        }
        if (!work_)
            work_ = std::make_unique<Work>();
    }
    ~WorkLease()
    {
        work_->scratch.decoded.reset();
        const std::lock_guard lock(owner_.mutex_);
        owner_.idle_.push_back(std::move(work_));
    }
    WorkLease(const WorkLease&) = delete;
    WorkLease& operator=(const WorkLease&) = delete;
    Work& operator*() const { return *work_; }

private:
    const StoreDataset& owner_;
    std::unique_ptr<Work> work_;
};

Selection select_all(const Store& store)
{
    Selection all;
    all.info = store.info;
    const auto count = [](std::vector<int64_t>& positions, int64_t n) {
        positions.resize(size_t(n));
        std::iota(positions.begin(), positions.end(), int64_t(0));
    };
    count(all.dates, store.data.meta().shape[0]);
    count(all.variables, store.data.meta().shape[1]);
    count(all.members, store.data.meta().shape[2]);
    return all;
}

StoreDataset::StoreDataset(std::shared_ptr<const Store> store, Selection selection)
    : Dataset(selection.info), store_(std::move(store)), selection_(std::move(selection))
{
    const auto per_chunk = store_->data.meta().chunks[1];
    for (const auto variable : selection_.variables)
        variable_chunks_.push_back(variable / per_chunk);
    std::sort(variable_chunks_.begin(), variable_chunks_.end());
    variable_chunks_.erase(std::unique(variable_chunks_.begin(), variable_chunks_.end()), variable_chunks_.end());
    for (const auto variable : selection_.variables)
        variable_slots_.push_back(
            std::lower_bound(variable_chunks_.begin(), variable_chunks_.end(), variable / per_chunk) -
            variable_chunks_.begin());
}

StoreDataset::~StoreDataset() = default;

std::optional<Statistics> StoreDataset::statistics_tendencies(int64_t delta_s) const
{
    if (delta_s <= 0)
        return std::nullopt;
    if (selection_.statistics_from)
        return tendencies_named(*selection_.statistics_from, selection_.names_in_statistics, delta_s);
    // Anemoi writes 24 h as "1d"; other writers may not.
    std::string names[] = {frequency_to_string(delta_s), fmt::format("{}h", delta_s / 3600)};
    for (const auto& name : names) {
        const auto folder = [&](const char* what) {
            return store_->path / fmt::format("statistics_tendencies_{}_{}", name, what);
        };
        if (!std::filesystem::exists(folder("mean")) || (delta_s % 3600 != 0 && &name != &names[0]))
            continue;
        const auto n_stored = store_->data.meta().shape[1];
        const auto read = [&](const char* what) { return ZarrArray(folder(what)).values(n_stored); };
        return pick({read("mean"), read("stdev"), read("minimum"), read("maximum")}, selection_.variables);
    }
    return std::nullopt;
}

int64_t StoreDataset::decode_group(int64_t position) const
{
    return selection_.dates[size_t(position)] / store_->data.meta().chunks[0];
}

void StoreDataset::read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const
{
    check_request(dates, cells);
    GRADWIND_ASSERT(dates.size() == out.size());
    if (cells.count() == 0 || selection_.variables.empty())
        return;
    std::vector<Request> requests;
    for (size_t i = 0; i < dates.size(); ++i)
        requests.push_back({selection_.dates[size_t(dates[i])], out[i]});
    std::stable_sort(requests.begin(), requests.end(), [](const auto& a, const auto& b) { return a.date < b.date; });
    const WorkLease lease(*this);
    const auto per_chunk = store_->data.meta().chunks[0];
    for (size_t first = 0; first < requests.size();) {
        auto last = first;
        while (last < requests.size() && requests[last].date / per_chunk == requests[first].date / per_chunk)
            ++last;
        read_group({requests.data() + first, last - first}, cells, *lease);
        first = last;
    }
}

void StoreDataset::read_group(std::span<const Request> requests, CellRange cells, Work& work) const
{
    const auto& chunks = store_->data.meta().chunks;
    int64_t previous = -1;
    for (const auto member : selection_.members) {
        const auto member_chunk = member / chunks[2];
        if (member_chunk == previous)
            continue; // members ascend, so those of one chunk are neighbours
        previous = member_chunk;
        for (auto at = cells.begin; at < cells.end;) {
            const auto cell_chunk = (selection_.cells ? (*selection_.cells)[size_t(at)] : at) / chunks[3];
            const auto border = (cell_chunk + 1) * chunks[3];
            auto end = std::min(cells.end, border);
            if (selection_.cells) {
                const auto list = selection_.cells->begin();
                end = std::lower_bound(list + at, list + cells.end, border) - list;
            }
            read_box(requests, {member_chunk, cell_chunk, {at, end}, cells}, work);
            at = end;
        }
    }
}

CellSelection StoreDataset::cells_of(const Box& box) const
{
    CellSelection out;
    out.count = box.part.count();
    out.origin = box.cell_chunk * store_->data.meta().chunks[3];
    if (selection_.cells)
        out.listed = std::span(*selection_.cells).subspan(size_t(box.part.begin), size_t(out.count));
    else
        out.begin = box.part.begin - out.origin;
    return out;
}

void StoreDataset::decode_box(std::span<const Request> requests, const Box& box, Work& work) const
{
    const auto& meta = store_->data.meta();
    const auto& chunks = meta.chunks;
    // The cells as few ranges, then these for every date, variable and member of a chunk.
    const auto cells = cells_of(box);
    work.cells.clear();
    if (cells.listed.empty())
        work.cells.push_back({cells.begin, cells.begin + cells.count});
    for (const auto cell : cells.listed) {
        const auto local = cell - cells.origin;
        if (work.cells.empty() || local > work.cells.back().end + kRangeGap)
            work.cells.push_back({local, local + 1});
        work.cells.back().end = local + 1;
    }
    work.chunks.resize(variable_chunks_.size());
    for (size_t slot = 0; slot < variable_chunks_.size(); ++slot) {
        work.needed.clear();
        for (size_t v = 0; v < variable_slots_.size(); ++v) {
            if (variable_slots_[v] != int64_t(slot))
                continue;
            for (const auto& request : requests)
                for (const auto member : selection_.members) {
                    if (member / chunks[2] != box.member_chunk)
                        continue;
                    const auto first = element_of(request.date, selection_.variables[v], member);
                    for (const auto& range : work.cells)
                        work.needed.push_back({first + range.begin, first + range.end});
                }
        }
        const int64_t index[] = {requests[0].date / chunks[0], variable_chunks_[slot], box.member_chunk,
                                 box.cell_chunk};
        const auto file = store_->data.chunk_file(index);
        decode_chunk(file, meta, work.needed, work.scratch, work.chunks[slot]);
        count(work.chunks[slot]);
        GRADWIND_CHECK(!work.chunks[slot].absent || meta.fill, DataError,
                       "[data] {}: this chunk is absent and the store has no fill_value for it", file.string());
    }
}

void StoreDataset::count(const DecodedChunk& chunk) const
{
    if (chunk.absent)
        return;
    decoded_chunks_.fetch_add(1, std::memory_order_relaxed);
    decoded_bytes_.fetch_add(chunk.decoded_bytes, std::memory_order_relaxed);
    // Blocks of one store are as good as equal.
    block_bytes_.store(chunk.block_elements * size_of(store_->data.meta().type), std::memory_order_relaxed);
}

DecodeTally StoreDataset::decoded() const
{
    return {decoded_chunks_.load(), decoded_bytes_.load(), block_bytes_.load()};
}

int64_t StoreDataset::element_of(int64_t date, int64_t variable, int64_t member) const
{
    const auto& chunks = store_->data.meta().chunks;
    return ((date % chunks[0] * chunks[1] + variable % chunks[1]) * chunks[2] + member % chunks[2]) * chunks[3];
}

void StoreDataset::read_box(std::span<const Request> requests, const Box& box, Work& work) const
{
    const auto& meta = store_->data.meta();
    decode_box(requests, box, work);
    const auto cells = cells_of(box);
    const auto fill = float(meta.fill.value_or(0));
    const auto n_variables = int64_t(selection_.variables.size());
    work.rows.resize(size_t(n_variables));
    const auto tile_bytes = size_t(kTileCells * n_variables) * sizeof(float);
    auto* const tile = reinterpret_cast<float*>(work.scratch.decoded.allocate(tile_bytes));
    for (const auto& request : requests)
        for (size_t m = 0; m < selection_.members.size(); ++m) {
            const auto member = selection_.members[m];
            if (member / meta.chunks[2] != box.member_chunk)
                continue;
            for (size_t v = 0; v < work.rows.size(); ++v)
                work.rows[v] = {&work.chunks[size_t(variable_slots_[v])],
                                element_of(request.date, selection_.variables[v], member)};
            const auto first_cell = int64_t(m) * box.whole.count() + box.part.begin - box.whole.begin;
            transpose_cells(work.rows, meta.type, fill, cells, tile, request.out + first_cell * n_variables);
        }
    work.scratch.decoded.reset();
}

} // namespace gradwind::data
