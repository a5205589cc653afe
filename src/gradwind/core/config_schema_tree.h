// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The table of keys as a tree, which the check and the defaults walk beside a configuration.
#pragma once
#include "gradwind/core/config_schema.h"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gradwind
{

/// One level of the table.
struct SchemaNode {
    const KeySpec* spec = nullptr; ///< null for a level that only leads to others
    std::vector<std::pair<std::string, std::unique_ptr<SchemaNode>>> named;
    std::unique_ptr<SchemaNode> any;  ///< `*`
    std::unique_ptr<SchemaNode> item; ///< `[]`

    [[nodiscard]] const SchemaNode* child(std::string_view key) const;
    [[nodiscard]] bool leads_on() const { return !named.empty() || any || item; }
    [[nodiscard]] bool is_ignored() const;
    /// What open_dataset takes: a path, a mapping of options, or a list of such.
    [[nodiscard]] bool is_dataset() const;
    /// Family of `target:FAMILY`; empty if the key is none.
    [[nodiscard]] std::string family() const;
};

/// The whole table. Built once, never changed.
class SchemaTree
{
public:
    [[nodiscard]] static const SchemaTree& get();
    [[nodiscard]] const SchemaNode& root() const { return *root_; }
    /// What a target of this class may hold; null if the family has no such class.
    [[nodiscard]] const SchemaNode* target(const std::string& family, const std::string& name) const;
    [[nodiscard]] std::vector<std::string> target_names(const std::string& family) const;
    /// Paths of all keys outside targets.
    [[nodiscard]] const std::vector<std::string>& paths() const { return paths_; }

private:
    SchemaTree();
    std::unique_ptr<SchemaNode> root_;
    std::map<std::string, std::map<std::string, std::unique_ptr<SchemaNode>>> targets_;
    std::vector<std::string> paths_;
};

/// The words of a KeySpec's type.
[[nodiscard]] std::vector<std::string> type_words(const KeySpec& spec);
/// Parts of `text` between separators, without blanks around them.
[[nodiscard]] std::vector<std::string> split_words(std::string_view text, std::string_view separator);

} // namespace gradwind
