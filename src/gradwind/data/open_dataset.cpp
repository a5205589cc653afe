// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/open_dataset.h"

#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/open_dataset_impl.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gradwind::data
{

namespace
{

namespace fs = std::filesystem;

/// In order of precedence (spec §14.5).
constexpr detail::OptionStep kSteps[] = {detail::apply_fill_missing_dates,
                                         detail::apply_period,
                                         detail::apply_frequency,
                                         detail::apply_select,
                                         detail::apply_drop,
                                         detail::apply_reorder,
                                         detail::apply_rename,
                                         detail::apply_statistics,
                                         detail::apply_trim_edge,
                                         detail::apply_thinning,
                                         detail::apply_area,
                                         detail::apply_members,
                                         detail::apply_set_missing_dates};

const std::vector<std::string>& known_options()
{
    static const std::vector<std::string> names = {
        "dataset", "fill_missing_dates", "closest",   "start",    "end",    "frequency", "select", "drop",    "reorder",
        "rename",  "statistics",         "trim_edge", "thinning", "method", "area",      "number", "numbers", "member",
        "members", "set_missing_dates"};
    return names;
}

const std::vector<std::string>& unsupported_options()
{
    static const std::vector<std::string> names = {"adjust",
                                                   "base_end",
                                                   "base_frequency",
                                                   "base_start",
                                                   "complement",
                                                   "concat",
                                                   "cutout",
                                                   "ensemble",
                                                   "expected_access",
                                                   "extend_end",
                                                   "extend_start",
                                                   "grids",
                                                   "interpolate_frequency",
                                                   "interpolate_variables",
                                                   "join",
                                                   "mask",
                                                   "max_distance_km",
                                                   "merge",
                                                   "min_distance_km",
                                                   "neighbours",
                                                   "rescale",
                                                   "rolling_average",
                                                   "set_missing_base_dates",
                                                   "shuffle",
                                                   "skip_missing_dates",
                                                   "step",
                                                   "step_end",
                                                   "step_frequency",
                                                   "step_start",
                                                   "steps",
                                                   "tensors",
                                                   "zip"};
    return names;
}

void check_options(const Config& options)
{
    for (const auto& key : options.keys()) {
        if (!options.has(key))
            continue;
        const auto has = [&](const std::vector<std::string>& names) {
            return std::find(names.begin(), names.end(), key) != names.end();
        };
        GRADWIND_CHECK(!has(unsupported_options()), ConfigError,
                       "[data] the option `{}` of a data set is not supported ({})", key, options.at(key).where());
        GRADWIND_CHECK(has(known_options()), ConfigError, "[data] a data set has no option `{}`{} ({}); there are: {}",
                       key, did_you_mean(key, known_options()), options.at(key).where(),
                       fmt::join(known_options(), ", "));
    }
}

struct Opened {
    std::shared_ptr<const Store> store;
    Selection selection;
};

Opened open_path(const std::string& text)
{
    fs::path path(text);
    if (!fs::exists(path) && fs::exists(text + ".zarr"))
        path = text + ".zarr";
    Opened out{open_store(path), {}};
    out.selection = select_all(*out.store);
    return out;
}

Opened open_options(const Config& options)
{
    if (options.kind() == Config::Kind::String)
        return open_path(options.as<std::string>());
    GRADWIND_CHECK(options.is_map(), ConfigError,
                   "[data] a data set must be a path or a mapping with `dataset`, which {} is not", options.where());
    check_options(options);
    auto opened = open_options(options.at("dataset"));
    for (const auto& step : kSteps)
        step(options, opened.selection);
    return opened;
}

std::shared_ptr<const Dataset> finish(Opened opened, const OpenOptions& outer)
{
    detail::cut_period(outer.start, outer.end, "start and end of the period", opened.selection);
    return std::make_shared<const StoreDataset>(std::move(opened.store), std::move(opened.selection));
}

} // namespace

std::shared_ptr<const Dataset> open_dataset(const Config& options, const OpenOptions& outer)
{
    return finish(open_options(options), outer);
}

std::shared_ptr<const Dataset> open_dataset(const nlohmann::json& options, const OpenOptions& outer)
{
    return open_dataset(Config::from_json(options, "options of the data set"), outer);
}

std::shared_ptr<const Dataset> open_dataset(const fs::path& store, const OpenOptions& outer)
{
    return finish(open_path(store.string()), outer);
}

} // namespace gradwind::data
