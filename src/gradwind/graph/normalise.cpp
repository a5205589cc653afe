// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/ranges.h>
#include <limits>

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/graph/builder.h"

namespace gradwind::graph::detail
{

namespace
{

enum class Norm { L1, L2, UnitMax, UnitRange, UnitStd, Log1p };

constexpr std::array<std::pair<const char*, Norm>, 7> kNorms{{{"l1", Norm::L1},
                                                              {"unit-sum", Norm::L1},
                                                              {"l2", Norm::L2},
                                                              {"unit-max", Norm::UnitMax},
                                                              {"unit-range", Norm::UnitRange},
                                                              {"unit-std", Norm::UnitStd},
                                                              {"log1p", Norm::Log1p}}};

Norm norm_named(const std::string& name, const Config& where)
{
    std::vector<std::string> known;
    for (const auto& [known_name, norm] : kNorms) {
        if (name == known_name)
            return norm;
        known.emplace_back(known_name);
    }
    throw ConfigError(fmt::format("[graph] unknown norm `{}` at {}{}; known are null, {}", name, where.where(),
                                  did_you_mean(name, known), fmt::join(known, ", ")));
}

/// Sums over the values of a group, in double precision.
struct Moments {
    int64_t count = 0;
    double sum = 0;
    double squares = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
    double deviations = 0; ///< squared, from the mean; by a second pass
    void add(double value)
    {
        ++count;
        sum += value;
        squares += value * value;
        min = std::min(min, value);
        max = std::max(max, value);
    }
    void add_deviation(double value)
    {
        deviations += (value - sum / static_cast<double>(count)) * (value - sum / static_cast<double>(count));
    }
    [[nodiscard]] double std(int64_t lost_degrees) const
    {
        return std::sqrt(deviations / static_cast<double>(count - lost_degrees));
    }
};

/// x -> (x - shift) / divisor
struct Scale {
    double shift = 0;
    double divisor = 1;
};

/// Over all values: unit-range divides by the maximum, unit-std by the sample's deviation (spec §1.5).
Scale scale_of_all(Norm norm, const Moments& m)
{
    switch (norm) {
    case Norm::L1:
        return {0, m.sum};
    case Norm::L2:
        return {0, std::sqrt(m.squares)};
    case Norm::UnitMax:
        return {0, m.max};
    case Norm::UnitRange:
        return {m.min, m.max};
    case Norm::UnitStd: {
        const double std = m.count > 1 ? m.std(1) : 0;
        return {0, std > 0 ? std : 1};
    }
    case Norm::Log1p:
        break;
    }
    return {};
}

/// Within a group: unit-range divides by the range, unit-std by the population's deviation.
Scale scale_of_group(Norm norm, const Moments& m)
{
    if (norm == Norm::UnitRange)
        return {m.min, m.max > m.min ? m.max - m.min : 1};
    if (norm == Norm::UnitStd) {
        const double std = m.std(0);
        return {0, std > 0 ? std : 1};
    }
    return scale_of_all(norm, m);
}

void apply(float& value, Norm norm, const Scale& scale)
{
    if (norm == Norm::Log1p)
        value = std::log1p(value);
    else
        value = static_cast<float>((value - scale.shift) / scale.divisor);
}

void check_finite(const Attribute& attribute, const std::string& norm, const Config& where)
{
    const bool finite =
        std::all_of(attribute.values.begin(), attribute.values.end(), [](float x) { return std::isfinite(x); });
    GRADWIND_CHECK(finite, ConfigError,
                   "[graph] norm `{}` of {} gives values that are not finite (it divides by zero); take another norm",
                   norm, where.where());
}

} // namespace

std::optional<std::string> norm_of(const Config& attribute, std::optional<std::string> fallback)
{
    const std::optional<Config> norm = attribute.find("norm");
    if (!norm)
        return fallback;
    if (norm->is_null())
        return std::nullopt;
    return norm->as<std::string>();
}

void normalise(Attribute& attribute, const std::optional<std::string>& norm, const Config& where)
{
    if (!norm)
        return;
    const Norm kind = norm_named(*norm, where);
    Moments moments;
    for (const float value : attribute.values)
        moments.add(value);
    for (const float value : attribute.values)
        moments.add_deviation(value);
    const Scale scale = scale_of_all(kind, moments);
    for (float& value : attribute.values)
        apply(value, kind, scale);
    check_finite(attribute, *norm, where);
}

void normalise_by_group(Attribute& attribute, const std::optional<std::string>& norm, std::span<const int32_t> group,
                        int64_t n_groups, const Config& where)
{
    if (!norm)
        return;
    const Norm kind = norm_named(*norm, where);
    const auto n_cols = static_cast<size_t>(attribute.n_cols);
    std::vector<Moments> moments(static_cast<size_t>(n_groups));
    for (size_t column = 0; column < n_cols; ++column) { // each column by itself
        std::fill(moments.begin(), moments.end(), Moments{});
        for (size_t row = 0; row < group.size(); ++row)
            moments[static_cast<size_t>(group[row])].add(attribute.values[row * n_cols + column]);
        for (size_t row = 0; row < group.size(); ++row)
            moments[static_cast<size_t>(group[row])].add_deviation(attribute.values[row * n_cols + column]);
        for (size_t row = 0; row < group.size(); ++row)
            apply(attribute.values[row * n_cols + column], kind,
                  scale_of_group(kind, moments[static_cast<size_t>(group[row])]));
    }
    check_finite(attribute, *norm, where);
}

} // namespace gradwind::graph::detail
