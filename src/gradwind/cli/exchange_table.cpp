// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/cli/exchange_table.h"

#include "gradwind/cli/comm_table.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace gradwind::cli
{
namespace
{

using nlohmann::json;
using Phase = parallel::ExchangeBudget::Phase;

struct NamedPhase {
    std::string name;
    const Phase* phase;
};

/// Dense steps, and those with compression.
std::vector<NamedPhase> phases_of(const parallel::ExchangeBudget& exchange)
{
    std::vector<NamedPhase> phases = {{exchange.compressed.empty() ? "every step" : "whole", &exchange.dense}};
    if (exchange.compressed.size() == 1)
        phases.push_back({"factors", &exchange.compressed[0]});
    if (exchange.compressed.size() == 2) {
        phases.push_back({"factors p", &exchange.compressed[0]});
        phases.push_back({"factors q", &exchange.compressed[1]});
    }
    return phases;
}

/// Messages that are kept, in the kind of step that keeps most.
int64_t largest_buffers(const parallel::ExchangeBudget& exchange)
{
    int64_t bytes = 0;
    for (const auto& [name, phase] : phases_of(exchange))
        bytes = std::max(bytes, phase->buffers);
    return bytes;
}

int64_t kept_bytes(const train::StepTraffic& traffic)
{
    return traffic.exchange.parameters + traffic.exchange.gradients + traffic.moment_bytes +
           largest_buffers(traffic.exchange);
}

} // namespace

std::vector<std::string> exchange_table(const parallel::ExchangeBudget& exchange)
{
    if (exchange.dense.calls.empty())
        return {};
    std::vector<std::string> lines = {fmt::format("{:<16} {:<12} {:<14} {:<15} {:>10} {:>12}", "exchange", "steps",
                                                  "group", "collective", "calls/step", "bytes/step")};
    for (const auto& [name, phase] : phases_of(exchange))
        for (const auto& call : phase->calls)
            lines.push_back(fmt::format("{:<16} {:<12} {:<14} {:<15} {:>10} {:>12}", "", name, call.group,
                                        parallel::name_of(call.verb), call.calls, bytes_text(double(call.bytes))));
    return lines;
}

json exchange_json(const parallel::ExchangeBudget& exchange)
{
    json result = json::array();
    for (const auto& [name, phase] : phases_of(exchange))
        for (const auto& call : phase->calls)
            result.push_back({{"steps", name},
                              {"group", call.group},
                              {"collective", parallel::name_of(call.verb)},
                              {"calls_per_step", call.calls},
                              {"bytes_per_step", call.bytes}});
    return result;
}

std::vector<std::string> memory_table(const train::StepTraffic& traffic)
{
    const auto& exchange = traffic.exchange;
    std::vector<std::string> lines;
    const auto add = [&](const char* what, int64_t bytes, const std::string& remark = "") {
        lines.push_back(fmt::format("{:<16} {:<22} {:>10}{}", lines.empty() ? "memory" : "", what,
                                    bytes_text(double(bytes)), remark.empty() ? "" : "  " + remark));
    };
    add("parameters", exchange.parameters);
    add("gradients", exchange.gradients);
    add("optimiser", traffic.moment_bytes);
    add("messages", largest_buffers(exchange), "kept from step to step");
    add("together", kept_bytes(traffic), "of each process");
    if (exchange.work > 0)
        add("sums", exchange.work, "besides, while the largest bucket is summed");
    add("first step", traffic.first_step_bytes, "besides, once, when gradients are put in order");
    lines.push_back(
        fmt::format("{:<16} activations, the batch, the graph and the libraries' own memory are not predicted", ""));
    return lines;
}

json memory_json(const train::StepTraffic& traffic)
{
    return {{"parameters", traffic.exchange.parameters}, {"gradients", traffic.exchange.gradients},
            {"optimiser", traffic.moment_bytes},         {"messages", largest_buffers(traffic.exchange)},
            {"together", kept_bytes(traffic)},           {"sums_of_a_bucket", traffic.exchange.work},
            {"first_step", traffic.first_step_bytes}};
}

} // namespace gradwind::cli
