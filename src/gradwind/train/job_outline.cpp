// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/job_outline.h"

#include "gradwind/train/setup.h"

namespace gradwind::train
{

bool has_validation(const Config& config, const std::string& dataset_name)
{
    return config.has("dataloader.validation.datasets." + dataset_name + ".dataset_config");
}

JobOutline outline_job(const Config& config)
{
    JobOutline job{.config = config,
                   .settings = TrainSettings::from_config(config, parallel::process_variables()),
                   .training = nullptr,
                   .validation = nullptr,
                   .variables = {},
                   .statistics = {},
                   .graph = {},
                   .model = nullptr};
    const auto& name = job.settings.dataset_name;
    job.training = open_stage(config, "training", name);
    if (has_validation(config, name))
        job.validation = open_stage(config, "validation", name);
    job.variables = variable_table(config, name, *job.training);
    job.statistics = job.training->statistics();
    std::vector<std::string> notes;
    job.graph = obtain_graph(config, notes);
    job.model = make_model(config, job.settings, job.graph, job.variables, job.statistics);
    job.model->to(dtype_of(job.settings.precision));
    return job;
}

} // namespace gradwind::train
