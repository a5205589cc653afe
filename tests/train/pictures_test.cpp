// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/pictures.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/process.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>

namespace gradwind::train
{
namespace
{

namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

class Pictures : public ::testing::Test
{
protected:
    void SetUp() override
    {
        if (!can_draw())
            GTEST_SKIP() << "gnuplot is not installed";
    }
    [[nodiscard]] fs::path file(const std::string& name) const { return folder_.path() / name; }
    /// A picture and nothing else: no script stays behind.
    void expect_picture(const fs::path& png) const
    {
        std::ifstream in(png, std::ios::binary);
        std::string bytes(8, '\0');
        in.read(bytes.data(), 8);
        EXPECT_EQ(bytes, "\x89PNG\r\n\x1a\n") << png;
        EXPECT_GT(fs::file_size(png), 1000U);
        for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
            EXPECT_NE(entry.path().extension(), ".gp") << entry.path();
    }

    /// 3 x 4 cells.
    std::vector<double> latitudes_ = {50, 50, 50, 50, 51, 51, 51, 51, 52, 52, 52, 52};
    std::vector<double> longitudes_ = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
    [[nodiscard]] MapPicture map(std::vector<MapPanel> panels) const
    {
        return {"t after 6h", "K", latitudes_, longitudes_, std::move(panels)};
    }

private:
    parallel::PrivateFolder folder_;
};

TEST_F(Pictures, Curves)
{
    draw_curves({"Loss", "step", "loss", Axis::Logarithmic, {{"training", {1, 2, 3}, {3, 2, 1}}}}, file("loss.png"));
    expect_picture(file("loss.png"));
}

TEST_F(Pictures, QuotesAndCommandsInTextsAreText)
{
    const std::string odd = "it's `touch x` $(touch x) \"%\" \\ \n {/Symbol a}_b'";
    draw_curves({odd, odd, odd, Axis::Linear, {{odd, {1, 2}, {3, 2}}}}, file("it's $(odd) \"name\".png"));
    expect_picture(file("it's $(odd) \"name\".png"));
    draw_maps(map({{odd, std::vector<float>(12, 1.0F), Palette::Sequential}}), file("map.png"));
    expect_picture(file("map.png"));
}

TEST_F(Pictures, CurvesWithoutAPointToDraw)
{
    draw_curves({"Loss", "step", "loss", Axis::Linear, {}}, file("none.png"));
    expect_picture(file("none.png"));
    draw_curves({"Loss", "step", "loss", Axis::Linear, {{"empty", {}, {}}, {"bad", {1, 2}, {kNone, kNone}}}},
                file("bad.png"));
    expect_picture(file("bad.png"));
    // A logarithm has no place for these.
    draw_curves({"Loss", "step", "loss", Axis::Logarithmic, {{"zero", {1, 2}, {0, -1}}}}, file("zero.png"));
    expect_picture(file("zero.png"));
}

TEST_F(Pictures, OnePoint)
{
    draw_curves({"Loss", "step", "loss", Axis::Linear, {{"training", {1}, {3}}}}, file("one.png"));
    expect_picture(file("one.png"));
}

TEST_F(Pictures, MapsWithHolesAndConstantFields)
{
    std::vector<float> values(12, 280.0F);
    draw_maps(
        map({{"constant", values, Palette::Sequential}, {"zero", std::vector<float>(12, 0.0F), Palette::Diverging}}),
        file("constant.png"));
    expect_picture(file("constant.png"));
    values[3] = float(kNone);
    values[5] = 290;
    draw_maps(map({{"forecast", values, Palette::Sequential}, {"error", values, Palette::Diverging}}),
              file("hole.png"));
    expect_picture(file("hole.png"));
    draw_maps(map({{"forecast", std::vector<float>(12, float(kNone)), Palette::Sequential},
                   {"error", std::vector<float>(12, float(kNone)), Palette::Diverging}}),
              file("nothing.png"));
    expect_picture(file("nothing.png"));
    draw_maps(map({{"large", std::vector<float>(12, 3e30F), Palette::Sequential}}), file("large.png"));
    expect_picture(file("large.png"));
}

TEST_F(Pictures, WhatCannotBeDrawnIsSaid)
{
    EXPECT_THROW(draw_maps(map({{"short", std::vector<float>(11), Palette::Sequential}}), file("short.png")),
                 ShapeError);
    try {
        draw_curves({"Loss", "step", "loss", Axis::Linear, {{"training", {1, 2}, {3, 2}}}},
                    file("absent/folder/loss.png"));
        FAIL();
    } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("absent/folder/loss.png"), std::string::npos) << error.what();
    }
    const std::string path = std::getenv("PATH");
    ::setenv("PATH", "/nonexistent", 1);
    EXPECT_FALSE(can_draw());
    EXPECT_THROW(draw_curves({"Loss", "step", "loss", Axis::Linear, {}}, file("loss.png")), DataError);
    ::setenv("PATH", path.c_str(), 1);
}

} // namespace
} // namespace gradwind::train
