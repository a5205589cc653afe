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
    static const std::vector<std::string> names = {"base_end",
                                                   "base_frequency",
                                                   "base_start",
                                                   "complement",
                                                   "ensemble",
                                                   "expected_access",
                                                   "extend_end",
                                                   "extend_start",
                                                   "interpolate_frequency",
                                                   "interpolate_variables",
                                                   "mask",
                                                   "merge",
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

/// Companions of the options that name several data sets.
const std::vector<std::string>& combining_companions()
{
    static const std::vector<std::string> names = {"adjust",          "fill_missing_gaps", "min_distance_km",
                                                   "max_distance_km", "cropping_distance", "neighbours"};
    return names;
}

/// @return the option that names several data sets; empty where there is none
std::string check_options(const Config& options)
{
    std::string combining, companion;
    for (const auto& key : options.keys()) {
        if (!options.has(key))
            continue;
        const auto has = [&](const std::vector<std::string>& names) {
            return std::find(names.begin(), names.end(), key) != names.end();
        };
        GRADWIND_CHECK(!has(unsupported_options()), ConfigError,
                       "[data] the option `{}` of a data set is not supported ({})", key, options.at(key).where());
        if (has(detail::combining_options())) {
            GRADWIND_CHECK(combining.empty(), ConfigError, "[data] {} has both `{}` and `{}`: nest one in the other",
                           options.where(), combining, key);
            combining = key;
            continue;
        }
        if (has(combining_companions())) {
            companion = key;
            continue;
        }
        GRADWIND_CHECK(has(known_options()), ConfigError, "[data] a data set has no option `{}`{} ({}); there are: {}",
                       key, did_you_mean(key, known_options()), options.at(key).where(),
                       fmt::join(known_options(), ", "));
    }
    GRADWIND_CHECK(
        companion.empty() || !combining.empty(), ConfigError,
        "[data] {}: `{}` says how several data sets are put together, and there is one; the options for that "
        "are {}",
        options.where(), companion, fmt::join(detail::combining_options(), ", "));
    GRADWIND_CHECK(combining.empty() || !options.has("dataset"), ConfigError,
                   "[data] {} has both `dataset` and `{}`: nest one in the other", options.where(), combining);
    return combining;
}

detail::Opened open_path(const std::string& text)
{
    fs::path path(text);
    if (!fs::exists(path) && fs::exists(text + ".zarr"))
        path = text + ".zarr";
    detail::Opened out{open_store(path), nullptr, {}};
    out.selection = select_all(*out.store);
    return out;
}

std::shared_ptr<const Dataset> finish(detail::Opened opened, const OpenOptions& outer)
{
    detail::cut_period(outer.start, outer.end, "start and end of the period", opened.selection);
    return detail::make_dataset(std::move(opened));
}

} // namespace

detail::Opened detail::open_options(const Config& options)
{
    if (options.kind() == Config::Kind::String)
        return open_path(options.as<std::string>());
    GRADWIND_CHECK(options.is_map(), ConfigError,
                   "[data] a data set must be a path or a mapping with `dataset`, which {} is not", options.where());
    const bool combines = !check_options(options).empty();
    auto opened = combines ? open_combination(options) : open_options(options.at("dataset"));
    for (const auto& step : kSteps)
        step(options, opened.selection);
    return opened;
}

std::shared_ptr<const Dataset> open_dataset(const Config& options, const OpenOptions& outer)
{
    return finish(detail::open_options(options), outer);
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
