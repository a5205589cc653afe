// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/job_outline.h"

namespace gradwind::train
{

JobOutline outline_job(const Config& config)
{
    auto settings = TrainSettings::from_config(config, parallel::process_variables());
    const auto& names = settings.dataset_names;
    auto training = open_stage(config, "training", names);
    auto validation = open_validation(config, names);
    std::vector<ModelDataset> datasets;
    for (const auto& part : training.parts())
        datasets.push_back(model_dataset(config, part.name, *part.dataset));
    std::vector<std::string> notes;
    auto graph = obtain_graph(config, notes);
    auto model = make_model(config, settings, graph, for_model(datasets));
    model->to(dtype_of(settings.precision));
    return {config,           std::move(settings), std::move(training), std::move(validation), std::move(datasets),
            std::move(graph), std::move(model)};
}

} // namespace gradwind::train
