// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/model/bounding.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/model/options.h"
#include "gradwind/ops/device_constants.h"

#include <ATen/ATen.h>

#include <functional>
#include <limits>

namespace gradwind::model
{

namespace
{

constexpr double kLeakySlope = 0.01;

using Limit = std::function<at::Tensor(const at::Tensor&)>;

/// Output column of a variable. @throws ConfigError
int64_t column_of(const Config& list, const std::string& name, const VariableTable& variables)
{
    const auto names = variables.output_names();
    const auto found = std::find(names.begin(), names.end(), name);
    GRADWIND_CHECK(found != names.end(), ConfigError, "[bounding] {}: the model has no output variable `{}`{}",
                   list.where(), name, did_you_mean(name, names));
    return found - names.begin();
}

/// Output columns in the order of the configuration.
std::vector<int64_t> columns_of(const Config& section, const VariableTable& variables)
{
    const auto list = section.at("variables");
    std::vector<int64_t> columns;
    for (const auto& name : list.as<std::vector<std::string>>())
        columns.push_back(column_of(list, name, variables));
    return columns;
}

/// Bounded columns, optionally as fractions of another column.
class ColumnBounding : public Bounding
{
public:
    ColumnBounding(std::vector<int64_t> columns, Limit limit, int64_t total_column = -1)
        : columns_(at::tensor(columns, at::kLong)), limit_(std::move(limit)), total_column_(total_column)
    {
    }
    at::Tensor forward(const at::Tensor& x) const override
    {
        const auto columns = ops::on_device(columns_, x.device());
        const auto bounded = limit_(x.index_select(-1, columns));
        const auto out = x.index_copy(-1, columns, bounded);
        // The total may be among the bounded columns itself.
        return total_column_ < 0 ? out : out.index_copy(-1, columns, bounded * out.narrow(-1, total_column_, 1));
    }

private:
    at::Tensor columns_;
    Limit limit_;
    int64_t total_column_;
};

/// max(x, m) for limits m that are given in physical units.
class NormalizedBounding : public Bounding
{
public:
    NormalizedBounding(std::vector<int64_t> columns, const std::vector<float>& minima, Limit limit)
        : columns_(at::tensor(columns, at::kLong)), limit_(std::move(limit))
    {
        norm_min_val_ = register_buffer("norm_min_val", at::tensor(minima, at::kFloat));
    }
    at::Tensor forward(const at::Tensor& x) const override
    {
        const auto columns = ops::on_device(columns_, x.device());
        const auto bounded = limit_(x.index_select(-1, columns) - norm_min_val_) + norm_min_val_;
        return x.index_copy(-1, columns, bounded);
    }

private:
    at::Tensor columns_;
    at::Tensor norm_min_val_;
    Limit limit_;
};

at::Tensor leaky_clamp(const at::Tensor& x, double low, double high)
{
    const auto below = low + kLeakySlope * (x - low);
    const auto above = high + kLeakySlope * (x - high);
    return at::where(x < low, below, at::where(x > high, above, x));
}

Limit clamp_of(const Config& section, bool leaky)
{
    const auto low = section.get<double>("min_val");
    const auto high = section.get<double>("max_val");
    GRADWIND_CHECK(low < high, ConfigError, "[bounding] {}: min_val {} must be below max_val {}", section.where(), low,
                   high);
    if (leaky)
        return [low, high](const at::Tensor& x) { return leaky_clamp(x, low, high); };
    return [low, high](const at::Tensor& x) { return at::hardtanh(x, low, high); };
}

/// A physical value in the normalised space of one variable.
double normalised(double value, const std::string& normalizer, size_t variable, const Statistics& statistics,
                  const Config& where)
{
    static const std::vector<std::string> known = {"mean-std", "std", "min-max", "max"};
    const auto at = [&](const std::vector<double>& values) {
        GRADWIND_CHECK(variable < values.size(), ConfigError,
                       "[bounding] {}: normalizer `{}` needs statistics that the data set does not have", where.where(),
                       normalizer);
        return values[variable];
    };
    if (normalizer == "mean-std")
        return (value - at(statistics.mean)) / at(statistics.stdev);
    if (normalizer == "std")
        return value / at(statistics.stdev);
    if (normalizer == "min-max")
        return (value - at(statistics.minimum)) / (at(statistics.maximum) - at(statistics.minimum));
    GRADWIND_CHECK(normalizer == "max", ConfigError, "[bounding] {}: unknown normalizer `{}`{}; known are {}",
                   where.where(), normalizer, did_you_mean(normalizer, known), fmt::join(known, ", "));
    return value / at(statistics.maximum);
}

/// The limits in the order of the configuration, which checkpoints hold them in.
std::vector<float> normalised_minima(const Config& section, const VariableTable& variables,
                                     const Statistics* statistics)
{
    GRADWIND_CHECK(statistics != nullptr, ConfigError, "[bounding] {} needs the statistics of the data set",
                   section.where());
    const auto names = section.get<std::vector<std::string>>("variables");
    const auto minima = section.get<std::vector<double>>("min_val");
    const auto normalizers = section.get<std::vector<std::string>>("normalizer");
    GRADWIND_CHECK(names.size() == minima.size() && names.size() == normalizers.size(), ConfigError,
                   "[bounding] {} lists {} variables, {} min_val and {} normalizer; the numbers must agree",
                   section.where(), names.size(), minima.size(), normalizers.size());
    std::vector<float> out;
    for (size_t i = 0; i < names.size(); ++i) {
        const auto column = column_of(section.at("variables"), names[i], variables);
        const auto variable = size_t(variables.data_output()[size_t(column)]);
        out.push_back(float(normalised(minima[i], normalizers[i], variable, *statistics, section)));
    }
    return out;
}

} // namespace

std::shared_ptr<Bounding> build_bounding(const Config& section, const VariableTable& variables,
                                         const Statistics* statistics)
{
    static const std::vector<std::string> known = {
        "ReluBounding",     "LeakyReluBounding",     "NormalizedReluBounding", "NormalizedLeakyReluBounding",
        "HardtanhBounding", "LeakyHardtanhBounding", "FractionBounding",       "LeakyFractionBounding"};
    const auto kind = section.target();
    if (std::find(known.begin(), known.end(), kind) == known.end())
        refuse_target(section, known, {});
    const auto columns = columns_of(section, variables);
    const bool leaky = kind.find("Leaky") != std::string::npos;
    const Limit relu = leaky ? Limit([](const at::Tensor& x) { return at::leaky_relu(x, kLeakySlope); })
                             : Limit([](const at::Tensor& x) { return at::relu(x); });
    if (kind.starts_with("Normalized"))
        return std::make_shared<NormalizedBounding>(columns, normalised_minima(section, variables, statistics), relu);
    if (kind.ends_with("ReluBounding"))
        return std::make_shared<ColumnBounding>(columns, relu);
    const auto clamp = clamp_of(section, leaky);
    if (kind.ends_with("HardtanhBounding"))
        return std::make_shared<ColumnBounding>(columns, clamp);
    const auto total = section.get<std::string>("total_var");
    return std::make_shared<ColumnBounding>(columns, clamp, column_of(section.at("total_var"), total, variables));
}

} // namespace gradwind::model
