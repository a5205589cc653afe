// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/stage.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace gradwind::train
{

namespace
{

/// "`era5` from 2000-01-01T00:00:00 to 2000-01-31T18:00:00"
std::string period_text(const StagePart& part)
{
    const auto& dates = part.dataset->dates();
    return fmt::format("`{}` from {} to {}", part.name, format_datetime(dates.front()), format_datetime(dates.back()));
}

std::string periods_text(const std::vector<StagePart>& parts)
{
    std::vector<std::string> periods;
    for (const auto& part : parts)
        periods.push_back(period_text(part));
    return fmt::format("{}", fmt::join(periods, ", "));
}

/// The original intersects positions as strings of bytes, lowest byte first.
bool comes_before(int64_t a, int64_t b)
{
    return __builtin_bswap64(uint64_t(a)) < __builtin_bswap64(uint64_t(b));
}

} // namespace

Stage::Stage(std::string name, std::vector<StagePart> parts) : name_(std::move(name)), parts_(std::move(parts))
{
    GRADWIND_ASSERT(!parts_.empty());
    for (auto& part : parts_) {
        if (&part == &parts_.front())
            continue; // alone it has nothing to agree with
        GRADWIND_CHECK(part.dataset->frequency_s() == frequency_s(), ConfigError,
                       "[train] expected data sets of one frequency for dataloader.{}.datasets, found {} for `{}` and "
                       "{} for `{}`; set `frequency` in their dataset_config",
                       name_, frequency_to_string(frequency_s()), parts_.front().name,
                       frequency_to_string(part.dataset->frequency_s()), part.name);
        const auto later_s = first().dates().front() - part.dataset->dates().front();
        GRADWIND_CHECK(frequency_s() > 0 && later_s % frequency_s() == 0, ConfigError,
                       "[train] the data sets of dataloader.{}.datasets have no date in common: {}, every {}", name_,
                       periods_text({parts_.front(), part}), frequency_to_string(frequency_s()));
        part.shift = later_s / frequency_s();
    }
}

std::vector<int64_t> Stage::anchors(std::span<const int64_t> relative_indices) const
{
    auto common = data::valid_anchors(first(), relative_indices);
    if (parts_.size() == 1)
        return common;
    for (size_t i = 1; i < parts_.size(); ++i) {
        const auto own = data::valid_anchors(*parts_[i].dataset, relative_indices);
        std::erase_if(common, [&](int64_t anchor) {
            return !std::binary_search(own.begin(), own.end(), anchor + parts_[i].shift);
        });
    }
    GRADWIND_CHECK(!common.empty(), ConfigError,
                   "[train] expected dates that all data sets of dataloader.{}.datasets have, {} for a sample, found "
                   "none: {}; change their start and end",
                   name_, relative_indices.size(), periods_text(parts_));
    std::sort(common.begin(), common.end(), comes_before);
    return common;
}

std::map<std::string, std::vector<std::string>> Stage::variables() const
{
    std::map<std::string, std::vector<std::string>> result;
    for (const auto& part : parts_)
        result[part.name] = part.dataset->variables();
    return result;
}

std::shared_ptr<const data::Dataset> open_dataset_of(const Config& config, const std::string& stage,
                                                     const std::string& dataset_name)
{
    const auto section = config.at("dataloader." + stage + ".datasets." + dataset_name);
    const data::OpenOptions cut{section.get<std::string>("start", ""), section.get<std::string>("end", "")};
    auto dataset = data::open_dataset(section.at("dataset_config"), cut);
    if (config.has("data.frequency") && dataset->frequency_s() > 0) {
        const auto wanted = parse_frequency(config.get<std::string>("data.frequency"));
        GRADWIND_CHECK(dataset->frequency_s() == wanted, ConfigError,
                       "[train] expected the frequency {} of `data.frequency` for {}, found {}; set `frequency` in its "
                       "`dataset_config`",
                       frequency_to_string(wanted), section.where(), frequency_to_string(dataset->frequency_s()));
    }
    return dataset;
}

Stage open_stage(const Config& config, const std::string& stage, std::span<const std::string> names)
{
    std::vector<StagePart> parts;
    for (const auto& name : names)
        parts.push_back({.name = name, .dataset = open_dataset_of(config, stage, name), .shift = 0, .cells = {}});
    return {stage, std::move(parts)};
}

std::optional<Stage> open_validation(const Config& config, std::span<const std::string> names)
{
    const bool is_there = std::any_of(names.begin(), names.end(), [&](const auto& name) {
        return config.has("dataloader.validation.datasets." + name + ".dataset_config");
    });
    return is_there ? std::optional(open_stage(config, "validation", names)) : std::nullopt;
}

} // namespace gradwind::train
