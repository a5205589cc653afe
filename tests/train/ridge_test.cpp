// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/ridge.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace gradwind::train
{
namespace
{

struct Grid {
    std::vector<double> latitudes, longitudes;
    void drop(int64_t cell)
    {
        latitudes.erase(latitudes.begin() + cell);
        longitudes.erase(longitudes.begin() + cell);
    }
};

/// North to south, west to east, as analyses are stored.
Grid regular(int64_t n_rows, int64_t n_columns, double west = -20, double spacing = 2.5)
{
    Grid grid;
    for (int64_t row = 0; row < n_rows; ++row) {
        for (int64_t column = 0; column < n_columns; ++column) {
            grid.latitudes.push_back(60 - 1.25 * double(row));
            grid.longitudes.push_back(std::fmod(west + spacing * double(column) + 360, 360));
        }
    }
    return grid;
}

std::optional<Neighbourhoods> find(const Grid& grid, int64_t radius = 2)
{
    return find_neighbourhoods(grid.latitudes, grid.longitudes, radius);
}

TEST(FindNeighbourhoods, CentresAreTwoCellsFromTheEdge)
{
    const auto found = find(regular(6, 7));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->width, 25);
    EXPECT_EQ(found->cells, (std::vector<int64_t>{16, 17, 18, 23, 24, 25}));
    // The square of the first centre starts in the south-west: row 4, column 0.
    EXPECT_EQ(found->neighbours[0], 28);
    EXPECT_EQ(found->neighbours[12], 16);
    EXPECT_EQ(found->neighbours[24], 4);
}

TEST(FindNeighbourhoods, HolesTakeTheirSurroundingsAway)
{
    auto grid = regular(5, 12);
    grid.drop(2 * 12 + 3); // row 2, column 3: columns 2 to 5 have it in their squares
    const auto found = find(grid);
    ASSERT_TRUE(found);
    // Columns 6 to 9 of row 2 remain; positions there are one less behind the hole.
    EXPECT_EQ(found->cells, (std::vector<int64_t>{29, 30, 31, 32}));
}

TEST(FindNeighbourhoods, WholeRowsMayBeMissing)
{
    auto grid = regular(11, 5);
    for (int i = 0; i < 5; ++i)
        grid.drop(5 * 5);
    const auto found = find(grid);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->cells, (std::vector<int64_t>{12, 37})); // rows 2 and 8
}

TEST(FindNeighbourhoods, TheOrderOfCellsDoesNotMatter)
{
    auto grid = regular(5, 6);
    std::swap(grid.latitudes[14], grid.latitudes[0]);
    std::swap(grid.longitudes[14], grid.longitudes[0]);
    const auto found = find(grid);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->cells, (std::vector<int64_t>{0, 15}));
}

TEST(FindNeighbourhoods, AnAreaAcrossTheMeridianIsOnePiece)
{
    for (const double west : {-5.0, 175.0}) {
        const auto found = find(regular(5, 6, west));
        ASSERT_TRUE(found) << west;
        EXPECT_EQ(found->cells, (std::vector<int64_t>{14, 15})) << west;
    }
}

TEST(FindNeighbourhoods, CoordinatesMayBeSinglePrecision)
{
    auto grid = regular(5, 9, 10, 1.0 / 3);
    for (auto& value : grid.longitudes)
        value = double(float(value));
    const auto found = find(grid);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->cells.size(), 5U);
}

TEST(FindNeighbourhoods, NothingForOtherGrids)
{
    EXPECT_FALSE(find({}));
    EXPECT_FALSE(find(regular(4, 9))) << "no row has two others on both sides";
    auto shifted = regular(8, 8);
    shifted.longitudes[20] += 0.4;
    EXPECT_FALSE(find(shifted));
    auto twice = regular(8, 8);
    twice.latitudes[20] = twice.latitudes[21];
    twice.longitudes[20] = twice.longitudes[21];
    EXPECT_FALSE(find(twice));
    Grid reduced; // rows of 20, 24, ... cells, as octahedral grids have
    for (int64_t row = 0; row < 16; ++row) {
        for (int64_t i = 0; i < 20 + 4 * row; ++i) {
            reduced.latitudes.push_back(87 - 5 * double(row));
            reduced.longitudes.push_back(360.0 * double(i) / double(20 + 4 * row));
        }
    }
    EXPECT_FALSE(find(reduced));
    std::mt19937 engine(1);
    std::uniform_real_distribution<double> anywhere(0, 60);
    Grid scattered;
    for (int i = 0; i < 200; ++i) {
        scattered.latitudes.push_back(anywhere(engine));
        scattered.longitudes.push_back(anywhere(engine));
    }
    EXPECT_FALSE(find(scattered));
}

/// Two variables; the change of one depends on the neighbour to the west one date ago, of the other on a constant.
class KnownMap
{
public:
    static constexpr int64_t kRows = 9, kColumns = 10;
    using Fields = std::vector<std::vector<float>>;

    Fields history()
    {
        Fields fields(2, std::vector<float>(size_t(kRows * kColumns * 2)));
        for (auto& field : fields) {
            for (size_t i = 0; i < field.size(); i += 2) {
                field[i] = 100 * normal_(engine_);
                field[i + 1] = 5 * normal_(engine_);
            }
        }
        return fields;
    }
    static std::vector<float> truth(const Fields& history)
    {
        auto out = history[0];
        for (size_t cell = 1; cell < size_t(kRows * kColumns); ++cell) {
            out[2 * cell] += 0.5F * history[1][2 * (cell - 1)] + 10 * history[0][2 * cell + 1];
            out[2 * cell + 1] += 3;
        }
        return out;
    }

private:
    std::mt19937 engine_{7};
    std::normal_distribution<float> normal_;
};

TEST(RidgeRegression, RecoversALinearMap)
{
    KnownMap map;
    const auto squares = find(regular(KnownMap::kRows, KnownMap::kColumns));
    ASSERT_TRUE(squares);
    RidgeRegression regression(*squares, {100, 5}, 2, 1e-6);
    EXPECT_EQ(regression.n_features(), 101);
    for (int i = 0; i < 60; ++i) {
        const auto history = map.history();
        regression.add(history, KnownMap::truth(history));
    }
    EXPECT_EQ(regression.n_dates(), 60);
    regression.fit();
    const auto history = map.history();
    const auto truth = KnownMap::truth(history), forecast = regression.forecast(history);
    ASSERT_EQ(forecast.size(), truth.size());
    for (const auto cell : regression.cells()) {
        EXPECT_NEAR(forecast[size_t(2 * cell)], truth[size_t(2 * cell)], 1e-3);
        EXPECT_NEAR(forecast[size_t(2 * cell) + 1], truth[size_t(2 * cell) + 1], 1e-4);
    }
    EXPECT_TRUE(std::isnan(forecast[0])) << "the corner has no square around it";
}

TEST(RidgeRegression, ThePenaltyShrinksTheConstantToo)
{
    // All values zero: only the constant has anything to explain, n rows of 3 against a penalty p give 3 n / (n + p).
    const auto squares = find(regular(5, 5));
    ASSERT_TRUE(squares);
    RidgeRegression regression(*squares, {0}, 1, 30);
    const std::vector<std::vector<float>> zeros(1, std::vector<float>(25, 0.0F));
    for (int i = 0; i < 10; ++i)
        regression.add(zeros, std::vector<float>(25, 3.0F));
    regression.fit();
    EXPECT_FLOAT_EQ(regression.forecast(zeros)[12], 3.0F * 10 / 40);
}

TEST(RidgeRegression, CentresWithoutAValueAreLeftOut)
{
    KnownMap map;
    const auto squares = find(regular(KnownMap::kRows, KnownMap::kColumns));
    RidgeRegression whole(*squares, {100, 5}, 2), torn(*squares, {100, 5}, 2);
    for (int i = 0; i < 20; ++i) {
        auto history = map.history();
        auto truth = KnownMap::truth(history);
        whole.add(history, truth);
        torn.add(history, truth);
        history[1].assign(history[1].size(), std::numeric_limits<float>::quiet_NaN());
        torn.add(history, truth);
        truth.assign(truth.size(), std::numeric_limits<float>::infinity());
        torn.add(map.history(), truth);
    }
    whole.fit();
    torn.fit();
    const auto history = map.history();
    const auto a = whole.forecast(history), b = torn.forecast(history);
    for (const auto cell : whole.cells())
        EXPECT_FLOAT_EQ(a[size_t(2 * cell)], b[size_t(2 * cell)]);
}

TEST(RidgeRegression, SizesThatDoNotFit)
{
    const auto squares = find(regular(5, 5));
    RidgeRegression regression(*squares, {1}, 2);
    const std::vector<std::vector<float>> fields(2, std::vector<float>(25, 1.0F)), few(1, std::vector<float>(25)),
        small(2, std::vector<float>(24));
    EXPECT_THROW(regression.add(few, fields[0]), ShapeError);
    EXPECT_THROW(regression.add(small, fields[0]), ShapeError);
    EXPECT_THROW(regression.add(fields, std::vector<float>(26)), ShapeError);
}

} // namespace
} // namespace gradwind::train
