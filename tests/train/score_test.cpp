// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/score.h"

#include "gradwind/core/error.h"

#include <cmath>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace gradwind::train
{
namespace
{

ScoreSheet sheet()
{
    return ScoreSheet("2 cells", {"model", "persistence"}, {"t", "p"}, {"K", "Pa"}, {6 * 3600, 24 * 3600});
}

TEST(ScoreSheet, RootOfTheMeanOverDatesAndCells)
{
    auto scores = sheet();
    const std::vector<float> truth = {280, 1000, 290, 1010};
    const std::vector<float> first = {281, 1000, 290, 1010}; // t off by 1 in one of two cells
    const std::vector<float> second = {280, 1000, 287, 1014};
    scores.add(0, 1, first, truth);
    scores.add(0, 1, second, truth);
    EXPECT_DOUBLE_EQ(scores.rmse(0, 1, 0), std::sqrt((1.0 + 9.0) / 4));
    EXPECT_DOUBLE_EQ(scores.rmse(0, 1, 1), 2.0);
    EXPECT_EQ(scores.n_dates(0, 1), 2);
    EXPECT_TRUE(std::isnan(scores.rmse(0, 0, 0)));
}

TEST(ScoreSheet, GainIsRelativeToTheLastMethod)
{
    auto scores = sheet();
    const std::vector<float> truth = {0, 0, 0, 0};
    scores.add(0, 0, std::vector<float>{3, 1, 3, 1}, truth);
    scores.add(1, 0, std::vector<float>{4, 1, 4, 1}, truth);
    EXPECT_DOUBLE_EQ(scores.gain(0, 0), 0.25);
    EXPECT_NE(scores.format().find("25.0 %"), std::string::npos);
    EXPECT_EQ(scores.to_json()["scores"][0]["rmse"]["persistence"], 4.0);
}

TEST(ScoreSheet, OnlyTheCellsAsked)
{
    auto scores = sheet();
    const std::vector<float> truth = {0, 0, 0, 0};
    const std::vector<int64_t> cells = {1};
    scores.add(0, 0, std::vector<float>{100, 100, 2, 3}, truth, cells);
    EXPECT_DOUBLE_EQ(scores.rmse(0, 0, 0), 2.0);
    EXPECT_DOUBLE_EQ(scores.rmse(0, 0, 1), 3.0);
}

TEST(ScoreSheet, RefusesFieldsOfAnotherSize)
{
    auto scores = sheet();
    EXPECT_THROW(scores.add(0, 0, std::vector<float>{1, 2, 3}, std::vector<float>{1, 2, 3}), ShapeError);
    EXPECT_THROW(scores.add(0, 0, std::vector<float>{1, 2}, std::vector<float>{1, 2, 3, 4}), ShapeError);
}

} // namespace
} // namespace gradwind::train
