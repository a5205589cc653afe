// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Which exchanges of gradients are worth trying, and what their times say. No communication.
#pragma once
#include "gradwind/parallel/bucket_planner.h"
#include "gradwind/parallel/engine_options.h"
#include "gradwind/tune/link.h"

#include <cstdint>
#include <string>
#include <vector>

namespace gradwind::tune
{

/// Which trials may win.
enum class Accuracy {
    Exact,   ///< fp32 on the wire only
    Rounded, ///< bf16, too
    Any      ///< and compression
};

struct TuneOptions {
    int64_t steps = 200; ///< measured steps of all trials together, about
    Accuracy accuracy = Accuracy::Rounded;
    int64_t rank = 4;          ///< of the factors of compression
    bool copy_engines = false; ///< as of parallel::EngineOptions
};

/// What was measured before the first trial, equal on all ranks.
struct Learnt {
    int world = 1;
    std::vector<std::string> order; ///< of the arena
    int64_t gradient_bytes = 0;
    double compute_s = 0;          ///< a step without exchange, of the slowest rank
    parallel::PlanInputs fp32;     ///< with the link as measured
    parallel::LinkModel bf16_link; ///< of the bytes of bf16 messages
    double contention = 0;         ///< seconds of compute lost for each second of all-reduce beside it

    /// As fp32, with a link that carries a gradient byte as fast as its bf16 form.
    [[nodiscard]] parallel::PlanInputs bf16() const;
};

/// A bucket of a measured step: of how many bytes of gradients, and of how many on the wire.
struct SentBucket {
    int64_t gradient_bytes = 0, wire_bytes = 0;
};

struct Trial {
    std::string name;
    parallel::EngineOptions options;
    Accuracy accuracy = Accuracy::Exact; ///< the strictest demand that it meets
    double predicted_s = 0;              ///< 0 where the model has no answer
    size_t buckets = 0;
    std::vector<std::vector<SentBucket>> sent = {}; ///< in the last two steps: those of compression alternate
    int64_t wire_bytes = 0;                         ///< of one rank in one step, the mean of these two
    int64_t steps = 0;                              ///< measured
    double seconds = 0;   ///< of a step, slowest rank: as a multiple of the default in the same rounds
    double scatter_s = 0; ///< half of the distance between the quartiles
    double exposed_s = 0; ///< median, slowest rank
};

/// The default first, then plans and sweeps that differ from each other. Compression is among them whatever may win,
/// so that the report can say what it would bring.
[[nodiscard]] std::vector<Trial> candidates(const Learnt& learnt, const TuneOptions& options);

/// Takes those away that are predicted to be much slower than the best that may win: on slow links they would eat the
/// budget. The default and compression stay. @return what went
[[nodiscard]] std::vector<Trial> take_hopeless(std::vector<Trial>& trials, const TuneOptions& options);

struct TuneReport {
    std::vector<LinkPoint> link_points, bf16_points;
    Learnt learnt;
    std::vector<Trial> trials; ///< by time
    /// Of those that the accuracy allows and that ran longest; the default unless another is clearly faster.
    size_t winner = 0;
    /// All-reduce bandwidth below which compression of this rank would win; 0: never, infinity: always. Bytes per
    /// second.
    double break_even_bytes_per_s = 0;
    std::vector<std::string> verdict; ///< sentences
};

/// Sorts the trials, names the winner and says what the times mean.
/// @param report  with learnt and trials measured, the default among them
void judge(TuneReport& report, const TuneOptions& options);

/// The winner as `training.strategy.plan` takes it.
[[nodiscard]] std::string plan_of(const TuneReport& report);

} // namespace gradwind::tune
