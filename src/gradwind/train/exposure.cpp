// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/exposure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace gradwind::train
{

namespace
{

using Numbers = std::array<double, 4>;

/// Four numbers of every rank, in rank order.
std::vector<Numbers> of_all_ranks(const parallel::Group& world, const Numbers& own)
{
    std::vector<Numbers> result;
    for (const auto& bytes : world.all_gather_bytes({reinterpret_cast<const char*>(own.data()), sizeof own})) {
        result.emplace_back();
        std::memcpy(result.back().data(), bytes.data(), std::min(bytes.size(), sizeof own));
    }
    return result;
}

} // namespace

void ExposureAccount::add(const parallel::BucketReport& step)
{
    if (world_.size() == 1 || step.buckets.empty())
        return;
    const double hidden = std::max(0.0, step.backward - step.buckets.front().launched);
    for (auto* sums : {&total_, &interval_}) {
        sums->steps += 1;
        sums->backward_s += step.backward;
        sums->hidden_s += hidden;
        sums->exposed_s += step.exposed;
    }
}

std::vector<std::pair<std::string, double>> ExposureAccount::take_means()
{
    if (world_.size() == 1)
        return {};
    const double steps = std::max(1.0, interval_.steps);
    const auto all = of_all_ranks(world_, {interval_.hidden_s / steps, interval_.exposed_s / steps, 0, 0});
    interval_ = {};
    // A sum is there for all at once: who waited least for it came last.
    const auto last =
        std::min_element(all.begin(), all.end(), [](const Numbers& a, const Numbers& b) { return a[1] < b[1]; });
    double hidden = 0, exposed = 0;
    for (const auto& numbers : all) {
        hidden += numbers[0] / double(all.size());
        exposed += numbers[1] / double(all.size());
    }
    const int straggler = int(last - all.begin());
    intervals_ += 1;
    straggled_ += straggler == world_.rank();
    const double waited = (exposed - (*last)[1]) * double(all.size()) / double(all.size() - 1);
    return {{"exchange/hidden_s", hidden},
            {"exchange/exposed_s", exposed},
            {"exchange/straggler_rank", double(world_.members()[size_t(straggler)])},
            {"exchange/straggler_s", waited}};
}

std::vector<ExposureRow> ExposureAccount::rows() const
{
    const double steps = std::max(1.0, total_.steps), intervals = std::max(1.0, intervals_);
    std::vector<ExposureRow> result;
    for (const auto& numbers : of_all_ranks(world_, {total_.backward_s / steps, total_.hidden_s / steps,
                                                     total_.exposed_s / steps, straggled_ / intervals}))
        result.push_back({numbers[0], numbers[1], numbers[2], numbers[3]});
    return result;
}

std::vector<std::string> exposure_table(const std::vector<ExposureRow>& rows)
{
    if (rows.size() < 2)
        return {};
    std::vector<std::string> lines;
    double exposed = 0;
    for (const auto& row : rows)
        exposed += 1e3 * row.exposed_s / double(rows.size());
    const auto worst = std::max_element(
        rows.begin(), rows.end(), [](const ExposureRow& a, const ExposureRow& b) { return a.straggled < b.straggled; });
    lines.push_back(
        fmt::format("exchange of gradients: {:.2f} ms a step exposed after backward; rank {} came last in {:.0f} % "
                    "of the log intervals",
                    exposed, worst - rows.begin(), 100 * worst->straggled));
    lines.push_back(
        fmt::format("  {:>5} {:>12} {:>12} {:>12} {:>9}", "rank", "backward ms", "hidden ms", "exposed ms", "last %"));
    for (size_t rank = 0; rank < rows.size(); ++rank)
        lines.push_back(fmt::format("  {:>5} {:>12.2f} {:>12.2f} {:>12.2f} {:>9.0f}", rank, 1e3 * rows[rank].backward_s,
                                    1e3 * rows[rank].hidden_s, 1e3 * rows[rank].exposed_s, 100 * rows[rank].straggled));
    return lines;
}

} // namespace gradwind::train
