// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The `input` of a recipe: sources joined into one sorted list of variables on one grid.
#pragma once
#include "gradwind/data/create_recipe.h"
#include "gradwind/data/source.h"

namespace gradwind::data
{

/// All sources of a recipe. Variables are sorted by name (spec §14.2).
class CreateInput
{
public:
    /// @throws ConfigError for an unknown kind of source, DataError if sources do not fit together
    explicit CreateInput(const Recipe& recipe);

    [[nodiscard]] const SourceGrid& grid() const { return sources_.at(leader_)->grid(); }
    [[nodiscard]] const std::vector<int64_t>& members() const { return sources_.at(leader_)->members(); }
    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
    [[nodiscard]] const nlohmann::json& metadata(size_t variable) const;
    [[nodiscard]] Source::Kind kind(size_t variable) const;
    /// Reads a variable at a date, member by member. @return false if its source has nothing for this date
    bool read(size_t variable, int64_t date, std::span<float> out);
    [[nodiscard]] std::string describe_source(size_t variable) const;

private:
    struct Place {
        size_t source = 0;
        size_t variable = 0;
    };

    std::vector<std::unique_ptr<Source>> sources_;
    size_t leader_ = 0; ///< the source that gives grid and members
    std::vector<std::string> names_;
    std::vector<Place> places_; ///< parallel to names_
};

} // namespace gradwind::data
