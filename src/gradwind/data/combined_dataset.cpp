// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/combined_dataset.h"

#include "gradwind/core/error.h"
#include "gradwind/data/dataset_store.h"

#include <algorithm>

namespace gradwind::data
{

/// Memory that a part is read to, taken from the pool and given back.
class CombinedDataset::Lease
{
public:
    Lease(const CombinedDataset& owner, int64_t n_values) : owner_(owner)
    {
        {
            const std::lock_guard lock(owner_.mutex_);
            if (!owner_.idle_.empty()) {
                values_ = std::move(owner_.idle_.back());
                owner_.idle_.pop_back();
            }
        }
        if (int64_t(values_.size()) < n_values)
            values_.resize(size_t(n_values));
    }
    ~Lease()
    {
        const std::lock_guard lock(owner_.mutex_);
        owner_.idle_.push_back(std::move(values_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    [[nodiscard]] float* data() { return values_.data(); }

private:
    const CombinedDataset& owner_;
    std::vector<float> values_;
};

CombinedDataset::CombinedDataset(DatasetInfo info, Axis axis, std::vector<Part> parts, OtherStatistics statistics)
    : Dataset(std::move(info)), axis_(axis), parts_(std::move(parts)), statistics_(std::move(statistics))
{
    if (axis_ != Axis::Dates)
        return;
    place_of_date_.resize(dates().size());
    for (size_t part = 0; part < parts_.size(); ++part)
        for (size_t i = 0; i < parts_[part].places.size(); ++i)
            place_of_date_[size_t(parts_[part].places[i])] = {int64_t(part), int64_t(i)};
    for (size_t date = 0; date < place_of_date_.size(); ++date)
        GRADWIND_ASSERT(place_of_date_[date].part >= 0 || missing()[date]);
}

std::shared_ptr<const Dataset> CombinedDataset::with_cells(const CellRanges& cells) const
{
    auto narrowed = info();
    narrowed.latitudes.clear();
    narrowed.longitudes.clear();
    std::vector<int64_t> kept;
    for (const auto& range : cells.parts())
        for (auto cell = range.begin; cell < range.end; ++cell) {
            kept.push_back(cell);
            narrowed.latitudes.push_back(latitudes()[size_t(cell)]);
            narrowed.longitudes.push_back(longitudes()[size_t(cell)]);
        }
    std::vector<Part> parts;
    for (const auto& part : parts_) {
        if (axis_ != Axis::Cells) {
            parts.push_back({select_cells(part.dataset, cells), part.places});
            continue;
        }
        Part share;
        std::vector<int64_t> of_part;
        for (size_t i = 0; i < kept.size(); ++i) {
            const auto found = std::lower_bound(part.places.begin(), part.places.end(), kept[i]);
            if (found == part.places.end() || *found != kept[i])
                continue;
            of_part.push_back(found - part.places.begin());
            share.places.push_back(int64_t(i));
        }
        if (of_part.empty())
            continue;
        share.dataset = select_cells(part.dataset, CellRanges::of(of_part));
        parts.push_back(std::move(share));
    }
    if (parts.empty()) // of no cells there is still a description
        parts.push_back({select_cells(parts_.front().dataset, CellRanges()), {}});
    return std::make_shared<CombinedDataset>(std::move(narrowed), axis_, std::move(parts), statistics_);
}

std::optional<Statistics> CombinedDataset::statistics_tendencies(int64_t delta_s) const
{
    if (statistics_.dataset)
        return tendencies_named(*statistics_.dataset, statistics_.names, delta_s);
    if (axis_ != Axis::Variables)
        return parts_.front().dataset->statistics_tendencies(delta_s);
    Statistics all;
    for (auto* values : {&all.mean, &all.stdev, &all.minimum, &all.maximum})
        values->resize(variables().size());
    for (const auto& part : parts_) {
        const auto own = part.dataset->statistics_tendencies(delta_s);
        if (!own)
            return std::nullopt;
        for (size_t i = 0; i < part.places.size(); ++i) {
            const auto place = size_t(part.places[i]);
            all.mean[place] = own->mean[i];
            all.stdev[place] = own->stdev[i];
            all.minimum[place] = own->minimum[i];
            all.maximum[place] = own->maximum[i];
        }
    }
    return all;
}

int64_t CombinedDataset::decode_group(int64_t position) const
{
    if (axis_ != Axis::Dates)
        return parts_.front().dataset->decode_group(position);
    const auto place = place_of_date_[size_t(position)];
    if (place.part < 0)
        return -1;
    return (place.part << 40) + parts_[size_t(place.part)].dataset->decode_group(place.position);
}

void CombinedDataset::read_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const
{
    check_request(dates, cells);
    GRADWIND_ASSERT(dates.size() == out.size());
    if (cells.count() == 0 || dates.empty())
        return;
    switch (axis_) {
    case Axis::Dates:
        return read_by_dates(dates, cells, out);
    case Axis::Variables:
        return read_by_variables(dates, cells, out);
    case Axis::Cells:
        return read_by_cells(dates, cells, out);
    }
}

void CombinedDataset::read_by_dates(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const
{
    for (size_t part = 0; part < parts_.size(); ++part) {
        std::vector<int64_t> own_dates;
        std::vector<float*> own_out;
        for (size_t i = 0; i < dates.size(); ++i) {
            const auto place = place_of_date_[size_t(dates[i])];
            if (place.part != int64_t(part))
                continue;
            own_dates.push_back(place.position);
            own_out.push_back(out[i]);
        }
        if (!own_dates.empty())
            parts_[part].dataset->read_dates(own_dates, cells, own_out);
    }
}

void CombinedDataset::read_by_variables(std::span<const int64_t> dates, CellRange cells,
                                        std::span<float* const> out) const
{
    const auto rows = n_members() * cells.count();
    for (const auto& part : parts_) {
        const auto width = part.dataset->n_variables();
        Lease lease(*this, int64_t(dates.size()) * rows * width);
        std::vector<float*> own_out;
        for (size_t i = 0; i < dates.size(); ++i)
            own_out.push_back(lease.data() + int64_t(i) * rows * width);
        part.dataset->read_dates(dates, cells, own_out);
        for (size_t i = 0; i < dates.size(); ++i)
            for (int64_t row = 0; row < rows; ++row) {
                const float* from = own_out[i] + row * width;
                float* to = out[i] + row * n_variables();
                for (int64_t variable = 0; variable < width; ++variable)
                    to[part.places[size_t(variable)]] = from[variable];
            }
    }
}

void CombinedDataset::read_by_cells(std::span<const int64_t> dates, CellRange cells, std::span<float* const> out) const
{
    for (const auto& part : parts_) {
        // The cells of a part lie one after the other in the whole.
        const auto first = part.places.front();
        const CellRange own{std::max(cells.begin, first) - first,
                            std::min(cells.end, first + int64_t(part.places.size())) - first};
        if (own.count() <= 0)
            continue;
        std::vector<float*> places;
        for (auto* whole : out)
            places.push_back(whole + (first + own.begin - cells.begin) * n_variables());
        if (n_members() == 1)
            part.dataset->read_dates(dates, own, places);
        else
            read_members(part, dates, own, cells.count(), places);
    }
}

void CombinedDataset::read_members(const Part& part, std::span<const int64_t> dates, CellRange own, int64_t n_cells,
                                   std::span<float* const> out) const
{
    const auto values = own.count() * n_variables();
    Lease lease(*this, int64_t(dates.size()) * n_members() * values);
    std::vector<float*> own_out;
    for (size_t i = 0; i < dates.size(); ++i)
        own_out.push_back(lease.data() + int64_t(i) * n_members() * values);
    part.dataset->read_dates(dates, own, own_out);
    for (size_t i = 0; i < dates.size(); ++i)
        for (int64_t member = 0; member < n_members(); ++member)
            std::copy_n(own_out[i] + member * values, values, out[i] + member * n_cells * n_variables());
}

DecodeTally decoded_by(const Dataset& dataset)
{
    if (const auto* stored = dynamic_cast<const StoreDataset*>(&dataset))
        return stored->decoded();
    DecodeTally sum;
    if (const auto* combined = dynamic_cast<const CombinedDataset*>(&dataset))
        for (const auto& part : combined->parts()) {
            const auto own = decoded_by(*part.dataset);
            sum = {sum.chunks + own.chunks, sum.bytes + own.bytes, std::max(sum.block_bytes, own.block_bytes)};
        }
    return sum;
}

std::vector<int64_t> grids_of(const Dataset& dataset)
{
    const auto* combined = dynamic_cast<const CombinedDataset*>(&dataset);
    if (combined == nullptr)
        return {dataset.n_cells()};
    if (combined->axis() != Axis::Cells)
        return grids_of(*combined->parts().front().dataset);
    std::vector<int64_t> grids;
    for (const auto& part : combined->parts()) {
        const auto own = grids_of(*part.dataset);
        grids.insert(grids.end(), own.begin(), own.end());
    }
    return grids;
}

Statistics pick(const Statistics& all, std::span<const int64_t> positions)
{
    Statistics out;
    for (const auto position : positions) {
        const auto i = size_t(position);
        out.mean.push_back(all.mean[i]);
        out.stdev.push_back(all.stdev[i]);
        out.minimum.push_back(all.minimum[i]);
        out.maximum.push_back(all.maximum[i]);
    }
    return out;
}

std::optional<Statistics> tendencies_named(const Dataset& other, std::span<const std::string> names, int64_t delta_s)
{
    const auto all = other.statistics_tendencies(delta_s);
    if (!all)
        return std::nullopt;
    std::vector<int64_t> positions;
    for (const auto& name : names)
        positions.push_back(std::find(other.variables().begin(), other.variables().end(), name) -
                            other.variables().begin());
    return pick(*all, positions);
}

} // namespace gradwind::data
