// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The archives in tests/grid/data were written by numpy.savez and numpy.savez_compressed.
#include "gradwind/grid/npz.h"

#include "gradwind/core/error.h"

#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <unistd.h>

namespace gradwind::grid
{

namespace
{

const std::filesystem::path kData = std::filesystem::path(GRADWIND_SOURCE_DIR) / "tests/grid/data";

std::string bytes_of(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace

TEST(Npz, StoredArraysOfBothPrecisionsAreRead)
{
    EXPECT_EQ(read_npz_doubles(kData / "stored.npz", "latitudes"), (std::vector<double>{10.5, -20.25, 30}));
    EXPECT_EQ(read_npz_doubles(kData / "stored.npz", "longitudes"), (std::vector<double>{0, 1.5, 359}));
}

TEST(Npz, DeflatedArraysAreRead)
{
    const std::vector<double> values = read_npz_doubles(kData / "deflated.npz", "latitudes");
    ASSERT_EQ(values.size(), 150u);
    EXPECT_EQ(values[49], 10.5);
    EXPECT_EQ(values[50], -20.25);
    EXPECT_EQ(values[149], 30);
}

TEST(Npz, WhatIsMissingIsNamed)
{
    try {
        (void)read_npz_doubles(kData / "stored.npz", "lat");
        FAIL() << "no error";
    } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("latitudes"), std::string::npos) << error.what();
    }
    EXPECT_EQ(read_npz_doubles(kData / "stored.npz", "names"), (std::vector<double>{1, 2, 3})); // integers
    EXPECT_THROW((void)read_npz_doubles(kData / "no_such.npz", "latitudes"), DataError);
}

TEST(Npz, CutOrChangedArchivesAreRefusedOrReadButNeverOverrun)
{
    const auto path = std::filesystem::temp_directory_path() / ("gradwind-npz-" + std::to_string(getpid()) + ".npz");
    for (const char* name : {"stored.npz", "deflated.npz"}) {
        const std::string whole = bytes_of(kData / name);
        for (size_t size = 0; size < whole.size(); size += 7) {
            std::ofstream(path, std::ios::binary) << whole.substr(0, size);
            EXPECT_THROW((void)read_npz_doubles(path, "latitudes"), DataError) << size;
        }
        for (size_t at = 0; at < whole.size(); ++at) {
            std::string changed = whole;
            changed[at] = static_cast<char>(changed[at] ^ 0x81);
            std::ofstream(path, std::ios::binary) << changed;
            try {
                (void)read_npz_doubles(path, "latitudes");
            } catch (const DataError&) {
                continue;
            }
        }
    }
    std::filesystem::remove(path);
}

} // namespace gradwind::grid
