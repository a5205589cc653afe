// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/verify/layouts_judge.h"

#include "gradwind/verify/layouts_worker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace gradwind::verify
{

using nlohmann::json;
using parallel::Layout;

namespace
{

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double number(const json& value)
{
    return value.is_number() ? value.get<double>() : kNaN;
}

/// |a - b| / |b|; the difference itself where b is zero.
double relative(double a, double b)
{
    return std::abs(a - b) / (b == 0 ? 1.0 : std::abs(b));
}

class Judge
{
public:
    Judge(const LayoutCase& layout, const Tolerances& tolerances, const json& reference,
          const std::vector<json>& results)
        : groups_(layout.groups), tolerances_(tolerances), reference_(reference), results_(results)
    {
        report_.name = layout.name();
        report_.kind = "layout";
    }

    CaseReport run(bool may_be_refused)
    {
        if (has_results(may_be_refused)) {
            check_start();
            for (size_t step = 0; step < reference_.at("steps").size(); ++step)
                check_step(step);
            check_validation();
        }
        return std::move(report_);
    }

private:
    void fail(std::string what) { report_.check(std::move(what), kNaN, 0); }

    /// Why a rank did not come to the end; empty if it did.
    [[nodiscard]] std::string why_stopped(const json& result) const
    {
        if (!result.is_object())
            return "it left no result";
        if (result.contains("stopped"))
            return result.at("stopped");
        const auto found = result.at("steps").size(), expected = reference_.at("steps").size();
        return found == expected ? "" : fmt::format("expected {} steps, found {}", expected, found);
    }

    /// Whether all ranks came to the end; says it if not, causes before what followed from them.
    bool has_results(bool may_be_refused)
    {
        std::set<std::string> refusals;
        std::vector<std::string> causes, consequences;
        for (size_t rank = 0; rank < results_.size(); ++rank) {
            const auto& result = results_[rank];
            if (result.is_object() && result.contains("refused")) {
                refusals.insert(result.at("refused").get<std::string>());
                continue;
            }
            const auto why = why_stopped(result);
            const bool is_consequence = !result.is_object() || why.starts_with("[comm]");
            if (!why.empty())
                (is_consequence ? consequences : causes).push_back(fmt::format("rank {} stopped: {}", rank, why));
        }
        for (const auto& list : {causes, consequences})
            for (const auto& line : list)
                fail(line);
        for (const auto& refused : refusals)
            if (may_be_refused)
                report_.not_run.push_back(refused);
            else
                fail("refused: " + refused);
        return refusals.empty() && causes.empty() && consequences.empty();
    }

    /// Tensors as far as they were compared before step `step` + 1 (0: as the run starts).
    void check_tensors(int64_t step, const char* kind)
    {
        for (size_t rank = 0; rank < results_.size(); ++rank)
            for (const auto& row : results_[rank].at("checks"))
                if (row[0].get<int64_t>() == step && row[1] == kind)
                    report_.check(fmt::format("step {}, {} {} on rank {}", step, kind, row[2].get<std::string>(), rank),
                                  number(row[3]), row[4].get<double>());
    }
    void check_start() { check_tensors(0, "weight"); }

    void check_step(size_t step)
    {
        check_samples(step);
        const auto& expected = reference_.at("steps")[step];
        for (size_t rank = 0; rank < results_.size(); ++rank) {
            const auto& found = results_[rank].at("steps")[step];
            report_.check(fmt::format("step {}, samples of all replicas on rank {}", step + 1, rank),
                          std::abs(found.at("n_global").get<double>() - expected.at("n_global").get<double>()), 0);
            report_.check(fmt::format("step {}, learning rate on rank {}", step + 1, rank),
                          relative(number(found.at("lr")), number(expected.at("lr"))), 1e-14);
        }
        double loss = 0;
        for (const auto& result : results_)
            loss += number(result.at("steps")[step].at("loss_share"));
        report_.check(fmt::format("step {}, loss", step + 1), relative(loss, number(expected.at("loss_share"))),
                      tolerances_.loss);
        check_tensors(int64_t(step) + 1, "gradient");
        check_tensors(int64_t(step) + 1, "weight");
    }

    /// The samples of the replicas one after the other are those of the reference; the ranks of a replica agree.
    void check_samples(size_t step)
    {
        const auto expected = reference_.at("steps")[step].at("anchors").get<std::vector<int64_t>>();
        std::map<int, std::vector<int64_t>> of_replica;
        size_t begin = 0, wrong = 0;
        for (size_t rank = 0; rank < results_.size(); ++rank) {
            const auto own = results_[rank].at("steps")[step].at("anchors").get<std::vector<int64_t>>();
            const auto replica = groups_.place(int(rank)).replica;
            const bool is_first = of_replica.try_emplace(replica, own).second;
            auto wanted = of_replica.at(replica);
            if (is_first) {
                const auto from = expected.begin() + long(std::min(begin, expected.size()));
                wanted.assign(from, from + std::min<long>(long(own.size()), expected.end() - from));
                begin += own.size();
            }
            if (own == wanted)
                continue;
            ++wrong;
            report_.check(fmt::format("step {}, samples of rank {}: expected dates [{}], found [{}]", step + 1, rank,
                                      fmt::join(wanted, ", "), fmt::join(own, ", ")),
                          1, 0);
        }
        if (begin != expected.size())
            report_.check(fmt::format("step {}: expected {} samples, found {}", step + 1, expected.size(), begin), 1,
                          0);
        else if (wrong == 0)
            report_.check(fmt::format("step {}, order of samples", step + 1), 0, 0);
    }

    void check_validation()
    {
        const auto& expected = reference_.at("validation");
        for (size_t rank = 0; rank < results_.size(); ++rank) {
            const auto& found = results_[rank].at("validation");
            if (found.size() != expected.size()) {
                fail(fmt::format("rank {}: expected {} validations, found {}", rank, expected.size(), found.size()));
                continue;
            }
            for (size_t i = 0; i < expected.size(); ++i) {
                const auto step = expected[i].at("step").get<int64_t>();
                report_.check(fmt::format("validation after step {}, samples on rank {}", step, rank),
                              std::abs(number(found[i].at("n_samples")) - number(expected[i].at("n_samples"))), 0);
                for (const auto& [name, value] : expected[i].at("values").items())
                    report_.check(fmt::format("validation after step {}, {} on rank {}", step, name, rank),
                                  relative(number(found[i].at("values").value(name, json())), number(value)),
                                  tolerances_.metric);
            }
        }
    }

    const Layout groups_;
    const Tolerances tolerances_;
    const json& reference_;
    const std::vector<json>& results_;
    CaseReport report_;
};

} // namespace

CaseReport judge_layout(const LayoutCase& layout, const std::string& precision, const json& reference,
                        const std::vector<json>& results)
{
    const auto n_global = reference.at("steps").at(0).at("n_global").get<int64_t>();
    const auto tolerances = tolerances_for(precision, reference.at("cells").get<int64_t>() * n_global);
    return Judge(layout, tolerances, reference, results).run(layout.is_sharded());
}

} // namespace gradwind::verify
