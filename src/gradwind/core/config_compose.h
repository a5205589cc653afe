// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Composition of a configuration from its `defaults` lists, as Hydra does it.
#pragma once
#include "gradwind/core/config_draft.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace gradwind
{

/// Where a group's file was found.
struct GroupText {
    std::string name; ///< "model/gnn"
    std::string source;
    std::string text;
};

/// Finds group files: beside the configuration first, then among the packaged ones.
class GroupSearch
{
public:
    explicit GroupSearch(std::filesystem::path folder) : folder_(std::move(folder)) {}
    /// @param name "model/gnn" @param skip a file that must not be taken (the one that asks)
    [[nodiscard]] std::optional<GroupText> find(const std::string& name, const std::filesystem::path& skip = {}) const;
    /// Whether there are choices for this group.
    [[nodiscard]] bool has_group(const std::string& group) const;
    /// Names of the choices of a group, sorted.
    [[nodiscard]] std::vector<std::string> choices(const std::string& group) const;

private:
    std::filesystem::path folder_;
};

/// A choice made on the command line: `model=gnn`, `+model=gnn`, `~model`.
struct GroupChoice {
    std::string group;              ///< "training/optimization"
    std::vector<std::string> names; ///< empty: the group is left out
    bool append = false;            ///< add it to the defaults instead of changing an entry
    std::string written;            ///< for messages
};

/// One part of a composed configuration, to be merged in order.
struct ConfigLayer {
    ConfigPath package; ///< where it belongs
    ConfigDraft content;
};

/// Reads a configuration and everything its `defaults` name.
/// @throws ConfigError naming file and line, for entries without a file, cycles, or choices that change nothing
[[nodiscard]] std::vector<ConfigLayer> compose_layers(const std::filesystem::path& file, const GroupSearch& search,
                                                      const std::vector<GroupChoice>& choices);

} // namespace gradwind
