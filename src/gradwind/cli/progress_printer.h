// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Progress of a training for people: a bar on a terminal, plain lines in a log.
#pragma once
#include "gradwind/train/progress.h"

#include <chrono>
#include <iosfwd>

namespace gradwind::cli
{

class ProgressPrinter : public train::ProgressSink
{
public:
    /// Draws a bar if `out` is the standard output and that is a terminal.
    explicit ProgressPrinter(std::ostream& out);
    void note(const std::string& line) override;
    void step(const train::StepProgress& progress) override;
    void validating(int64_t batch, int64_t n_batches) override;
    void validated(const train::ValidationResult& result) override;
    /// Ends the bar, so that what follows starts on a line of its own.
    void finish();

private:
    using Clock = std::chrono::steady_clock;
    void draw(const std::string& line);
    void print_line(const std::string& line);

    std::ostream& out_;
    bool is_terminal_;
    bool has_bar_ = false;
    Clock::time_point start_ = Clock::now(), last_draw_{}, last_line_ = Clock::now();
    int64_t first_step_ = -1;
    double loss_ = 0;
    bool has_loss_ = false;
};

} // namespace gradwind::cli
