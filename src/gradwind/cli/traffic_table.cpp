// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/traffic_table.h"

#include "gradwind/cli/comm_table.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace gradwind::cli
{
namespace
{

/// One kind of collective of one group.
struct Row {
    train::PredictedBytes first; ///< of rank 0
    int64_t most_step = 0, most_validation_batch = 0;
};

std::vector<Row> rows_of(const train::JobTraffic& traffic)
{
    std::vector<Row> rows;
    for (size_t rank = 0; rank < traffic.ranks.size(); ++rank)
        for (const auto& own : traffic.ranks[rank]) {
            auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
                return row.first.group == own.group && row.first.verb == own.verb;
            });
            if (found == rows.end()) {
                auto zeros = own;
                zeros.step = zeros.validation_batch = 0;
                found = rows.insert(rows.end(), Row{.first = zeros});
            }
            if (rank == 0)
                found->first = own;
            found->most_step = std::max(found->most_step, own.step);
            found->most_validation_batch = std::max(found->most_validation_batch, own.validation_batch);
        }
    return rows;
}

std::string both(int64_t bytes)
{
    return fmt::format("{} ({})", bytes, bytes_text(double(bytes)));
}

} // namespace

std::vector<std::string> traffic_table(const train::JobTraffic& traffic)
{
    std::vector<std::string> lines;
    const auto rows = rows_of(traffic);
    if (!rows.empty())
        lines.push_back(fmt::format("{:<12} {:<15} {:>26} {:>12} {:>26} {:>12}", "group", "collective",
                                    "a step, rank 0", "busiest", "a validation batch, rank 0", "busiest"));
    for (const auto& row : rows)
        lines.push_back(fmt::format("{:<12} {:<15} {:>26} {:>12} {:>26} {:>12}", row.first.group,
                                    parallel::name_of(row.first.verb), both(row.first.step),
                                    bytes_text(double(row.most_step)), both(row.first.validation_batch),
                                    bytes_text(double(row.most_validation_batch))));
    if (!rows.empty() && !traffic.step.exchange.compressed.empty())
        lines.emplace_back(
            "             and the exchange of gradients, above, of which steps have one kind or another");
    return lines;
}

nlohmann::json traffic_json(const train::JobTraffic& traffic)
{
    auto result = nlohmann::json::array();
    for (const auto& row : rows_of(traffic))
        result.push_back({{"group", row.first.group},
                          {"collective", parallel::name_of(row.first.verb)},
                          {"bytes_per_step", row.first.step},
                          {"bytes_per_step_of_the_busiest", row.most_step},
                          {"bytes_per_validation_batch", row.first.validation_batch},
                          {"bytes_per_validation_batch_of_the_busiest", row.most_validation_batch}});
    return result;
}

} // namespace gradwind::cli
