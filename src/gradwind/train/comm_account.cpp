// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/comm_account.h"

#include <fmt/format.h>

#include <algorithm>

namespace gradwind::train
{

using parallel::Traffic;
using parallel::Verb;

namespace
{

void add_difference(Traffic& sum, const Traffic& from, const Traffic& to)
{
    for (size_t verb = 0; verb < parallel::kVerbs; ++verb) {
        sum.verbs[verb].calls += to.verbs[verb].calls - from.verbs[verb].calls;
        sum.verbs[verb].bytes += to.verbs[verb].bytes - from.verbs[verb].bytes;
        sum.verbs[verb].wait_s += to.verbs[verb].wait_s - from.verbs[verb].wait_s;
    }
}

} // namespace

CommAccount::CommAccount(const parallel::Groups& groups)
{
    for (const auto* group : {&groups.world, &groups.model, &groups.reader, &groups.ensemble, &groups.subgroup})
        if (group->size() > 1)
            meters_.push_back({*group, {}, {}, {}});
}

void CommAccount::begin_step()
{
    for (auto& meter : meters_)
        meter.start = meter.group.traffic();
}

void CommAccount::end_step()
{
    for (auto& meter : meters_)
        add_difference(meter.in_steps, meter.start, meter.group.traffic());
    ++steps_;
}

std::vector<std::pair<std::string, double>> CommAccount::take_means()
{
    const auto n = double(std::max<int64_t>(1, steps_ - reported_steps_));
    reported_steps_ = steps_;
    std::vector<std::pair<std::string, double>> result;
    for (auto& meter : meters_) {
        Traffic recent;
        add_difference(recent, meter.reported, meter.in_steps);
        meter.reported = meter.in_steps;
        for (size_t verb = 0; verb < parallel::kVerbs; ++verb) {
            if (meter.in_steps.verbs[verb].calls == 0)
                continue;
            const auto name = fmt::format("comm/{}/{}", meter.group.name(), parallel::name_of(Verb(verb)));
            result.emplace_back(name + "_calls", double(recent.verbs[verb].calls) / n);
            result.emplace_back(name + "_bytes", double(recent.verbs[verb].bytes) / n);
            if (&meter != &meters_.front()) // what the world waits for is the gradients' exposure
                result.emplace_back(name + "_exposed_s", recent.verbs[verb].wait_s / n);
        }
    }
    return result;
}

CommTotals CommAccount::totals() const
{
    CommTotals result{.steps = steps_, .rows = {}};
    for (const auto& meter : meters_) {
        Traffic other;
        add_difference(other, meter.in_steps, meter.group.traffic());
        for (size_t verb = 0; verb < parallel::kVerbs; ++verb) {
            const auto &own = meter.in_steps.verbs[verb], &rest = other.verbs[verb];
            if (own.calls + rest.calls > 0)
                result.rows.push_back({meter.group.name(), Verb(verb), own.calls, own.bytes, rest.calls, rest.bytes,
                                       &meter == &meters_.front() ? 0 : own.wait_s});
        }
    }
    return result;
}

} // namespace gradwind::train
