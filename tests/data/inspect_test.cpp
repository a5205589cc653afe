// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/core/error.h"
#include "gradwind/data/inspect.h"
#include "gradwind/data/open_dataset.h"
#include "tests/data/tiny_store.h"

#include <gtest/gtest.h>
#include <sstream>

namespace gradwind::data
{
namespace
{

TEST(Inspect, TellsWhatARunNeedsToKnow)
{
    const ScratchFolder folder("inspect");
    TinyStore tiny;
    tiny.missing = {2};
    tiny.write(folder / "s.zarr");
    std::filesystem::remove(folder / "s.zarr" / "data/0.0.1.0");
    const auto dataset = open_dataset(
        nlohmann::json{{"dataset", (folder / "s.zarr").string()}, {"select", {"v1", "v3"}}, {"thinning", 2}});
    const auto found = describe(*dataset, Checksum::Compute);
    EXPECT_EQ(found["shape"], nlohmann::json({6, 2, 2, 24}));
    EXPECT_EQ(found["dates"]["missing"], nlohmann::json({"1996-01-02T12:00:00"}));
    EXPECT_EQ(found["dates"]["frequency"], "6h");
    EXPECT_EQ(found["variables"][0]["units"], "K");
    EXPECT_EQ(found["variables"][0]["constant"], true);
    EXPECT_EQ(found["variables"][1]["nan_on_first_date"], 24) << "the second member's chunk is absent";
    EXPECT_EQ(found["store"]["absent_chunks"], 1);
    EXPECT_EQ(found["store"]["tendencies"], nlohmann::json({"6h"}));
    EXPECT_EQ(found["store"]["codec"], "blosc lz4 level 5, byte shuffle");
    EXPECT_EQ(found["sha256"].get<std::string>().size(), 64u);
    std::ostringstream out;
    print_description(found, out);
    for (const auto* part : {"6 dates x 2 variables x 2 members x 24 cells", "every 6h", "thinning_mask keeps 24 of 77",
                             "NaN in v1, v3", "1 chunks absent", "K, constant"})
        EXPECT_NE(out.str().find(part), std::string::npos) << part << " in\n" << out.str();
}

} // namespace
} // namespace gradwind::data
