// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Pictures of a run, drawn by gnuplot: loss curves, and maps of forecast, truth and error.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace gradwind::train
{

/// Whether gnuplot is on PATH; without it the draw functions throw.
[[nodiscard]] bool can_draw();

struct Curve {
    std::string title;
    std::vector<double> x, y;
};

enum class Axis { Linear, Logarithmic };

struct CurvePicture {
    std::string title, x_label, y_label;
    Axis y_axis = Axis::Linear;
    std::vector<Curve> curves;
};

/// Writes a PNG. @throws DataError naming the file and what gnuplot said
void draw_curves(const CurvePicture& picture, const std::filesystem::path& png);

enum class Palette { Sequential, Diverging };

struct MapPanel {
    std::string title;
    std::vector<float> values; ///< one per cell; NaN is left out
    Palette palette = Palette::Sequential;
};

/// Panels side by side over the same cells. Sequential panels share one colour range; diverging ones are symmetric.
struct MapPicture {
    std::string title, unit;
    std::span<const double> latitudes_deg, longitudes_deg;
    std::vector<MapPanel> panels;
};

/// Writes a PNG. @throws DataError naming the file and what gnuplot said
void draw_maps(const MapPicture& picture, const std::filesystem::path& png);

} // namespace gradwind::train
