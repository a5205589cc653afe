// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/processors.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/model/processor_methods.h"

#include <ATen/ATen.h>

#include <array>

namespace gradwind::model
{

namespace
{

struct Maker {
    const char* target;
    std::unique_ptr<FieldProcessor> (*make)(const ProcessorRequest&);
};

constexpr std::array kMakers = {
    Maker{"InputNormalizer", make_normalizer},
    Maker{"InputImputer", make_input_imputer},
    Maker{"ConstantImputer", make_constant_imputer},
    Maker{"CopyImputer", make_copy_imputer},
    Maker{"Remapper", make_remapper},
    Maker{"Postprocessor", make_postprocessor},
    Maker{"NormalizedReluPostprocessor", make_normalized_relu},
    Maker{"ConditionalZeroPostprocessor", make_conditional_zero},
    Maker{"ConditionalNaNPostprocessor", make_conditional_nan},
};

const Maker& maker_of(const Config& step)
{
    const auto target = step.target();
    std::vector<std::string> known;
    for (const auto& maker : kMakers) {
        if (target == maker.target)
            return maker;
        known.emplace_back(maker.target);
    }
    throw ConfigError(fmt::format("[processors] there is no processor `{}`{} ({})", target, did_you_mean(target, known),
                                  step.where()));
}

const char* name_of(Space space)
{
    constexpr const char* names[] = {"the data set", "the model's input", "the model's output"};
    return names[size_t(space)];
}

} // namespace

Processors::Processors(std::vector<Step> steps, const VariableTable& variables, std::vector<std::string> notes)
    : steps_(std::move(steps)), variables_(variables), notes_(std::move(notes))
{
}

std::vector<std::string> Processors::names(Space space) const
{
    if (space == Space::Dataset)
        return variables_.names();
    std::vector<std::string> out;
    for (const auto i : space == Space::ModelInput ? variables_.data_input() : variables_.data_output())
        out.push_back(variables_.names()[size_t(i)]);
    return out;
}

void Processors::check_width(const at::Tensor& x, Space space) const
{
    const auto expected = int64_t(names(space).size());
    GRADWIND_CHECK(x.dim() == 5 && x.size(4) == expected, ShapeError,
                   "[processors] expected [batch, time, ensemble, grid, {}] for the variables of {}, got [{}]",
                   expected, name_of(space), fmt::join(x.sizes().vec(), ", "));
}

BatchMasks Processors::transform(const at::Tensor& x, Space space) const
{
    check_width(x, space);
    const at::NoGradGuard no_grad;
    BatchMasks masks;
    for (const auto& step : steps_)
        step.processor->transform(x, space, masks);
    return masks;
}

void Processors::inverse(const at::Tensor& x, Space space, const BatchMasks& masks) const
{
    check_width(x, space);
    const at::NoGradGuard no_grad;
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step)
        step->processor->inverse(x, space, masks);
}

Processors build_processors(const Config& processors, const ProcessorInputs& inputs)
{
    std::vector<Processors::Step> steps;
    std::vector<std::string> notes;
    const auto names = processors.keys();
    const auto items = processors.items(); // by position: a name may hold a dot
    for (size_t i = 0; i < names.size(); ++i) {
        const auto& step = items[i];
        if (step.is_null())
            continue;
        for (const auto& key : step.keys()) {
            const std::vector<std::string> known = {"_target_", "config"};
            GRADWIND_CHECK(key == known[0] || key == known[1], ConfigError, "[processors] unknown key `{}` in {}{}",
                           key, step.where(), did_you_mean(key, known));
        }
        const auto& maker = maker_of(step);
        const auto config = step.has("config") ? step.at("config") : Config();
        steps.push_back({names[i], maker.make({config, inputs, steps.size(), notes})});
    }
    return {std::move(steps), inputs.variables, std::move(notes)};
}

void require_no_nan(const at::Tensor& x, std::span<const std::string> names, const std::string& what)
{
    const auto width = x.size(-1);
    GRADWIND_CHECK(width == int64_t(names.size()), ShapeError, "[processors] {} has {} variables, expected {}", what,
                   width, names.size());
    const auto counts = at::isnan(x).reshape({-1, width}).sum(0).cpu();
    std::string found;
    for (int64_t v = 0; v < width; ++v)
        if (const auto count = counts[v].item<int64_t>(); count > 0)
            found += fmt::format("{}{} ({} of {} values)", found.empty() ? "" : ", ", names[size_t(v)], count,
                                 x.numel() / width);
    GRADWIND_CHECK(
        found.empty(), DataError,
        "[processors] {} has NaN in {}; impute these variables (ConstantImputer, InputImputer), or drop them", what,
        found);
}

} // namespace gradwind::model
