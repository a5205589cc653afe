// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/config_loader.h"

#include "gradwind/core/config_schema.h"
#include "gradwind/core/config_yaml.h"
#include "gradwind/core/error.h"

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind
{
namespace
{

std::filesystem::path golden()
{
    const char* folder = std::getenv("GRADWIND_GOLDEN");
    return folder ? folder : GRADWIND_SOURCE_DIR "/../shared/golden";
}

/// "path: mine is .., wanted .." for every leaf of `wanted` that differs.
void differences(const Config& wanted, const Config& mine, std::vector<std::string>& out)
{
    if (wanted.is_null() || wanted.path() == "config_validation")
        return;
    const auto found = mine.find(wanted.path());
    if (!found) {
        out.push_back(wanted.path() + ": missing");
        return;
    }
    if (wanted.is_map() || wanted.is_list()) {
        if (wanted.is_list() && wanted.items().size() != found->items().size())
            out.push_back(wanted.path() + ": other length");
        for (const auto& item : wanted.items())
            differences(item, mine, out);
        return;
    }
    if (wanted.to_json() != found->to_json())
        out.push_back(
            fmt::format("{}: {} instead of {}", wanted.path(), found->to_json().dump(), wanted.to_json().dump()));
}

TEST(ConfigLoader, UkRunResolvesAsInTheOriginal)
{
    if (!std::filesystem::exists(golden() / "run-uk-gnn/uk.yaml"))
        GTEST_SKIP() << "no reference vectors in " << golden();
    const auto mine = load_config({golden() / "run-uk-gnn/uk.yaml", {}});
    const Config wanted(freeze(parse_yaml_file(golden() / "run-uk-gnn/resolved.yaml")));
    std::vector<std::string> differing;
    differences(wanted, mine, differing);
    EXPECT_TRUE(differing.empty()) << fmt::format("{}", fmt::join(differing, "\n"));
    EXPECT_NO_THROW(static_cast<void>(check_config(mine)));
}

} // namespace
} // namespace gradwind
