// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/step_traffic.h"

#include "gradwind/train/setup.h"
#include "gradwind/train/step_runner.h"

#include <ATen/ATen.h>

namespace gradwind::train
{

StepTraffic predict_step_traffic(const Config& config)
{
    const auto settings = TrainSettings::from_config(config, parallel::process_variables());
    const auto dataset = open_stage(config, "training", settings.dataset_name);
    const auto variables = variable_table(config, settings.dataset_name, *dataset);
    std::vector<std::string> notes;
    const auto graph = obtain_graph(config, notes);
    const auto model = make_model(config, settings, graph, variables, dataset->statistics());
    model->to(dtype_of(settings.precision));
    StepTraffic result;
    auto parameters = trainable_parameters(*model);
    for (const auto& parameter : parameters)
        result.parameters += parameter.tensor.numel();
    const parallel::GradientEngine engine(std::move(parameters), parallel::Group::self(), engine_options(config, {}));
    const auto gradients = engine.flat_gradients();
    result.gradient_bytes = gradients.numel() * int64_t(gradients.element_size());
    result.gradient_calls = int64_t(engine.bucket_ends().size());
    return result;
}

} // namespace gradwind::train
