// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Genuine Anemoi stores must read as the original reads them, bit for bit. Written for the format of the references,
// so that a folder with other stores can be given by GRADWIND_STORES.
#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/inspect_sha256.h"
#include "gradwind/data/open_dataset.h"
#include "gradwind/data/windows.h"
#include "tests/data/stores.h"

#include <cmath>
#include <gtest/gtest.h>

namespace gradwind::data
{
namespace
{

using nlohmann::json;
namespace fs = std::filesystem;

std::string sha256(std::span<const double> values)
{
    Sha256 sum;
    sum.add(values);
    return sum.hex();
}

std::string text_of(const json& value)
{
    return value.is_null() ? std::string() : value.is_string() ? value.get<std::string>() : value.dump();
}

std::shared_ptr<const Dataset> open_variant(const fs::path& store, const json& variant)
{
    auto options = variant.value("inner", json::object());
    options["dataset"] = store.string();
    const auto outer = variant.value("outer", json::object());
    for (const auto& [key, value] : outer.items())
        EXPECT_TRUE(key == "start" || key == "end") << key;
    return open_dataset(options, {text_of(outer.value("start", json())), text_of(outer.value("end", json()))});
}

void expect_close(const std::vector<double>& found, const json& expected, const std::string& what)
{
    ASSERT_EQ(found.size(), expected.size()) << what;
    for (size_t i = 0; i < found.size(); ++i) {
        const double value = expected[i].is_null() ? std::nan("") : expected[i].get<double>();
        EXPECT_TRUE(found[i] == value || (std::isnan(found[i]) && std::isnan(value)))
            << what << "[" << i << "]: " << found[i] << " for " << value;
    }
}

void expect_statistics(const Statistics& found, const json& expected, const std::string& what)
{
    expect_close(found.mean, expected.at("mean"), what + " mean");
    expect_close(found.stdev, expected.at("stdev"), what + " stdev");
    expect_close(found.minimum, expected.at("minimum"), what + " minimum");
    expect_close(found.maximum, expected.at("maximum"), what + " maximum");
}

void expect_dates(const Dataset& dataset, const json& expected)
{
    ASSERT_EQ(dataset.n_dates(), expected.at("count").get<int64_t>());
    EXPECT_EQ(format_datetime(dataset.dates().front()), expected.at("first"));
    EXPECT_EQ(format_datetime(dataset.dates().back()), expected.at("last"));
    if (!expected.contains("all"))
        return;
    for (size_t i = 0; i < dataset.dates().size(); ++i)
        EXPECT_EQ(format_datetime(dataset.dates()[i]), expected["all"].at(i));
}

float value_at(const Dataset& dataset, const json& index)
{
    const auto date = index.at(0).get<int64_t>(), variable = index.at(1).get<int64_t>();
    const auto member = index.at(2).get<int64_t>(), cell = index.at(3).get<int64_t>();
    std::vector<float> values(size_t(dataset.n_members() * dataset.n_variables()));
    dataset.read({&date, 1}, {cell, cell + 1}, values);
    return values[size_t(member * dataset.n_variables() + variable)];
}

void expect_samples(const Dataset& dataset, const json& samples)
{
    for (const auto& sample : samples) {
        const auto found = value_at(dataset, sample.at("index"));
        const auto& value = sample.at("value");
        const double expected = value.is_number() ? value.get<double>() : std::nan("");
        EXPECT_TRUE(double(found) == expected || (std::isnan(found) && std::isnan(expected))) << sample << " " << found;
    }
}

/// What is common to a store and its variants.
void expect_description(const Dataset& dataset, const json& expected)
{
    const std::vector<int64_t> shape = {dataset.n_dates(), dataset.n_variables(), dataset.n_members(),
                                        dataset.n_cells()};
    EXPECT_EQ(json(shape), expected.at("shape"));
    EXPECT_EQ(json(dataset.variables()), expected.at("variables"));
    expect_dates(dataset, expected.at("dates"));
    EXPECT_EQ(dataset.frequency_s(),
              expected.at("frequency_seconds").is_null() ? 0 : expected["frequency_seconds"].get<int64_t>());
    std::vector<int64_t> missing;
    for (int64_t i = 0; i < dataset.n_dates(); ++i)
        if (dataset.missing()[size_t(i)])
            missing.push_back(i);
    EXPECT_EQ(json(missing), expected.at("missing"));
    expect_statistics(dataset.statistics(), expected.at("statistics"), "statistics");
    EXPECT_EQ(json(dataset.field_shape()), expected.value("field_shape", json(dataset.field_shape())));
    expect_samples(dataset, expected.at("samples"));
    EXPECT_EQ(sha256_of_values(dataset, ValueOrder::DateVariableMemberCell), expected.at("sha256"));
}

void expect_coordinates(const Dataset& dataset, const json& reference)
{
    for (const auto& [name, found] :
         {std::pair{"latitudes", dataset.latitudes()}, {"longitudes", dataset.longitudes()}}) {
        const auto& expected = reference.at(name);
        EXPECT_EQ(sha256(found), expected.at("sha256_f64")) << name;
        for (size_t i = 0; i < expected.at("first").size(); ++i)
            EXPECT_EQ(found.at(i), expected["first"][i].get<double>()) << name;
        for (size_t i = 0; i < expected.at("last").size(); ++i)
            EXPECT_EQ(found.at(found.size() - expected["last"].size() + i), expected["last"][i].get<double>()) << name;
    }
}

/// Sums by variable and by date, which tell what differs when the sum of everything does.
void expect_parts(const Dataset& dataset, const json& reference)
{
    const auto n_variables = size_t(dataset.n_variables());
    const auto n_points = size_t(dataset.n_members() * dataset.n_cells());
    std::vector<float> values(n_points * n_variables), line(n_points);
    std::vector<Sha256> sums(n_variables);
    std::vector<double> totals(n_variables, 0), sizes(n_variables, 0);
    std::vector<int64_t> nans(n_variables, 0);
    for (int64_t date = 0; date < dataset.n_dates(); ++date) {
        if (dataset.missing()[size_t(date)])
            continue;
        dataset.read({&date, 1}, {0, dataset.n_cells()}, values);
        Sha256 of_date;
        for (size_t v = 0; v < n_variables; ++v) {
            for (size_t point = 0; point < n_points; ++point) {
                line[point] = values[point * n_variables + v];
                nans[v] += std::isnan(line[point]);
                totals[v] += std::isnan(line[point]) ? 0 : double(line[point]);
                sizes[v] += std::isnan(line[point]) ? 0 : std::abs(double(line[point]));
            }
            sums[v].add(std::span<const float>(line));
            of_date.add(std::span<const float>(line));
        }
        const auto found = of_date.hex();
        EXPECT_EQ(found, reference.at("sha256_of_dates").value(std::to_string(date), found)) << "date " << date;
    }
    for (size_t v = 0; v < n_variables; ++v) {
        const auto& name = dataset.variables()[v];
        EXPECT_EQ(sums[v].hex(), reference.at("sha256_of_variables").at(name)) << name;
        EXPECT_EQ(nans[v], reference.at("nan_count_of_variables").at(name).get<int64_t>()) << name;
        EXPECT_NEAR(totals[v], reference.at("sum_f64_of_variables").at(name).get<double>(), 1e-10 * sizes[v]) << name;
    }
}

void expect_refused_reads(const Dataset& dataset, const json& reads)
{
    for (const auto& read : reads) {
        std::vector<int64_t> dates;
        if (read.at("index").is_array())
            for (auto date = read["index"][0].get<int64_t>(); date < read["index"][1].get<int64_t>(); ++date)
                dates.push_back(date);
        else
            dates.push_back(read["index"].get<int64_t>());
        std::vector<float> out(dates.size() * size_t(dataset.n_members() * dataset.n_variables()));
        // The part after the type: "Date 1996-01-09T06:00:00 is missing (index=17)".
        const auto original = read.at("error").get<std::string>();
        const auto message = original.substr(original.find("Date "));
        try {
            dataset.read(dates, {0, 1}, out);
            ADD_FAILURE() << "was read: " << read;
        } catch (const DataError& error) {
            EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
        }
    }
}

void expect_variant(const fs::path& store, const json& variant)
{
    SCOPED_TRACE(variant.at("inner").dump() + " " + variant.at("outer").dump());
    if (variant.contains("error")) {
        EXPECT_THROW(open_variant(store, variant), ConfigError);
        return;
    }
    const auto dataset = open_variant(store, variant);
    expect_description(*dataset, variant);
    if (variant.contains("latitudes_sha256_f64")) {
        EXPECT_EQ(sha256(dataset->latitudes()), variant["latitudes_sha256_f64"]);
        EXPECT_EQ(sha256(dataset->longitudes()), variant.at("longitudes_sha256_f64"));
    }
    const auto arrays = variant.value("supporting_arrays", json::object());
    EXPECT_EQ(dataset->info().masks.size(), arrays.size());
    for (const auto& mask : dataset->info().masks) {
        EXPECT_EQ(arrays.at(mask.name).at("shape"), json({mask.kept.size()}));
        EXPECT_EQ(arrays.at(mask.name).at("true"), std::count(mask.kept.begin(), mask.kept.end(), char(1)));
    }
}

std::string sha256_of_sample(const Dataset& dataset, int64_t anchor, const std::vector<int64_t>& window,
                             CellRange cells)
{
    std::vector<int64_t> dates;
    for (const auto offset : window)
        dates.push_back(anchor + offset);
    std::vector<float> values(dates.size() * size_t(dataset.n_members() * cells.count() * dataset.n_variables()));
    dataset.read(dates, cells, values);
    Sha256 sum;
    sum.add(std::span<const float>(values));
    return sum.hex();
}

void expect_training(const fs::path& store, const json& training)
{
    SCOPED_TRACE("training " + training.at("inner").dump() + " " + training.at("outer").dump());
    const auto dataset = open_variant(store, training);
    const auto window = training.at("relative_indices").get<std::vector<int64_t>>();
    const auto anchors = valid_anchors(*dataset, window);
    const auto& expected = training.at("valid_positions");
    ASSERT_EQ(int64_t(anchors.size()), expected.at("count").get<int64_t>());
    Sha256 sum;
    sum.add(std::span<const int64_t>(anchors));
    EXPECT_EQ(sum.hex(), expected.at("sha256_int64"));
    for (size_t i = 0; i < expected.at("first").size(); ++i)
        EXPECT_EQ(anchors[i], expected["first"][i].get<int64_t>());
    for (const auto& sample : training.at("samples"))
        EXPECT_EQ(sha256_of_sample(*dataset, sample.at("position"), window, {0, dataset->n_cells()}),
                  sample.at("sha256"))
            << sample;
    for (const auto& sharded : training.value("sharded_first_sample", json::array()))
        for (const auto& rank : sharded.at("ranks")) {
            const auto cells = rank.at("cells").get<std::vector<int64_t>>();
            EXPECT_EQ(sha256_of_sample(*dataset, anchors.at(0), window, {cells.at(0), cells.at(1)}), rank.at("sha256"))
                << rank;
        }
}

TEST(Stores, ReadAsTheOriginalReadsThem)
{
    const auto references = find_references(stores_folder());
    if (references.empty())
        GTEST_SKIP() << "no stores in " << stores_folder() << "; set GRADWIND_STORES to a folder with *.reference.json";
    for (const auto& path : references) {
        SCOPED_TRACE(path.filename().string());
        const auto reference = load_json(path);
        const auto dataset = open_dataset(store_of(path));
        expect_description(*dataset, reference);
        expect_coordinates(*dataset, reference);
        expect_parts(*dataset, reference);
        EXPECT_EQ(dataset->resolution(), text_of(reference.at("resolution")));
        EXPECT_EQ(json(dataset->constant_fields()), reference.at("constant_fields"));
        const auto tendencies = reference.value("statistics_tendencies", json::object());
        for (const auto& [delta, expected] : tendencies.items()) {
            const auto found = dataset->statistics_tendencies(parse_frequency(delta));
            ASSERT_TRUE(found) << delta;
            expect_statistics(*found, expected, delta);
        }
        EXPECT_FALSE(dataset->statistics_tendencies(7));
        expect_refused_reads(*dataset, reference.value("reads_of_missing_dates", json::array()));
    }
}

TEST(Stores, OptionsGiveWhatTheOriginalGives)
{
    const auto references = find_references(stores_folder());
    if (references.empty())
        GTEST_SKIP() << "no stores in " << stores_folder();
    for (const auto& path : references) {
        SCOPED_TRACE(path.filename().string());
        const auto reference = load_json(path);
        for (const auto& variant : reference.at("open"))
            expect_variant(store_of(path), variant);
    }
}

TEST(Stores, TrainingWindowsAreThoseOfTheOriginal)
{
    const auto references = find_references(stores_folder());
    if (references.empty())
        GTEST_SKIP() << "no stores in " << stores_folder();
    for (const auto& path : references) {
        SCOPED_TRACE(path.filename().string());
        for (const auto& training : load_json(path).value("training", json::array()))
            expect_training(store_of(path), training);
    }
}

void expect_encoding(const fs::path& folder, const json& variant, const json& manifest)
{
    SCOPED_TRACE(variant.at("store").get<std::string>());
    const auto store = folder / variant["store"].get<std::string>();
    try {
        const auto dataset = open_dataset(store);
        const auto found = sha256_of_values(*dataset, ValueOrder::DateVariableMemberCell);
        const bool equal = variant.value("equals_reference", false);
        EXPECT_EQ(found, equal ? manifest.at("sha256") : variant.at("sha256"));
        EXPECT_EQ(sha256(dataset->latitudes()), manifest.at("latitudes_sha256_f64"));
        EXPECT_EQ(sha256(dataset->longitudes()), manifest.at("longitudes_sha256_f64"));
        EXPECT_EQ(json(dataset->variables()), manifest.at("variables"));
        expect_statistics(dataset->statistics(), manifest.at("statistics"), "statistics");
        if (equal)
            expect_samples(*dataset, manifest.at("samples"));
    } catch (const DataError& error) {
        EXPECT_FALSE(variant.at("required").get<bool>()) << error.what();
        // A refusal says what is not supported, or what is absent.
        const std::string message = error.what();
        EXPECT_TRUE(message.find("support") != std::string::npos || message.find("absent") != std::string::npos)
            << message;
    }
}

TEST(Stores, EveryEncodingReadsTheSame)
{
    const auto root = stores_folder();
    int64_t manifests = 0;
    if (fs::is_directory(root))
        for (const auto& entry : fs::directory_iterator(root)) {
            if (!fs::exists(entry.path() / "manifest.json"))
                continue;
            ++manifests;
            const auto manifest = load_json(entry.path() / "manifest.json");
            for (const auto& variant : manifest.at("stores"))
                expect_encoding(entry.path(), variant, manifest);
        }
    if (manifests == 0)
        GTEST_SKIP() << "no manifest.json below " << root;
}

} // namespace
} // namespace gradwind::data
