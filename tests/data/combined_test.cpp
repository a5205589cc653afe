// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Data sets that are put together from several: each value against the formula of the store that it must come from.
#include "gradwind/core/error.h"
#include "gradwind/data/cells.h"
#include "gradwind/data/combined_dataset.h"
#include "gradwind/data/inspect_sha256.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"
#include "tests/data/stores.h"
#include "tests/data/tiny_store.h"

#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace gradwind::data
{
namespace
{

using nlohmann::json;
using Formula = std::function<float(int64_t date, int64_t member, int64_t cell, int64_t variable)>;

void expect_part(const Dataset& dataset, const std::vector<int64_t>& dates, const CellRanges& wanted,
                 std::span<const float> values, const Formula& formula)
{
    size_t at = 0;
    for (const auto date : dates)
        for (int64_t member = 0; member < dataset.n_members(); ++member)
            for (const auto& range : wanted.parts())
                for (auto cell = range.begin; cell < range.end; ++cell)
                    for (int64_t variable = 0; variable < dataset.n_variables(); ++variable)
                        ASSERT_EQ(values[at++], formula(date, member, cell, variable))
                            << "date " << date << " member " << member << " cell " << cell << " variable " << variable;
    ASSERT_EQ(at, values.size());
}

/// All of it, ranges of cells, and selections of cells.
void expect_values(const std::shared_ptr<const Dataset>& dataset, const Formula& formula)
{
    std::vector<int64_t> there;
    for (int64_t date = dataset->n_dates() - 1; date >= 0; --date)
        if (!dataset->missing()[size_t(date)])
            there.push_back(date);
    const auto n_cells = dataset->n_cells();
    std::mt19937 random(3);
    for (int turn = 0; turn < 8; ++turn) {
        CellRange range{0, n_cells};
        if (turn > 0)
            range = {int64_t(random() % uint64_t(n_cells)), n_cells - int64_t(random() % 3)};
        if (range.count() <= 0)
            continue;
        std::vector<float> values(there.size() * size_t(dataset->n_members() * range.count() * dataset->n_variables()));
        dataset->read(there, range, values);
        expect_part(*dataset, there, range, values, formula);
        const CellRanges two({{0, n_cells / 4}, {n_cells / 2 + turn % 2, n_cells}});
        const auto none = select_cells(dataset, CellRanges(0, 0));
        EXPECT_EQ(none->n_cells(), 0);
        EXPECT_EQ(none->decode_group(there[0]), dataset->decode_group(there[0]));
        none->read(there, {0, 0}, {});
        const auto some = select_cells(dataset, two);
        ASSERT_EQ(some->n_cells(), two.count());
        EXPECT_EQ(some->latitudes().back(), dataset->latitudes().back());
        values.resize(there.size() * size_t(dataset->n_members() * two.count() * dataset->n_variables()));
        some->read(there, {0, two.count()}, values);
        expect_part(*some, there, two, values, formula);
    }
}

class Combined : public ::testing::Test
{
protected:
    void SetUp() override
    {
        TinyStore store;
        store.missing = {4};
        store.write(folder_ / "a.zarr");
        other_.shape[1] = 3;
        other_.chunks = {1, 3, 2, 20};
        other_.write(folder_ / "b.zarr");
    }
    json of(const char* store, json options = json::object()) const
    {
        options["dataset"] = (folder_ / store).string();
        return options;
    }
    void expect_refused(const json& options, const std::string& text) const
    {
        try {
            (void)open_dataset(options);
            ADD_FAILURE() << options.dump() << " was taken";
        } catch (const ConfigError& error) {
            EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
        }
    }

    ScratchFolder folder_{"combined"};
    TinyStore other_;
};

TEST_F(Combined, JoinedVariablesOfWhichTheLastOfANameCounts)
{
    const auto both = open_dataset(
        json{{"join", {of("a.zarr"), of("b.zarr", {{"rename", {{"v0", "w"}, {"v1", "v2"}, {"v2", "v1"}}}})}}});
    EXPECT_EQ(both->variables(), (std::vector<std::string>{"v0", "v1", "v2", "v3", "v4", "w"}));
    EXPECT_EQ(both->missing(), (std::vector<char>{0, 0, 0, 0, 1, 0}));
    const std::vector<int64_t> source = {0, 2, 1, 3, 4, 0};
    expect_values(both, [&](int64_t date, int64_t member, int64_t cell, int64_t variable) {
        return TinyStore::value(date, source[size_t(variable)], member, cell);
    });
    EXPECT_GT(decoded_by(*both).chunks, 0);
    const auto tendencies = both->statistics_tendencies(21600);
    ASSERT_TRUE(tendencies);
    EXPECT_EQ(tendencies->mean.size(), 6u);
}

TEST_F(Combined, OptionsOfTheWholeReachItsParts)
{
    const json whole = {{"join", {of("a.zarr", {{"select", {"v3", "v0"}}}), of("b.zarr", {{"select", {"v2", "v1"}}})}},
                        {"select", {"v1", "v3", "v2"}},
                        {"member", 1},
                        {"thinning", 2},
                        {"start", format_datetime(TinyStore::date(1))},
                        {"frequency", "12h"}};
    const auto dataset = open_dataset(whole);
    ASSERT_EQ(dataset->n_cells(), 4 * 6);
    EXPECT_EQ(dataset->dates(), (std::vector<int64_t>{TinyStore::date(1), TinyStore::date(3), TinyStore::date(5)}));
    const std::vector<int64_t> source = {1, 3, 2};
    expect_values(dataset, [&](int64_t date, int64_t, int64_t cell, int64_t variable) {
        return TinyStore::value(1 + 2 * date, source[size_t(variable)], 1, 22 * (cell / 6) + 2 * (cell % 6));
    });
    const auto& combined = dynamic_cast<const CombinedDataset&>(*dataset);
    EXPECT_EQ(combined.parts()[0].dataset->variables(), (std::vector<std::string>{"v3"})) << "v0 is not read";
}

TEST_F(Combined, ConcatenatedDatesWithMissingOnesBetween)
{
    const auto date = [](int64_t i) { return format_datetime(TinyStore::date(i)); };
    const auto early = of("b.zarr", {{"end", date(1)}}), late = of("b.zarr", {{"start", date(4)}});
    const auto next = of("b.zarr", {{"start", date(2)}});
    const Formula formula = [](int64_t at, int64_t member, int64_t cell, int64_t variable) {
        return TinyStore::value(at, variable, member, cell);
    };
    const auto whole = open_dataset(json{{"concat", {early, next}}});
    EXPECT_EQ(whole->n_dates(), 6);
    expect_values(whole, formula);
    EXPECT_EQ(whole->decode_group(1) == whole->decode_group(2), false) << "in other stores";
    const auto gap = open_dataset(json{{"concat", {early, late}}, {"fill_missing_gaps", true}});
    EXPECT_EQ(gap->missing(), (std::vector<char>{0, 0, 1, 1, 0, 0}));
    expect_values(gap, formula);
    EXPECT_THROW(gap->read(std::array<int64_t, 1>{2}, {0, 0}, {}), DataError);
    const auto filled =
        open_dataset(json{{"concat", {early, late}}, {"fill_missing_gaps", true}, {"fill_missing_dates", "closest"}});
    expect_values(filled, [&](int64_t at, int64_t member, int64_t cell, int64_t variable) {
        return formula(at == 2 ? 1 : at == 3 ? 4 : at, member, cell, variable);
    });
    expect_refused({{"concat", {early, late}}}, "fill_missing_gaps");
    expect_refused({{"concat", {next, early}}}, "follow each other");
    const auto one = of("b.zarr", {{"start", date(1)}, {"end", date(1)}});
    expect_refused({{"concat", {one, one}}}, "follow each other");
    expect_refused({{"concat", {early, of("a.zarr", {{"start", date(2)}})}}}, "the variables v0, v1, v2");
    expect_refused({{"concat", {early, of("b.zarr", {{"start", date(2)}, {"frequency", "12h"}})}}}, "frequency");
}

TEST_F(Combined, GridsOneAfterTheOther)
{
    const auto dataset = open_dataset(json{{"grids", {of("b.zarr", {{"thinning", 5}}), of("b.zarr")}}});
    ASSERT_EQ(dataset->n_cells(), 2 * 3 + 77);
    EXPECT_EQ(grids_of(*dataset), (std::vector<int64_t>{6, 77}));
    expect_values(dataset, [](int64_t date, int64_t member, int64_t cell, int64_t variable) {
        return TinyStore::value(date, variable, member, cell < 6 ? 55 * (cell / 3) + 5 * (cell % 3) : cell - 6);
    });
    const auto inner =
        open_dataset(json{{"grids", {of("b.zarr", {{"thinning", 5}}), of("b.zarr")}}, {"area", {59.5, -20, 58.5, 0}}});
    EXPECT_EQ(inner->n_cells(), 11) << "of the second grid only its second row";
    EXPECT_EQ(grids_of(*inner), (std::vector<int64_t>{11}));
    expect_refused({{"grids", {of("a.zarr"), of("b.zarr")}}}, "adjust: variables");
}

TEST_F(Combined, AdjustedToWhatTheyShare)
{
    const auto date = [](int64_t i) { return format_datetime(TinyStore::date(i)); };
    const json parts = {of("a.zarr", {{"select", {"v1", "v4"}}, {"start", date(2)}}),
                        of("b.zarr", {{"select", {"v2"}}, {"frequency", "12h"}})};
    expect_refused({{"join", parts}}, "adjust: dates");
    const auto dataset = open_dataset(json{{"join", parts}, {"adjust", "dates"}});
    EXPECT_EQ(dataset->dates(), (std::vector<int64_t>{TinyStore::date(2), TinyStore::date(4)}));
    EXPECT_EQ(dataset->missing(), (std::vector<char>{0, 1}));
    expect_values(dataset, [](int64_t, int64_t member, int64_t cell, int64_t variable) {
        return TinyStore::value(2, std::array<int64_t, 3>{1, 4, 2}[size_t(variable)], member, cell);
    });
    const auto common = open_dataset(json{{"grids", {of("a.zarr"), of("b.zarr")}}, {"adjust", {"variables"}}});
    EXPECT_EQ(common->variables(), (std::vector<std::string>{"v0", "v1", "v2"}));
    expect_refused({{"join", parts}, {"adjust", "members"}}, "there are all, dates");
    expect_refused(
        {{"join", {of("a.zarr", {{"end", date(1)}}), of("b.zarr", {{"start", date(3)}})}}, {"adjust", "dates"}},
        "no date in common");
}

TEST_F(Combined, WhatDoesNotFitIsRefused)
{
    expect_refused({{"join", {of("a.zarr"), of("b.zarr", {{"thinning", 2}})}}}, "other grids");
    expect_refused({{"join", {of("a.zarr"), of("b.zarr", {{"member", 0}})}}}, "1; `select` them by `number`");
    expect_refused({{"join", json::array()}}, "must be a list of data sets");
    expect_refused({{"join", {of("a.zarr")}}, {"concat", {of("a.zarr")}}}, "nest one in the other");
    expect_refused({{"join", {of("a.zarr")}}, {"dataset", "a.zarr"}}, "both `dataset` and `join`");
    expect_refused({{"dataset", (folder_ / "a.zarr").string()}, {"adjust", "all"}}, "there is one");
    expect_refused({{"cutout", {of("b.zarr"), of("b.zarr")}}, {"neighbours", 2}}, "triangles need 3 or more");
    expect_refused({{"cutout", {of("b.zarr"), of("b.zarr")}}, {"min_distance_km", -1}}, "expected 0 or more");
}

/// What anemoi-datasets 0.5.47 gives for ERA5 ensembles around Europe, fine inside and coarse outside.
TEST(CutOut, KeepsTheCellsThatTheOriginalKeeps)
{
    const auto store = stores_folder() / "era5-global-ens.zarr";
    if (!std::filesystem::exists(store))
        GTEST_SKIP() << "no store " << store << "; GRADWIND_STORES names another folder";
    const auto of = [&](json options) {
        options["dataset"] = store.string();
        return options;
    };
    const auto europe = of({{"area", {62, -21, 28, 43}}}), africa = of({{"area", {45, 20, 10, 80}}});
    const auto pacific = of({{"area", {30, 160, -30, 200}}}), small = of({{"area", {60, -20, 30, 40}}});
    const struct {
        json options;
        int64_t n_cells;
        std::string sha256;
    } cases[] = {{{{"cutout", {europe, of({{"thinning", 3}})}}, {"min_distance_km", 150}},
                  1061,
                  "1b2e09caf59d1019b64f4f5f7369e93ae7baef4e6bc82232f66ad9d1bca3872b"},
                 {{{"cutout", {europe, of({{"thinning", 2}})}}},
                  2036,
                  "1f1d59374f8895b531241da45232470efb8069b49860609683b2a2af04c49d42"},
                 {{{"cutout", {europe, of({{"thinning", 2}})}},
                   {"max_distance_km", 900},
                   {"min_distance_km", 0},
                   {"neighbours", 3}},
                  292,
                  "8f6fd62a1b06ad9ccab4e819abddf01b02d68b00f0db334d2aae2b92f134d663"},
                 {{{"cutout", {small, africa, of({})}}, {"min_distance_km", 200}, {"neighbours", 4}},
                  7320,
                  "0773b54ca4f162ff7593e07fcb51b5cb7d07387dc6adaa527065fc8e9b41f6b3"},
                 {{{"cutout", {pacific, of({})}}, {"min_distance_km", 300}, {"cropping_distance", 5.0}},
                  7312,
                  "5fe20deb1b680cf9e29e370793ca0992076b0c67bafc7d4acd65e65cfb1f8492"}};
    for (const auto& expected : cases) {
        const auto dataset = open_dataset(expected.options);
        EXPECT_EQ(dataset->n_cells(), expected.n_cells) << expected.options.dump();
        EXPECT_EQ(sha256_of_values(*dataset, ValueOrder::DateVariableMemberCell), expected.sha256)
            << expected.options.dump();
        EXPECT_EQ(grids_of(*dataset).size(), expected.options["cutout"].size());
    }
}

} // namespace
} // namespace gradwind::data
