// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/progress_printer.h"

#include <algorithm>
#include <fmt/format.h>
#include <iostream>
#include <unistd.h>

namespace gradwind::cli
{

namespace
{

constexpr auto kBarInterval = std::chrono::milliseconds(200);
constexpr auto kLineInterval = std::chrono::seconds(10);
constexpr int kBarWidth = 24;

std::string bar(double fraction)
{
    const int filled = int(fraction * kBarWidth);
    return std::string(size_t(filled), '#') + std::string(size_t(kBarWidth - filled), '.');
}

std::string duration(double seconds)
{
    const auto total = int64_t(seconds + 0.5);
    return total < 3600 ? fmt::format("{}:{:02}", total / 60, total % 60)
                        : fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

} // namespace

ProgressPrinter::ProgressPrinter(std::ostream& out)
    : out_(out), is_terminal_(&out == &std::cout && ::isatty(STDOUT_FILENO) == 1)
{
}

void ProgressPrinter::note(const std::string& line)
{
    print_line("[train] " + line);
}

void ProgressPrinter::step(const train::StepProgress& progress)
{
    const auto now = Clock::now();
    if (first_step_ < 0) {
        first_step_ = progress.step - 1;
        start_ = now;
    }
    if (progress.loss) {
        loss_ = *progress.loss;
        has_loss_ = true;
    }
    const bool is_last = progress.step == progress.n_steps;
    if (is_terminal_ ? (now - last_draw_ < kBarInterval && !is_last) : (now - last_line_ < kLineInterval && !is_last))
        return;
    const double elapsed = std::chrono::duration<double>(now - start_).count();
    const auto done = double(progress.step - first_step_);
    const double rate = done > 1 && elapsed > 0 ? (done - 1) / elapsed : 0;
    const double fraction = double(progress.step) / double(std::max<int64_t>(1, progress.n_steps));
    std::string line =
        fmt::format("step {}/{}  epoch {}  lr {:.2e}", progress.step, progress.n_steps, progress.epoch, progress.lr);
    if (progress.rollout > 1)
        line += fmt::format("  rollout {}", progress.rollout);
    if (has_loss_)
        line += fmt::format("  loss {:.4g}", loss_);
    if (rate > 0)
        line +=
            fmt::format("  {:.2f} steps/s  {} left", rate, duration(double(progress.n_steps - progress.step) / rate));
    if (is_terminal_)
        draw(fmt::format("{} {:3.0f} %  {}", bar(std::min(1.0, fraction)), 100 * fraction, line));
    else
        print_line(line);
    last_draw_ = last_line_ = now;
}

void ProgressPrinter::validating(int64_t batch, int64_t n_batches)
{
    if (is_terminal_ && Clock::now() - last_draw_ >= kBarInterval) {
        draw(fmt::format("validation {}/{}", batch, n_batches));
        last_draw_ = Clock::now();
    }
}

void ProgressPrinter::validated(const train::ValidationResult& result)
{
    std::string line = fmt::format("validation at step {} over {} samples:", result.step, result.n_samples);
    std::string dataset; // is named where there is another one
    for (const auto& [name, value] : result.values)
        if (name == "val_multi_dataset_loss") {
            line += fmt::format(" loss {:.4g}", value);
        } else if (const auto at = name.find("_rmse"); at != std::string::npos) {
            const auto own = name.substr(0, at);
            if (!dataset.empty() && own != dataset)
                line += fmt::format("  {}:", own.substr(std::string("val_").size()));
            dataset = own;
            line += fmt::format("  {} {:.4g}", name.substr(at + 1), value);
        }
    print_line(line);
}

void ProgressPrinter::finish()
{
    if (has_bar_)
        out_ << "\n" << std::flush;
    has_bar_ = false;
}

void ProgressPrinter::draw(const std::string& line)
{
    out_ << "\r\033[K" << line << std::flush;
    has_bar_ = true;
}

void ProgressPrinter::print_line(const std::string& line)
{
    if (has_bar_)
        out_ << "\r\033[K";
    has_bar_ = false;
    out_ << line << "\n" << std::flush;
}

} // namespace gradwind::cli
