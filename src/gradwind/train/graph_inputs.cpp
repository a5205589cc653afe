// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/graph_inputs.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/combined_dataset.h"
#include "gradwind/data/open_dataset.h"

#include <algorithm>
#include <array>

namespace gradwind::train
{

graph::GraphInputs graph_inputs()
{
    graph::GraphInputs inputs;
    inputs.dataset_coordinates = [](const Config& option) {
        const auto dataset = data::open_dataset(option);
        return grid::Coordinates{dataset->latitudes(), dataset->longitudes()};
    };
    inputs.dataset_grids = [](const Config& option) { return data::grids_of(*data::open_dataset(option)); };
    inputs.dataset_values = [](const Config& option, const std::string& variable) {
        const auto dataset = data::open_dataset(option);
        const auto& names = dataset->variables();
        const auto found = std::find(names.begin(), names.end(), variable);
        GRADWIND_CHECK(found != names.end(), ConfigError, "[graph] {} has no variable `{}`{}", dataset->info().name,
                       variable, did_you_mean(variable, names));
        std::vector<float> all(size_t(dataset->n_members() * dataset->n_cells() * dataset->n_variables()));
        dataset->read(std::array<int64_t, 1>{0}, {0, dataset->n_cells()}, all);
        std::vector<float> values;
        for (int64_t cell = 0; cell < dataset->n_cells(); ++cell)
            values.push_back(all[size_t(cell * dataset->n_variables() + (found - names.begin()))]);
        return values;
    };
    return inputs;
}

} // namespace gradwind::train
