// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// References between values: ${a.b}, ${.sibling}, ${oc.env:NAME,default} and the like.
#pragma once
#include "gradwind/core/config_draft.h"

#include <functional>

namespace gradwind
{

/// Maps an older spelling of a path to the present one (config_alias.h).
using PathTranslation = std::function<ConfigPath(const ConfigPath&)>;

/// The tree with every reference replaced by what it stands for.
///
/// `${a.b}` counts from the root, `${.b}` from the map around the value, one more dot per level up. A value that is one
/// reference takes the type of its target, lists and maps included; inside other text it is inserted as text.
/// Resolvers: `oc.env:NAME[,default]`, `oc.decode:text`, `oc.select:path[,default]`. `\${` is a plain `${`.
/// @throws ConfigError for what is missing, cycles (with the chain), unknown resolvers and references that grow without
/// end
[[nodiscard]] ConfigDraft resolve_references(const ConfigDraft& root, const PathTranslation& translate);

/// The path of a text that is one plain reference such as `${a.b}`; empty otherwise.
[[nodiscard]] ConfigPath plain_reference(const std::string& text);

} // namespace gradwind
