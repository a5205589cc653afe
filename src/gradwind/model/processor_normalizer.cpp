// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// InputNormalizer (spec §8.1).
#include "gradwind/model/processor_methods.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

namespace gradwind::model
{

namespace
{

struct Factor {
    double mul = 1;
    double add = 0;
};

enum class Direction { Forward, Inverse };

/// x * mul + add, or back, in one pass over rows of variables.
template <class Scalar>
void apply_rows(Scalar* x, int64_t rows, const std::vector<Scalar>& mul, const std::vector<Scalar>& add,
                Direction direction)
{
    const auto width = int64_t(mul.size());
    at::parallel_for(0, rows, 4096, [&](int64_t begin, int64_t end) {
        for (auto row = begin; row < end; ++row) {
            auto* values = x + row * width;
            if (direction == Direction::Forward)
                for (int64_t v = 0; v < width; ++v)
                    values[v] = values[v] * mul[size_t(v)] + add[size_t(v)];
            else
                for (int64_t v = 0; v < width; ++v)
                    values[v] = (values[v] - add[size_t(v)]) / mul[size_t(v)];
        }
    });
}

class Normalizer final : public FieldProcessor
{
public:
    /// Factors are rounded to float32, in which the original keeps them, whatever the precision of the run.
    Normalizer(const std::vector<Factor>& factors, const VariableTable& variables)
        : columns_{{}, at::tensor(variables.data_input(), at::kLong), at::tensor(variables.data_output(), at::kLong)}
    {
        std::vector<float> mul, add;
        for (const auto& factor : factors) {
            mul.push_back(float(factor.mul));
            add.push_back(float(factor.add));
        }
        mul_ = at::tensor(mul, at::kFloat);
        add_ = at::tensor(add, at::kFloat);
    }

    void transform(const at::Tensor& x, Space space, BatchMasks&) const override
    {
        apply(x, space, Direction::Forward);
    }

    void inverse(const at::Tensor& x, Space space, const BatchMasks&) const override
    {
        apply(x, space, Direction::Inverse);
    }

    [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> buffers() const override
    {
        return {{"_norm_mul", mul_}, {"_norm_add", add_}};
    }

private:
    /// The factors of a space's columns. Chosen at every use, so that what a checkpoint writes into buffers() counts.
    [[nodiscard]] at::Tensor of(Space space, const at::Tensor& factors, at::Device device) const
    {
        const auto all = ops::on_device(factors, device);
        return space == Space::Dataset ? all : all.index_select(0, ops::on_device(columns_[size_t(space)], device));
    }

    void apply(const at::Tensor& x, Space space, Direction direction) const
    {
        const auto mul = of(space, mul_, x.device()).to(x.scalar_type());
        const auto add = of(space, add_, x.device()).to(x.scalar_type());
        const bool plain = x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble;
        if (x.device().is_cpu() && x.is_contiguous() && plain) {
            AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "normalizer", [&] {
                const auto values = [](const at::Tensor& t) {
                    return std::vector<scalar_t>(t.data_ptr<scalar_t>(), t.data_ptr<scalar_t>() + t.numel());
                };
                apply_rows(x.data_ptr<scalar_t>(), x.numel() / x.size(-1), values(mul), values(add), direction);
            });
            return;
        }
        if (direction == Direction::Forward)
            x.mul_(mul).add_(add);
        else
            x.sub_(add).div_(mul);
    }

    at::Tensor columns_[3]; ///< of the data set, by space
    at::Tensor mul_, add_;  ///< by variable of the data set, float32
};

/// Copies all statistics of a source variable, all sources read before anything is written.
void remap_statistics(const Config& config, const ProcessorInputs& inputs)
{
    const auto remap = config.at("remap");
    const auto before = inputs.statistics;
    const auto names = remap.keys();
    const auto sources = remap.items();
    for (size_t i = 0; i < names.size(); ++i) {
        const auto to = size_t(require_variable(names[i], inputs.variables, remap));
        const auto from = size_t(require_variable(sources[i].as<std::string>(), inputs.variables, sources[i]));
        inputs.statistics.mean[to] = before.mean[from];
        inputs.statistics.stdev[to] = before.stdev[from];
        inputs.statistics.minimum[to] = before.minimum[from];
        inputs.statistics.maximum[to] = before.maximum[from];
    }
}

Factor factor_of(const std::string& method, size_t i, const ProcessorRequest& request)
{
    const auto& s = request.inputs.statistics;
    const auto& name = request.inputs.variables.names()[i];
    const auto usable = [&](double divisor, const char* what) {
        GRADWIND_CHECK(std::isfinite(divisor) && divisor != 0, DataError,
                       "[processors] {} cannot be normalised by `{}`: its {} in the data set's statistics is {}; give "
                       "it another method, such as `none` ({})",
                       name, method, what, divisor, request.config.where());
        return divisor;
    };
    const auto note_if_constant = [&](bool constant) {
        if (constant)
            request.notes.push_back(fmt::format("{} seems to have only one value, {}", name, s.mean[i]));
    };
    if (method == "mean-std" || method == "std") {
        const auto stdev = usable(s.stdev[i], "standard deviation");
        note_if_constant(stdev < s.mean[i] * 1e-6);
        return {1 / stdev, method == "std" ? 0 : -s.mean[i] / stdev};
    }
    if (method == "min-max") {
        const auto range = usable(s.maximum[i] - s.minimum[i], "maximum minus minimum");
        note_if_constant(range < 1e-9);
        return {1 / range, -s.minimum[i] / range};
    }
    if (method == "max")
        return {1 / usable(s.maximum[i], "maximum"), 0};
    const std::vector<std::string> known = {"mean-std", "std", "min-max", "max", "none"};
    GRADWIND_CHECK(method == "none", ConfigError,
                   "[processors] {} is to be normalised by `{}`, expected one of {}{} ({})", name, method,
                   fmt::join(known, ", "), did_you_mean(method, known), request.config.where());
    return {};
}

} // namespace

std::unique_ptr<FieldProcessor> make_normalizer(const ProcessorRequest& request)
{
    const auto& statistics = request.inputs.statistics;
    const auto count = size_t(request.inputs.variables.count());
    for (const auto* values : {&statistics.mean, &statistics.stdev, &statistics.minimum, &statistics.maximum})
        GRADWIND_CHECK(
            values->size() == count, DataError,
            "[processors] the data set has {} variables but statistics of {} (mean {}, stdev {}, minimum {}, "
            "maximum {})",
            count, values->size(), statistics.mean.size(), statistics.stdev.size(), statistics.minimum.size(),
            statistics.maximum.size());
    if (request.config.has("remap"))
        remap_statistics(request.config, request.inputs);
    const auto methods = read_methods(request.config, request.inputs.variables);
    std::vector<Factor> factors;
    for (size_t i = 0; i < count; ++i)
        factors.push_back(factor_of(methods.by_variable[i], i, request));
    return std::make_unique<Normalizer>(factors, request.inputs.variables);
}

} // namespace gradwind::model
