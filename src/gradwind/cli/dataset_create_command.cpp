// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/dataset_create_command.h"

#include "gradwind/core/datetime.h"
#include "gradwind/data/create_dataset.h"

#include <chrono>
#include <fmt/ranges.h>
#include <iostream>
#include <unistd.h>

namespace gradwind::cli
{

namespace
{

/// Says how far the work is, and no more often than someone can read it.
class ProgressLines
{
public:
    explicit ProgressLines(std::ostream& out) : out_(out), terminal_(&out == &std::cout && ::isatty(STDOUT_FILENO)) {}

    void show(const data::CreateProgress& progress)
    {
        const bool scan = progress.stage == data::CreateProgress::Stage::Scan;
        const bool last = progress.done == progress.total;
        const auto now = std::chrono::steady_clock::now();
        if (!last && now - shown_ < (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(5)))
            return;
        shown_ = now;
        constexpr int width = 30;
        const auto filled = size_t(progress.done * width / progress.total);
        const auto text = fmt::format("{} {:>{}}/{} dates", scan ? "looking for missing data" : "writing",
                                      progress.done, std::to_string(progress.total).size(), progress.total);
        if (terminal_)
            out_ << fmt::format("\r[{:<{}}] {}", std::string(filled, '='), width, text) << (last ? "\n" : "");
        else
            out_ << text << '\n';
        out_.flush();
    }

private:
    std::ostream& out_;
    bool terminal_;
    std::chrono::steady_clock::time_point shown_ = std::chrono::steady_clock::now();
};

} // namespace

int run(const DatasetCreate& command, std::ostream& out)
{
    const auto begin = std::chrono::steady_clock::now();
    const auto config = data::load_recipe(command.recipe, command.overrides);
    const auto recipe = data::parse_recipe(config, command.recipe.parent_path());
    ProgressLines lines(out);
    data::CreateOptions options;
    options.output = command.output;
    if (command.existing == DatasetCreate::Existing::Overwrite)
        options.existing = data::ZarrWriter::Existing::Overwrite;
    options.progress = [&](const data::CreateProgress& progress) { lines.show(progress); };
    const auto report = data::create_dataset(recipe, options);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    out << fmt::format("{}: {} dates x {} variables x {} members x {} cells, {:.1f} MB in {} files, {:.1f} s\n",
                       command.output.string(), report.shape[0], report.shape[1], report.shape[2], report.shape[3],
                       double(report.size.bytes) / 1e6, report.size.files, seconds.count());
    out << fmt::format("  variables      {}\n", fmt::join(report.variables, " "));
    for (const auto row : report.missing)
        out << fmt::format("  missing date   {}\n", format_datetime(recipe.dates[size_t(row)]));
    if (report.dropped_cells > 0)
        out << fmt::format("  cells dropped  {} of {}\n", report.dropped_cells, report.dropped_cells + report.shape[3]);
    return 0;
}

} // namespace gradwind::cli
