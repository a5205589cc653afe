// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/agree.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <sstream>

namespace gradwind::parallel::detail
{
namespace
{

/// 64 bits that tell texts apart (FNV-1a).
std::string hash_of(std::string_view text)
{
    uint64_t hash = 14695981039346656037ull;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    return fmt::format("{:016x}", hash);
}

/// "`a` where rank 0 has `b`" for the first line that differs; empty if none does.
std::string first_difference(const std::string& here, const std::string& there)
{
    std::istringstream own(here), root(there);
    for (int line = 1;; ++line) {
        std::string a, b;
        const bool more_own = static_cast<bool>(std::getline(own, a));
        const bool more_root = static_cast<bool>(std::getline(root, b));
        if (!more_own && !more_root)
            return {};
        if (a != b)
            return fmt::format("`{}` where rank 0 has `{}`", more_own ? a : "nothing", more_root ? b : "nothing");
    }
}

} // namespace

void agree(const Group& world, const std::string& what, const std::string& text)
{
    const auto hashes = world.all_gather_bytes(hash_of(text));
    if (std::all_of(hashes.begin(), hashes.end(), [&](const std::string& hash) { return hash == hashes.front(); }))
        return;
    const std::string root = world.broadcast_bytes(text, 0);
    const auto differences = world.all_gather_bytes(first_difference(text, root));
    const auto other = std::find_if(differences.begin(), differences.end(), [](const auto& d) { return !d.empty(); });
    GRADWIND_ASSERT(other != differences.end());
    throw ConfigError(
        fmt::format("[gradients] the ranks do not agree on the {}: rank {} has {}. Start all processes with the "
                    "same configuration and version",
                    what, other - differences.begin(), *other));
}

} // namespace gradwind::parallel::detail
