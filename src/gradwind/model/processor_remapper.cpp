// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Remapper: reversible changes of variable (spec §8.3).
#include "gradwind/model/processor_methods.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace gradwind::model
{

namespace
{

using Change = std::function<void(const at::Tensor& column)>;

struct Mapping {
    Change forward, back;
    bool needs_non_negative = false;
};

/// Options of one method, `method_kwargs.<method>`.
class Options
{
public:
    Options(const Config& config, const std::string& method, const std::vector<std::string>& known)
    {
        const auto all = config.find("method_kwargs");
        const auto own = all && !all->is_null() ? all->find(method) : std::nullopt;
        if (!own || own->is_null())
            return;
        for (const auto& key : own->keys())
            GRADWIND_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ConfigError,
                           "[processors] unknown key `{}` in {}{}", key, own->where(), did_you_mean(key, known));
        own_ = *own;
    }
    template <class T>
    [[nodiscard]] T get(const char* key, T fallback) const
    {
        return own_.get<T>(key, fallback);
    }
    [[nodiscard]] std::optional<double> number(const char* key) const
    {
        return own_.has(key) ? std::optional(own_.get<double>(key)) : std::nullopt;
    }
    void require(bool condition, const char* what) const
    {
        GRADWIND_CHECK(condition, ConfigError, "[processors] {} ({})", what, own_.where());
    }

private:
    Config own_;
};

Mapping log1p(const Config& config)
{
    const Options options(config, "log1p", {});
    return {[](const at::Tensor& x) { x.log1p_(); }, [](const at::Tensor& x) { x.expm1_(); }};
}

Mapping power_of(double exponent, bool clip, bool linear_above_one)
{
    Mapping out;
    out.needs_non_negative = !clip;
    out.forward = [=](const at::Tensor& x) {
        if (clip)
            x.clamp_min_(0);
        const auto powers = x.pow(exponent);
        x.copy_(linear_above_one ? at::where(x > 1, x * exponent + (1 - exponent), powers) : powers);
    };
    out.back = [=](const at::Tensor& x) {
        const auto roots = x.clamp_min(0).pow(1 / exponent);
        x.copy_(linear_above_one ? at::where(x > 1, (x - (1 - exponent)) / exponent, roots) : roots);
    };
    return out;
}

Mapping square_root(const Config& config)
{
    const Options options(config, "sqrt", {});
    return power_of(0.5, false, false);
}

Mapping power(const Config& config)
{
    const Options options(config, "power", {"lambd", "clip_negative", "tangent_linear_above_one"});
    const auto exponent = options.get("lambd", 0.33);
    options.require(exponent > 0, "lambd of `power` must be positive");
    return power_of(exponent, options.get("clip_negative", false), options.get("tangent_linear_above_one", false));
}

Mapping boxcox(const Config& config)
{
    const Options options(config, "boxcox", {"lambd", "clip_negative"});
    const auto lambda = options.get("lambd", 0.5);
    const bool clip = options.get("clip_negative", false);
    if (lambda == 0)
        return {[](const at::Tensor& x) { x.log_(); }, [](const at::Tensor& x) { x.exp_(); }, true};
    Mapping out;
    out.needs_non_negative = !clip;
    out.forward = [=](const at::Tensor& x) {
        if (clip)
            x.clamp_min_(0);
        x.pow_(lambda).sub_(1).div_(lambda);
    };
    out.back = [=](const at::Tensor& x) { x.mul_(lambda).add_(1).clamp_min_(0).pow_(1 / lambda); };
    return out;
}

Mapping atanh_of(const Config& config)
{
    const Options options(config, "atanh", {"rho"});
    const auto rho = options.get("rho", 2.0);
    options.require(rho >= 0, "rho of `atanh` must not be negative");
    if (rho == 0)
        return {[](const at::Tensor&) {}, [](const at::Tensor& x) { x.clamp_(0, 1); }};
    return {[=](const at::Tensor& x) { x.mul_(2).sub_(1).mul_(std::tanh(rho)).atanh_().div_(rho); },
            [=](const at::Tensor& x) { x.mul_(rho).tanh_().div_(std::tanh(rho)).add_(1).mul_(0.5).clamp_(0, 1); }};
}

Mapping asinh_of(const Config& config)
{
    const Options options(config, "asinh", {"c"});
    const auto c = options.get("c", 1.0);
    options.require(c != 0, "c of `asinh` must not be 0");
    return {[=](const at::Tensor& x) { x.mul_(c).asinh_(); }, [=](const at::Tensor& x) { x.sinh_().div_(c); }};
}

Mapping affine(const Config& config)
{
    const Options options(config, "affine", {"scale", "shift"});
    const auto scale = options.get("scale", 1.0);
    const auto shift = options.get("shift", 0.0);
    options.require(scale != 0, "scale of `affine` must not be 0");
    return {[=](const at::Tensor& x) { x.mul_(scale).add_(shift); },
            [=](const at::Tensor& x) { x.sub_(shift).div_(scale); }};
}

/// Moves exact boundary values away, so that a model can hit them approximately; back by clamping.
Mapping displace(const Config& config)
{
    const Options options(config, "displace_boundary_atoms",
                          {"lower_atom", "upper_atom", "lower_target", "upper_target", "eps"});
    const auto lower = options.number("lower_atom");
    const auto upper = options.number("upper_atom");
    const auto lower_target = options.number("lower_target");
    const auto upper_target = options.number("upper_target");
    const auto eps = options.get("eps", 0.0);
    options.require(lower || upper, "displace_boundary_atoms needs lower_atom or upper_atom under method_kwargs");
    options.require(!lower || (lower_target && *lower_target < *lower), "lower_target must be below lower_atom");
    options.require(!upper || (upper_target && *upper_target > *upper), "upper_target must be above upper_atom");
    Mapping out;
    out.forward = [=](const at::Tensor& x) {
        if (lower)
            x.masked_fill_(x <= *lower + eps, *lower_target);
        if (upper)
            x.masked_fill_(x >= *upper - eps, *upper_target);
    };
    out.back = [=](const at::Tensor& x) {
        if (lower)
            x.clamp_min_(*lower);
        if (upper)
            x.clamp_max_(*upper);
    };
    return out;
}

class Remapper final : public FieldProcessor
{
public:
    struct Entry {
        int64_t variable;
        std::string method;
        Mapping mapping;
    };
    Remapper(std::vector<Entry> entries, const VariableTable& variables)
        : entries_(std::move(entries)), columns_(variables), names_(variables.names())
    {
    }

    void transform(const at::Tensor& x, Space space, BatchMasks&) const override
    {
        for (const auto& entry : entries_) {
            const auto column = columns_(space, entry.variable);
            if (column < 0)
                continue;
            const auto values = x.select(-1, column);
            GRADWIND_CHECK(!entry.mapping.needs_non_negative || !(values < 0).any().item<bool>(), DataError,
                           "[processors] {} has negative values, which `{}` cannot map; see clip_negative",
                           names_[size_t(entry.variable)], entry.method);
            entry.mapping.forward(values);
        }
    }

    void inverse(const at::Tensor& x, Space space, const BatchMasks&) const override
    {
        for (const auto& entry : entries_)
            if (const auto column = columns_(space, entry.variable); column >= 0)
                entry.mapping.back(x.select(-1, column));
    }

private:
    std::vector<Entry> entries_;
    Columns columns_;
    std::vector<std::string> names_;
};

} // namespace

std::unique_ptr<FieldProcessor> make_remapper(const ProcessorRequest& request)
{
    using Factory = Mapping (*)(const Config&);
    static const std::map<std::string, Factory> factories = {
        {"log1p", log1p},    {"sqrt", square_root}, {"boxcox", boxcox}, {"atanh", atanh_of},
        {"asinh", asinh_of}, {"power", power},      {"affine", affine}, {"displace_boundary_atoms", displace}};
    const auto methods = read_methods(request.config, request.inputs.variables);
    std::vector<Remapper::Entry> entries;
    for (size_t i = 0; i < methods.by_variable.size(); ++i) {
        const auto& method = methods.by_variable[i];
        if (method == "none")
            continue;
        std::vector<std::string> known;
        for (const auto& [name, factory] : factories)
            known.push_back(name);
        const auto found = factories.find(method);
        GRADWIND_CHECK(found != factories.end(), ConfigError, "[processors] Remapper has no method `{}`{} ({})", method,
                       did_you_mean(method, known), request.config.where());
        entries.push_back({int64_t(i), method, found->second(request.config)});
    }
    return std::make_unique<Remapper>(std::move(entries), request.inputs.variables);
}

} // namespace gradwind::model
