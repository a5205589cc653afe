// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_alias.h"
#include "gradwind/core/config_groups.h"
#include "gradwind/core/config_schema.h"

#include <fmt/format.h>
#include <string_view>

namespace gradwind
{

namespace
{

/// Vertical bars would end a cell of the table.
std::string cell(std::string_view text)
{
    std::string out;
    for (const char c : text)
        out += c == '|' ? std::string("or") : std::string(1, c);
    return out;
}

std::string code(std::string_view text)
{
    return text.empty() ? "" : fmt::format("`{}`", text);
}

bool is_ignored(const KeySpec& spec)
{
    return std::string_view(spec.type) == "ignored";
}

std::string row(const KeySpec& spec)
{
    return fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", spec.path, cell(spec.type), code(spec.fallback),
                       spec.range, spec.unit, spec.meaning);
}

constexpr std::string_view table_head =
    "\n| key | type | default | range | unit | meaning |\n|---|---|---|---|---|---|\n";

std::string intro()
{
    return "<!-- Written by `gradwind config keys`; a test compares the two. -->\n"
           "# Configuration\n\n"
           "Every key that gradwind knows. `*` is a name that you choose, `[]` an element of a list; `target:FAMILY` "
           "is a\n"
           "mapping whose `_target_` names a class (only the last component counts, see \"Classes\"). A default "
           "`${a.b}` is the\n"
           "value of that key. `null` is the same as leaving a key out. Any other key is an error.\n\n"
           "Composition is Hydra's: `defaults` lists, `${a.b}`, `${oc.env:NAME,default}`, `???` for what must be set, "
           "and\n"
           "`key=value`, `+key=value`, `++key=value`, `~key`, `group=name` on the command line. `gradwind config show "
           "FILE\n"
           "--origin` prints the result and where each value comes from; `gradwind config check FILE` reports "
           "mistakes.\n";
}

std::string sections()
{
    std::string out;
    std::string ignored;
    for (const auto& section : key_sections()) {
        out += fmt::format("\n## {}\n{}", section.title, table_head);
        for (const auto& spec : section.keys) {
            if (is_ignored(spec))
                ignored += fmt::format("- `{}`\n", spec.path);
            else
                out += row(spec);
        }
    }
    return out +
           "\n## Accepted without effect\n\nThese belong to the original and mean nothing here, with all below "
           "them:\n\n" +
           ignored;
}

std::string classes()
{
    std::string out = "\n## Classes\n\nWhat a `_target_` may be, and the keys beside it.\n";
    std::string family;
    for (const auto& target : target_specs()) {
        if (family != target.family)
            out += fmt::format("\n### {}\n", target.family);
        family = target.family;
        out += fmt::format("\n**{}**{}{}\n", target.name, *target.meaning ? ": " : "", target.meaning);
        std::string rows;
        for (const auto& keys : target.keys)
            for (const auto& spec : keys)
                rows += is_ignored(spec) ? "" : row(spec);
        out += rows.empty() ? "" : std::string(table_head) + rows;
    }
    return out;
}

std::string spellings_and_groups()
{
    std::string out = "\n## Older spellings\n\nAccepted, with a note.\n\n| older | present |\n|---|---|\n";
    for (const auto& alias : key_aliases())
        out += fmt::format("| `{}` | `{}` |\n", alias.older, alias.present);
    out += "\n## Packaged groups\n\nNames for `defaults`, beside your own files.\n\n";
    for (const auto& group : packaged_groups())
        out += fmt::format("- `{}`\n", group.name);
    return out;
}

} // namespace

std::string configuration_page()
{
    return intro() + sections() + classes() + spellings_and_groups();
}

} // namespace gradwind
