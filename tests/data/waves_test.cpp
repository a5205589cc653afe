// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// The generated atmosphere against the equations that it is said to solve.
#include "gradwind/data/waves.h"

#include "gradwind/core/datetime.h"
#include "gradwind/core/error.h"
#include "gradwind/data/create_dataset.h"
#include "tests/data/zarr_check.h"

#include <functional>
#include <gtest/gtest.h>
#include <numbers>

namespace gradwind::data
{
namespace
{

using testing::read_json;
using testing::TempFolder;
using testing::ZarrCheck;

constexpr double degree = std::numbers::pi / 180;

/// A flow with waves of every kind: m = n, m = 1, high degree.
WaveFlow flow()
{
    WaveFlow flow;
    flow.waves = {{1, 1, 3, 0.2}, {3, 3, 8, 0.4}, {5, 1, 6, 1.0}, {7, 4, 5, 2.0}, {12, 5, 4, 3.0}, {4, 2, 7, -1.0}};
    return flow;
}

/// A field at one place (radians) and moment.
double at(const WaveFlow& flow, WaveField field, double latitude, double longitude, double seconds = 0)
{
    const std::vector<double> lat = {latitude / degree};
    const std::vector<double> lon = {longitude / degree};
    std::vector<double> out(1);
    PlanetaryWaves(flow, lat, lon).evaluate(field, seconds, out);
    return out[0];
}

using Function = std::function<double(double, double)>;

/// Central differences of fourth order.
double along_latitude(const Function& f, double latitude, double longitude, double h = 1e-3)
{
    return (8 * (f(latitude + h, longitude) - f(latitude - h, longitude)) - f(latitude + 2 * h, longitude) +
            f(latitude - 2 * h, longitude)) /
           (12 * h);
}

double along_longitude(const Function& f, double latitude, double longitude, double h = 1e-3)
{
    const Function turned = [&](double lon, double lat) { return f(lat, lon); };
    return along_latitude(turned, longitude, latitude, h);
}

/// div(k grad f) on the unit sphere.
double divergence_of_gradient(const Function& k, const Function& f, double latitude, double longitude)
{
    const Function north = [&](double lat, double lon) {
        return std::cos(lat) * k(lat, lon) * along_latitude(f, lat, lon);
    };
    const Function east = [&](double lat, double lon) { return k(lat, lon) * along_longitude(f, lat, lon); };
    const double c = std::cos(latitude);
    return along_latitude(north, latitude, longitude) / c + along_longitude(east, latitude, longitude) / (c * c);
}

const std::vector<std::pair<double, double>> places = {{0.1, 0.3}, {-0.7, 2.0}, {1.2, -1.0}, {-1.4, 4.0}, {0.6, 6.0}};
const Function one = [](double, double) { return 1.0; };

TEST(Waves, WindsAreDerivativesOfTheStreamFunction)
{
    const auto f = flow();
    const Function psi = [&](double lat, double lon) { return at(f, WaveField::StreamFunction, lat, lon); };
    for (const auto& [lat, lon] : places) {
        EXPECT_NEAR(at(f, WaveField::EastwardWind, lat, lon), -along_latitude(psi, lat, lon) / f.radius, 1e-7);
        EXPECT_NEAR(at(f, WaveField::NorthwardWind, lat, lon),
                    along_longitude(psi, lat, lon) / (f.radius * std::cos(lat)), 1e-7);
    }
    // Finite and continuous at the pole.
    EXPECT_NEAR(at(f, WaveField::NorthwardWind, 90 * degree, 1.0),
                at(f, WaveField::NorthwardWind, 89.9999 * degree, 1.0), 1e-4);
}

TEST(Waves, AmplitudeIsTheRootMeanSquareWindOfAWave)
{
    WaveFlow f;
    f.zonal_speed = 0;
    f.waves = {{6, 3, 5, 0.7}};
    double energy = 0;
    double area = 0;
    for (int row = 0; row < 180; ++row)
        for (int column = 0; column < 24; ++column) {
            const double lat = (row - 89.5) * degree;
            const double lon = column * 15 * degree;
            const double u = at(f, WaveField::EastwardWind, lat, lon);
            const double v = at(f, WaveField::NorthwardWind, lat, lon);
            energy += std::cos(lat) * (u * u + v * v);
            area += std::cos(lat);
        }
    EXPECT_NEAR(std::sqrt(energy / area), 5, 1e-3);
}

/// A spherical harmonic is an eigenfunction, and the linear vorticity equation holds.
TEST(Waves, SolveTheLinearVorticityEquation)
{
    const auto whole = flow();
    for (const auto& wave : whole.waves) {
        WaveFlow f;
        f.waves = {wave};
        WaveFlow calm = f;
        calm.waves.clear();
        const double time = 1e5;
        const Function psi = [&](double lat, double lon) {
            return at(f, WaveField::StreamFunction, lat, lon, time) -
                   at(calm, WaveField::StreamFunction, lat, lon, time);
        };
        const double zonal = f.zonal_speed / f.radius;
        for (const auto& [lat, lon] : places) {
            const double eigen = double(wave.n) * (wave.n + 1);
            const double scale = wave.amplitude * f.radius / std::sqrt(eigen);
            EXPECT_NEAR(divergence_of_gradient(one, psi, lat, lon), -eigen * psi(lat, lon), 2e-5 * eigen * scale);
            const Function in_time = [&](double t, double) { return at(f, WaveField::StreamFunction, lat, lon, t); };
            const double tendency = along_latitude(in_time, time, 0, 100);
            const double slope = along_longitude(psi, lat, lon);
            // (d/dt + w d/dlon) zeta + 2 (W + w) / a^2 dpsi/dlon = 0 with zeta = -n (n + 1) psi / a^2
            EXPECT_NEAR(-eigen * (tendency + zonal * slope) + 2 * (f.rotation + zonal) * slope, 0,
                        1e-6 * f.rotation * scale * eigen);
        }
    }
}

TEST(Waves, TurnWithoutChangeOfShape)
{
    const auto whole = flow();
    const double time = 10 * 86400;
    for (const auto& wave : whole.waves) {
        WaveFlow f;
        f.waves = {wave};
        const double turn = PlanetaryWaves(f, {}, {}).angular_speed(wave) * time;
        for (const auto field : {WaveField::EastwardWind, WaveField::NorthwardWind, WaveField::Geopotential})
            for (const auto& [lat, lon] : places)
                EXPECT_NEAR(at(f, field, lat, lon, time), at(f, field, lat, lon - turn, 0), 1e-7);
    }
    // The textbook's number: n = 5 on a fluid at rest goes west at 2 W / 30.
    WaveFlow rest;
    rest.zonal_speed = 0;
    EXPECT_DOUBLE_EQ(PlanetaryWaves(rest, {}, {}).angular_speed({5, 2, 1, 0}), -2 * rest.rotation / 30);
    const double turn = whole.zonal_speed / whole.radius * time;
    for (const auto& [lat, lon] : places) {
        EXPECT_NEAR(at(whole, WaveField::Tracer, lat, lon, time), at(whole, WaveField::Tracer, lat, lon - turn), 1e-15);
        EXPECT_GT(at(whole, WaveField::Tracer, lat, lon), 0);
    }
}

TEST(Waves, GeopotentialIsInBalance)
{
    const auto f = flow();
    WaveFlow calm = f;
    calm.waves.clear();
    const Function psi = [&](double lat, double lon) {
        return at(f, WaveField::StreamFunction, lat, lon) - at(calm, WaveField::StreamFunction, lat, lon);
    };
    const Function phi = [&](double lat, double lon) {
        return at(f, WaveField::Geopotential, lat, lon) - at(calm, WaveField::Geopotential, lat, lon);
    };
    const Function coriolis = [&](double lat, double) { return 2 * f.rotation * std::sin(lat); };
    const Function zonal = [&](double lat, double lon) { return at(calm, WaveField::Geopotential, lat, lon); };
    for (const auto& [lat, lon] : places) {
        const double balance = divergence_of_gradient(coriolis, psi, lat, lon);
        EXPECT_NEAR(divergence_of_gradient(one, phi, lat, lon), balance, 1e-4 * std::abs(balance) + 5);
        const double u = at(calm, WaveField::EastwardWind, lat, lon);
        EXPECT_NEAR(along_latitude(zonal, lat, lon) / f.radius,
                    -coriolis(lat, lon) * u - u * u * std::tan(lat) / f.radius, 1e-9);
        EXPECT_NEAR(at(f, WaveField::SurfacePressure, lat, lon),
                    1e5 * (1 + (at(f, WaveField::Geopotential, lat, lon) - 54000) / 82660), 1e-6);
    }
}

TEST(Waves, RandomWavesFollowTheSeed)
{
    const auto a = random_waves(8, 9, 12, 5);
    const auto b = random_waves(8, 9, 12, 5);
    const auto c = random_waves(8, 9, 12, 6);
    double energy = 0;
    bool differ = false;
    for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].phase, b[i].phase);
        differ = differ || a[i].phase != c[i].phase;
        EXPECT_TRUE(a[i].m >= 2 && a[i].m <= a[i].n && a[i].n <= 9);
        energy += a[i].amplitude * a[i].amplitude;
    }
    EXPECT_TRUE(differ);
    EXPECT_NEAR(std::sqrt(energy), 12, 1e-12);
    WaveFlow wrong;
    wrong.waves = {{2, 3, 1, 0}};
    EXPECT_THROW(PlanetaryWaves(wrong, {}, {}), ConfigError);
}

TEST(Waves, ExampleStoreHoldsTheAnalyticFields)
{
    TempFolder folder;
    const auto path = std::filesystem::path(GRADWIND_SOURCE_DIR) / "examples" / "waves" / "dataset.yaml";
    const std::vector<std::string> shorter = {"dates.end=2000-01-03T18:00:00",
                                              "output.chunking={dates: 5, values: 999}"};
    const auto recipe = parse_recipe(load_recipe(path, shorter), path.parent_path());
    const auto store = folder.path / "waves.zarr";
    const auto report = create_dataset(recipe, {store, ZarrWriter::Existing::Refuse, {}});
    EXPECT_EQ(report.shape, (std::vector<int64_t>{12, 14, 1, 5248}));
    const ZarrCheck<float> data(store / "data", 0);
    const ZarrCheck<double> lat(store / "latitudes", 0);
    const ZarrCheck<double> lon(store / "longitudes", 0);
    WaveFlow f;
    f.waves = random_waves(8, 8, 12, 1);
    std::vector<double> v(5248);
    PlanetaryWaves(f, lat.values, lon.values).evaluate(WaveField::NorthwardWind, 7 * 21600, v);
    const size_t v_500 = 12;
    ASSERT_EQ(report.variables[v_500], "v_500");
    for (size_t cell = 0; cell < v.size(); ++cell)
        ASSERT_EQ(data.values[(7 * 14 + v_500) * 5248 + cell], float(v[cell])) << cell;
    const auto attributes = read_json(store / ".zattrs");
    EXPECT_EQ(attributes.at("resolution"), "o32");
    EXPECT_EQ(attributes.at("variables_metadata").at("z_500").at("mars").at("levelist"), 500);
    // Noise changes every value by about its share, the same way each time.
    const std::vector<std::string> noisy = {shorter[0], "input.join.0.planetary_waves.noise=0.1"};
    for (const char* name : {"a.zarr", "b.zarr"})
        create_dataset(parse_recipe(load_recipe(path, noisy), path.parent_path()),
                       {folder.path / name, ZarrWriter::Existing::Refuse, {}});
    const ZarrCheck<float> a(folder.path / "a.zarr" / "data", 0);
    const ZarrCheck<float> b(folder.path / "b.zarr" / "data", 0);
    EXPECT_EQ(a.values, b.values);
    double noise = 0;
    double spread = 0;
    for (size_t cell = 0; cell < v.size(); ++cell) {
        noise += std::pow(a.values[(7 * 14 + v_500) * 5248 + cell] - v[cell], 2);
        spread += v[cell] * v[cell];
    }
    EXPECT_NEAR(std::sqrt(noise / spread), 0.1, 0.01);
}

} // namespace
} // namespace gradwind::data
