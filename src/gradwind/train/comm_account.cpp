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
            meters_.push_back({.group = *group, .is_exchange = group == &groups.world});
}

void CommAccount::add_exchange(const std::vector<parallel::Group>& groups)
{
    for (const auto& group : groups)
        if (group.size() > 1)
            meters_.push_back({.group = group, .is_exchange = true});
}

void CommAccount::begin()
{
    for (auto& meter : meters_)
        meter.start = meter.group.traffic();
}

void CommAccount::end(CommPhase phase)
{
    for (auto& meter : meters_)
        add_difference(meter.in_phase[size_t(phase)], meter.start, meter.group.traffic());
    ++ended_[size_t(phase)];
}

std::vector<std::pair<std::string, double>> CommAccount::take_means(CommPhase phase)
{
    const auto which = size_t(phase);
    const auto n = double(std::max<int64_t>(1, ended_[which] - reported_[which]));
    reported_[which] = ended_[which];
    std::vector<std::pair<std::string, double>> result;
    for (auto& meter : meters_) {
        const auto& all = meter.in_phase[which];
        Traffic recent;
        add_difference(recent, meter.reported[which], all);
        meter.reported[which] = all;
        for (size_t verb = 0; verb < parallel::kVerbs; ++verb) {
            if (all.verbs[verb].calls == 0)
                continue;
            const auto name = fmt::format("comm/{}/{}", meter.group.name(), parallel::name_of(Verb(verb)));
            result.emplace_back(name + "_calls", double(recent.verbs[verb].calls) / n);
            result.emplace_back(name + "_bytes", double(recent.verbs[verb].bytes) / n);
            if (!meter.is_exchange) // what gradients hold up is their exposure
                result.emplace_back(name + "_exposed_s", recent.verbs[verb].wait_s / n);
        }
    }
    return result;
}

CommTotals CommAccount::totals() const
{
    constexpr auto kStep = size_t(CommPhase::Step);
    CommTotals result{.steps = ended_[kStep], .rows = {}};
    for (const auto& meter : meters_) {
        const auto& in_steps = meter.in_phase[kStep];
        Traffic other;
        add_difference(other, in_steps, meter.group.traffic());
        for (size_t verb = 0; verb < parallel::kVerbs; ++verb) {
            const auto &own = in_steps.verbs[verb], &rest = other.verbs[verb];
            if (own.calls + rest.calls > 0)
                result.rows.push_back({meter.group.name(), Verb(verb), own.calls, own.bytes, rest.calls, rest.bytes,
                                       meter.is_exchange ? 0 : own.wait_s});
        }
    }
    return result;
}

} // namespace gradwind::train
