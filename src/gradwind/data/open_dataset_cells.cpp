// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The options that choose cells. All of the data set's description follows; statistics stay as they are.
#include "gradwind/core/error.h"
#include "gradwind/data/open_dataset_impl.h"

namespace gradwind::data::detail
{

namespace
{

void mask_cells(std::string name, std::vector<char> kept, Selection& selection)
{
    std::vector<int64_t> positions;
    for (size_t i = 0; i < kept.size(); ++i)
        if (kept[i])
            positions.push_back(int64_t(i));
    keep_cells(positions, selection);
    selection.info.masks.push_back({std::move(name), std::move(kept)});
}

struct Shape {
    int64_t rows = 0, columns = 0;
};

Shape rectangle_of(const Selection& selection, const Config& option)
{
    const auto& shape = selection.info.field_shape;
    const auto n_cells = int64_t(selection.info.latitudes.size());
    GRADWIND_CHECK(shape.size() == 2 && shape[0] * shape[1] == n_cells, ConfigError,
                   "[data] {} needs a grid of rows and columns; {} has field shape [{}] and {} cells", option.where(),
                   selection.info.name, fmt::join(shape, ", "), n_cells);
    return {shape[0], shape[1]};
}

template <class Keep>
std::vector<char> mask_of(Shape shape, Keep&& keep)
{
    std::vector<char> kept;
    for (int64_t row = 0; row < shape.rows; ++row)
        for (int64_t column = 0; column < shape.columns; ++column)
            kept.push_back(keep(row, column) ? 1 : 0);
    return kept;
}

} // namespace

void keep_cells(const std::vector<int64_t>& positions, Selection& selection)
{
    auto& info = selection.info;
    std::vector<int64_t> cells;
    std::vector<double> latitudes, longitudes;
    for (const auto position : positions) {
        const auto i = size_t(position);
        cells.push_back(selection.cells ? (*selection.cells)[i] : position);
        latitudes.push_back(info.latitudes[i]);
        longitudes.push_back(info.longitudes[i]);
    }
    selection.cells = std::move(cells);
    info.latitudes = std::move(latitudes);
    info.longitudes = std::move(longitudes);
}

void apply_trim_edge(const Config& options, Selection& selection)
{
    if (!options.has("trim_edge"))
        return;
    const auto value = options.at("trim_edge");
    const auto shape = rectangle_of(selection, value);
    const auto edges =
        value.is_list() ? value.as<std::vector<int64_t>>() : std::vector<int64_t>(4, value.as<int64_t>());
    GRADWIND_CHECK(edges.size() == 4, ConfigError,
                   "[data] {} must be one number or [first rows, last rows, first columns, last columns]",
                   value.where());
    for (size_t side = 0; side < 4; ++side)
        GRADWIND_CHECK(edges[side] >= 0 && edges[side] <= (side < 2 ? shape.rows : shape.columns), ConfigError,
                       "[data] {} cuts {} rows or columns of a grid of {} x {}", value.where(), edges[side], shape.rows,
                       shape.columns);
    const Shape left{shape.rows - edges[0] - edges[1], shape.columns - edges[2] - edges[3]};
    GRADWIND_CHECK(left.rows > 0 && left.columns > 0, ConfigError, "[data] {} leaves nothing of a grid of {} x {}",
                   value.where(), shape.rows, shape.columns);
    mask_cells("trimedge_mask",
               mask_of(shape,
                       [&](int64_t row, int64_t column) {
                           return row >= edges[0] && row < shape.rows - edges[1] && column >= edges[2] &&
                                  column < shape.columns - edges[3];
                       }),
               selection);
    selection.info.field_shape = {left.rows, left.columns};
}

void apply_thinning(const Config& options, Selection& selection)
{
    if (!options.has("thinning"))
        return;
    const auto value = options.at("thinning");
    const auto method = options.get<std::string>("method", "every-nth");
    GRADWIND_CHECK(method == "every-nth", ConfigError, "[data] {} is `{}`; only `every-nth` is supported",
                   options.at("method").where(), method);
    const auto step = value.as<int64_t>();
    GRADWIND_CHECK(step >= 1, ConfigError, "[data] {} is {}, expected 1 or more", value.where(), step);
    const auto shape = rectangle_of(selection, value);
    mask_cells("thinning_mask",
               mask_of(shape, [&](int64_t row, int64_t column) { return row % step == 0 && column % step == 0; }),
               selection);
    selection.info.field_shape = {(shape.rows + step - 1) / step, (shape.columns + step - 1) / step};
}

void apply_area(const Config& options, Selection& selection)
{
    if (!options.has("area"))
        return;
    const auto value = options.at("area");
    GRADWIND_CHECK(value.is_list() && value.items().size() == 4, ConfigError,
                   "[data] {} must be [north, west, south, east] in degrees", value.where());
    const auto edges = value.as<std::vector<double>>();
    const auto north = edges[0], west = edges[1], south = edges[2], east = edges[3];
    const auto& info = selection.info;
    std::vector<char> kept(info.latitudes.size(), 0);
    for (size_t i = 0; i < kept.size(); ++i) {
        const auto lat = info.latitudes[i], lon = info.longitudes[i];
        const auto inside = [&](double x) { return x >= west && x <= east; };
        kept[i] = lat <= north && lat >= south && (inside(lon) || inside(lon + 360) || inside(lon - 360));
    }
    mask_cells("cropping_mask", std::move(kept), selection);
}

} // namespace gradwind::data::detail
