// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/pictures.h"

#include "gradwind/core/error.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <unistd.h>

namespace gradwind::train
{

namespace
{

/// gnuplot's single-quoted strings escape a quote by doubling it.
std::string quoted(const std::string& text)
{
    std::string out = "'";
    for (const char c : text) {
        if (c == '\'')
            out += '\'';
        if (c != '\n')
            out += c;
    }
    return out + "'";
}

/// One word of a shell command.
std::string shell_word(const std::string& text)
{
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

/// A script and its data as one file beside the picture, removed when done.
void run_gnuplot(const std::string& script, const std::filesystem::path& png)
{
    GRADWIND_CHECK(can_draw(), DataError, "[pictures] gnuplot is not installed (Debian: gnuplot-nox); {} was not drawn",
                   png.string());
    const auto script_file = png.string() + ".gp";
    {
        std::ofstream out(script_file);
        out << script;
        GRADWIND_CHECK(out.good(), DataError, "[pictures] cannot write {}", script_file);
    }
    const auto command = fmt::format("gnuplot {} 2>&1", shell_word(script_file));
    std::string said;
    auto* pipe = ::popen(command.c_str(), "r");
    GRADWIND_CHECK(pipe != nullptr, DataError, "[pictures] cannot start gnuplot");
    char buffer[512];
    while (std::fgets(buffer, sizeof buffer, pipe))
        said += buffer;
    const int status = ::pclose(pipe);
    ::unlink(script_file.c_str());
    GRADWIND_CHECK(status == 0, DataError, "[pictures] gnuplot could not draw {}: {}", png.string(), said);
}

/// Lines "x y" of the points that an axis has a place for.
std::string points(const Curve& curve, Axis y_axis)
{
    std::string out;
    for (size_t i = 0; i < std::min(curve.x.size(), curve.y.size()); ++i)
        if (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]) && (y_axis == Axis::Linear || curve.y[i] > 0))
            out += fmt::format("{} {}\n", curve.x[i], curve.y[i]);
    return out;
}

struct Range {
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    template <class T>
    void include(std::span<const T> values)
    {
        for (const auto value : values) {
            if (std::isfinite(value)) {
                low = std::min(low, double(value));
                high = std::max(high, double(value));
            }
        }
    }
    /// gnuplot refuses an empty range, which a constant field would give.
    void widen()
    {
        if (high > low)
            return;
        const double middle = std::isfinite(low) ? low : 0;
        const double reach = std::max(0.5, 1e-6 * std::abs(middle)); // 0.5 is nothing beside a large value
        low = middle - reach;
        high = middle + reach;
    }
};

/// Side of a cell's mark so that a field of `cells` marks covers its panel.
double mark_size(size_t cells)
{
    constexpr double kPanelMarks = 62; // marks of size 1 along a panel's side, measured
    return std::clamp(kPanelMarks / std::sqrt(double(std::max<size_t>(cells, 1))), 0.1, 3.0);
}

std::string panel_script(const MapPicture& picture, size_t index, const Range& shared)
{
    const auto& panel = picture.panels[index];
    auto range = shared;
    if (panel.palette == Palette::Diverging) {
        Range own;
        own.include(std::span(panel.values));
        own.widen();
        const double reach = std::max(std::abs(own.low), std::abs(own.high));
        range = {-reach, reach};
    }
    auto out = fmt::format("set title {}\nset cbrange [{}:{}]\n", quoted(panel.title), range.low, range.high);
    out += panel.palette == Palette::Diverging
               ? "set palette defined (0 '#2166ac', 1 '#f7f7f7', 2 '#b2182b')\n"
               : "set palette defined (0 '#440154', 1 '#3b528b', 2 '#21918c', 3 '#5ec962', 4 '#fde725')\n";
    return out + fmt::format("plot $panel{} using 1:2:3 with points pt 5 ps {:.2f} palette notitle\n", index,
                             mark_size(panel.values.size()));
}

} // namespace

bool can_draw()
{
    const char* path = std::getenv("PATH");
    std::string folders = path ? path : "";
    for (size_t begin = 0; begin <= folders.size();) {
        const auto end = std::min(folders.find(':', begin), folders.size());
        if (::access((folders.substr(begin, end - begin) + "/gnuplot").c_str(), X_OK) == 0)
            return true;
        begin = end + 1;
    }
    return false;
}

void draw_curves(const CurvePicture& picture, const std::filesystem::path& png)
{
    std::string script, plot;
    for (size_t i = 0; i < picture.curves.size(); ++i) {
        const auto lines = points(picture.curves[i], picture.y_axis);
        if (lines.empty())
            continue;
        script += fmt::format("$curve{} << EOD\n{}EOD\n", i, lines);
        plot += fmt::format("{}$curve{} using 1:2 with lines lw 2 title {}", plot.empty() ? "" : ", ", i,
                            quoted(picture.curves[i].title));
    }
    if (plot.empty())
        plot = "[0:1] [1:10] NaN notitle"; // axes alone: gnuplot refuses to plot nothing
    script += fmt::format("set terminal pngcairo size 900,560 noenhanced\nset output {}\nset title {}\nset xlabel {}\n"
                          "set ylabel {}\nset grid\n{}plot {}\n",
                          quoted(png.string()), quoted(picture.title), quoted(picture.x_label), quoted(picture.y_label),
                          picture.y_axis == Axis::Logarithmic ? "set logscale y\n" : "", plot);
    run_gnuplot(script, png);
}

void draw_maps(const MapPicture& picture, const std::filesystem::path& png)
{
    const auto n_cells = picture.latitudes_deg.size();
    Range shared;
    std::string script;
    for (size_t p = 0; p < picture.panels.size(); ++p) {
        const auto& panel = picture.panels[p];
        GRADWIND_CHECK(panel.values.size() == n_cells && picture.longitudes_deg.size() == n_cells, ShapeError,
                       "[pictures] panel `{}` has {} values for {} cells", panel.title, panel.values.size(), n_cells);
        if (panel.palette == Palette::Sequential)
            shared.include(std::span(panel.values));
        script += fmt::format("$panel{} << EOD\n", p);
        for (size_t i = 0; i < n_cells; ++i)
            if (std::isfinite(panel.values[i]))
                script +=
                    fmt::format("{} {} {}\n", picture.longitudes_deg[i], picture.latitudes_deg[i], panel.values[i]);
        script += "EOD\n";
    }
    shared.widen();
    // The same window for all panels, whatever is missing in them.
    Range x, y;
    x.include(picture.longitudes_deg);
    y.include(picture.latitudes_deg);
    x.widen();
    y.widen();
    script += fmt::format("set terminal pngcairo size {},440 noenhanced\nset output {}\n"
                          "set multiplot layout 1,{} title {}\nset cblabel {}\nunset key\n"
                          "set xrange [{}:{}]\nset yrange [{}:{}]\n",
                          520 * picture.panels.size(), quoted(png.string()), picture.panels.size(),
                          quoted(picture.title), quoted(picture.unit), x.low, x.high, y.low, y.high);
    for (size_t p = 0; p < picture.panels.size(); ++p)
        script += panel_script(picture, p, shared);
    run_gnuplot(script + "unset multiplot\n", png);
}

} // namespace gradwind::train
