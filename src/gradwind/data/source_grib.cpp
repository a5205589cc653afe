// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/core/text.h"
#include "gradwind/data/grib_message.h"
#include "gradwind/data/source_files.h"

#include <algorithm>
#include <charconv>
#include <fmt/ranges.h>
#include <set>

namespace gradwind::data
{

namespace
{

using MarsKeys = std::map<std::string, std::string>;

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

/// Where a message lies.
struct Slot {
    size_t file = 0;
    int64_t offset = 0;
};

/// One variable: its messages by date and member.
struct Entry {
    std::string name;
    std::map<int64_t, std::map<int64_t, Slot>> dates;
};

/// Numbers stay numbers in the metadata.
nlohmann::json as_json(const std::string& text)
{
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole ? nlohmann::json(number) : nlohmann::json(text);
}

/// What a recipe asks of messages: for each key the values allowed.
class MessageFilter
{
public:
    explicit MessageFilter(const Config& config)
    {
        for (const auto& key : config.keys()) {
            if (key == "path")
                continue;
            const auto value = config.at(key);
            wanted_[key] =
                value.is_list() ? value.as<std::vector<std::string>>() : std::vector{value.as<std::string>()};
        }
    }

    /// Also notes what there is, for the message if something that was asked for is absent.
    bool accepts(const MarsKeys& mars)
    {
        bool accepted = true;
        for (const auto& [key, values] : wanted_) {
            const auto found = mars.find(key);
            const bool fits = found != mars.end() && std::ranges::find(values, found->second) != values.end();
            // A field without a level passes: {param: [2t, t], levelist: [500]} asks for both.
            const bool surface = key == "levelist" && found == mars.end();
            if (found != mars.end())
                seen_[key].insert(found->second);
            if (fits)
                matched_[key].insert(found->second);
            accepted = accepted && (fits || surface);
        }
        return accepted;
    }

    void check_all_found(const std::string& where) const
    {
        for (const auto& [key, values] : wanted_) {
            GRADWIND_CHECK(seen_.contains(key), ConfigError,
                           "[grib] {}: no message has the key `{}`; expected `path` or a MARS key such as param, "
                           "levelist, number",
                           where, key);
            const auto& seen = seen_.at(key);
            const std::vector<std::string> names(seen.begin(), seen.end());
            const auto matched = matched_.find(key);
            for (const auto& value : values)
                GRADWIND_CHECK(matched != matched_.end() && matched->second.contains(value), DataError,
                               "[grib] {}: no message has {} = {}{}; there are {}", where, key, value,
                               did_you_mean(value, names), fmt::join(names, ", "));
        }
    }

private:
    std::map<std::string, std::vector<std::string>> wanted_;
    std::map<std::string, std::set<std::string>> seen_;
    std::map<std::string, std::set<std::string>> matched_;
};

class GribSource : public Source
{
public:
    GribSource(const Config& config, const std::filesystem::path& folder)
        : paths_(source_paths(config, folder)), where_(config.where())
    {
        MessageFilter filter(config);
        std::set<int64_t> numbers;
        for (size_t i = 0; i < paths_.size(); ++i)
            index_file(i, filter, numbers);
        filter.check_all_found(where_);
        GRADWIND_CHECK(!entries_.empty(), DataError, "[grib] {}: no message in {}{}", where_, paths_.front().string(),
                       paths_.size() > 1 ? " and the other files" : "");
        members_.assign(numbers.begin(), numbers.end());
        if (members_.size() > 1)
            for (auto& variable : variables_)
                variable.metadata["mars"]["number"] = members_;
    }

    [[nodiscard]] const SourceGrid& grid() const override { return grid_; }
    [[nodiscard]] const std::vector<SourceVariable>& variables() const override { return variables_; }
    [[nodiscard]] const std::vector<int64_t>& members() const override { return members_; }
    [[nodiscard]] std::string describe() const override { return "grib " + paths_.front().string(); }

    bool read(size_t variable, int64_t date, std::span<float> out) override
    {
        const auto& entry = entries_.at(variable);
        const auto found = entry.dates.find(date);
        if (found == entry.dates.end())
            return false;
        const auto points = size_t(grid_.size());
        for (size_t member = 0; member < members_.size(); ++member) {
            const auto slot = found->second.find(members_[member]);
            GRADWIND_CHECK(slot != found->second.end(), DataError, "[grib] {}: {} at {} has no member {}", where_,
                           entry.name, format_datetime(date), members_[member]);
            auto* file = open(slot->second.file);
            std::fseek(file, slot->second.offset, SEEK_SET);
            const auto message = GribMessage::read(file, paths_[slot->second.file]);
            GRADWIND_CHECK(message, DataError, "[grib] {} has changed while it was read",
                           paths_[slot->second.file].string());
            message->values(out.subspan(member * points, points));
        }
        return true;
    }

private:
    std::FILE* open(size_t index)
    {
        if (!file_ || file_index_ != index) {
            file_.reset(std::fopen(paths_[index].c_str(), "rb"));
            GRADWIND_CHECK(file_, DataError, "[grib] {} cannot be opened", paths_[index].string());
            file_index_ = index;
        }
        return file_.get();
    }

    void index_file(size_t index, MessageFilter& filter, std::set<int64_t>& numbers)
    {
        auto* file = open(index);
        int64_t messages = 0;
        while (const auto message = GribMessage::read(file, paths_[index])) {
            ++messages;
            const auto mars = message->mars();
            // Members of some streams have a number that is not among their MARS keys.
            const auto number = message->has("number") ? message->integer("number") : 0;
            auto keys = mars;
            keys.try_emplace("number", std::to_string(number));
            if (!filter.accepts(keys))
                continue;
            numbers.insert(number);
            add_message(*message, mars, number, {index, message->integer("offset")});
        }
        GRADWIND_CHECK(messages > 0, DataError, "[grib] {} holds no GRIB message", paths_[index].string());
    }

    void add_message(const GribMessage& message, const MarsKeys& mars, int64_t number, const Slot& slot)
    {
        const auto grid_key = message.text("md5GridSection");
        if (entries_.empty()) {
            grid_ = message.grid();
            grid_key_ = grid_key;
        }
        const auto level = mars.find("levelist");
        const auto name = level == mars.end() ? mars.at("param") : mars.at("param") + "_" + level->second;
        GRADWIND_CHECK(grid_key == grid_key_, DataError,
                       "[grib] {}: {} at byte {} has another grid than the first message taken; ask for fields of one "
                       "grid (param, levelist, ...)",
                       paths_[slot.file].string(), name, slot.offset);
        auto entry = std::ranges::find(entries_, name, &Entry::name);
        if (entry == entries_.end()) {
            entries_.push_back({name, {}});
            variables_.push_back({name, describe_variable(message, mars)});
            entry = std::prev(entries_.end());
        }
        const auto date = message.valid_date();
        GRADWIND_CHECK(entry->dates[date].emplace(number, slot).second, DataError,
                       "[grib] {}: {} at {} is there twice; name one of them by step, type or stream",
                       paths_[slot.file].string(), name, format_datetime(date));
    }

    static nlohmann::json describe_variable(const GribMessage& message, const MarsKeys& mars)
    {
        nlohmann::json keys;
        for (const auto& [key, text] : mars)
            keys[key] = key == "expver" || key == "param" ? nlohmann::json(text) : as_json(text);
        return {{"grib", {{"paramId", message.integer("paramId")}, {"shortName", message.text("shortName")}}},
                {"mars", keys},
                {"units", message.text("units")}};
    }

    std::vector<std::filesystem::path> paths_;
    std::string where_;
    File file_;
    size_t file_index_ = 0;
    SourceGrid grid_;
    std::string grid_key_;
    std::vector<int64_t> members_;
    std::vector<SourceVariable> variables_;
    std::vector<Entry> entries_; ///< parallel to variables_
};

} // namespace

std::unique_ptr<Source> grib_source(const Config& config, const std::filesystem::path& folder)
{
    return std::make_unique<GribSource>(config, folder);
}

} // namespace gradwind::data
