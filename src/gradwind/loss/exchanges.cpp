// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/loss/exchanges.h"

#include "gradwind/loss/composite_loss.h"
#include "gradwind/loss/multiscale_loss.h"

namespace gradwind::loss
{

namespace
{

/// Goes through a loss as evaluate_part() does.
class Counter
{
public:
    void part(const Loss& loss, const HeldFields& fields)
    {
        if (fields.grid_size > 1 && !loss.additive()) {
            auto whole = fields;
            whole.grid_size = 1;
            whole.points = fields.all_points;
            gather(fields);
            inside(loss, whole);
        } else if (fields.members_size > 1 && !loss.needs_whole_grid()) {
            auto compared = fields;
            compared.members_size = 1;
            compared.members *= fields.members_size;
            compared.points = parallel::balanced_span(fields.points, fields.members_size, fields.members_rank).size;
            result_.members_forward += values(fields);
            result_.members_backward += values(compared);
            inside(loss, compared);
        } else {
            inside(loss, fields);
        }
    }
    [[nodiscard]] const LossExchanges& result() const { return result_; }

private:
    static int64_t values(const HeldFields& fields)
    {
        return fields.steps * fields.members * fields.points * fields.outputs;
    }

    void gather(const HeldFields& fields)
    {
        result_.gathered += values(fields) + fields.steps * fields.points * fields.variables;
        auto whole = fields;
        whole.points = fields.all_points;
        result_.scattered += values(whole);
    }

    void inside(const Loss& loss, const HeldFields& fields)
    {
        if (const auto* combined = dynamic_cast<const CombinedLoss*>(&loss)) {
            for (const auto& summand : combined->parts())
                part(*summand.loss, fields);
        } else if (const auto* aggregates = dynamic_cast<const TimeAggregateLoss*>(&loss)) {
            auto one_step = fields;
            one_step.steps = 1;
            for (const auto aggregate : aggregates->aggregates())
                for (int64_t i = 0; i < (aggregate == TimeAggregate::Diff ? fields.steps - 1 : 1); ++i)
                    part(aggregates->inner(), one_step);
        } else if (const auto* scales = dynamic_cast<const MultiscaleLoss*>(&loss)) {
            if (fields.grid_size > 1 && loss.needs_whole_grid())
                gather(fields);
            for (size_t i = 0; i < scales->n_scales(); ++i)
                part(scales->inner(), fields);
        }
    }

    LossExchanges result_;
};

} // namespace

LossExchanges count_exchanges(const Loss& loss, const HeldFields& fields)
{
    Counter counter;
    counter.part(loss, fields);
    return counter.result();
}

} // namespace gradwind::loss
