// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "tests/verify/layout_faults.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/launch.h"
#include "gradwind/parallel/passing_backend.h"
#include "gradwind/train/job.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <thread>

namespace gradwind::verify
{

namespace
{

const parallel::Environment& process()
{
    static const auto environment = parallel::resolve_environment(parallel::process_variables());
    return environment;
}

/// Faults that only one process has are those of rank 1.
bool is_culprit()
{
    return process().rank == 1;
}

at::Tensor slice_of(const parallel::GradientEngine& engine, const at::Tensor& flat)
{
    for (const auto& slice : engine.slices())
        if (slice.name == kFaultTensor)
            return flat.narrow(0, slice.offset, slice.numel);
    throw InternalError("the model lacks the tensor of the fault");
}

/// A loss scaled by what a rank has, not by what all have: right only if all have as many samples.
class Factor : public train::StepHooks
{
    void chosen(train::StepSamples& samples) override
    {
        size_t own = 0;
        for (const auto& micro : samples.micro_batches)
            own += micro.samples.size();
        for (auto& micro : samples.micro_batches)
            micro.sample_weight = 1.0 / double(own * size_t(process().world));
    }
};

class Accumulation : public train::StepHooks
{
    void chosen(train::StepSamples& samples) override
    {
        for (auto& micro : samples.micro_batches)
            micro.sample_weight *= double(samples.micro_batches.size());
    }
};

class Shifted : public train::StepHooks
{
    void planned(std::vector<std::vector<int64_t>>& batches) override
    {
        if (is_culprit())
            for (auto& anchor : batches.at(0))
                anchor += anchor > 20 ? -1 : 1;
    }
};

/// Rank 1 reads what rank 0 reads.
class OtherReplica : public train::StepHooks
{
    void planned(std::vector<std::vector<int64_t>>& batches) override
    {
        namespace fs = std::filesystem;
        const auto file = process().rendezvous.file.parent_path() / "batches.json";
        const auto temporary = file.string() + ".part";
        if (process().rank == 0) {
            std::ofstream(temporary) << nlohmann::json(batches).dump();
            fs::rename(temporary, file);
        } else if (is_culprit()) {
            while (!fs::exists(file))
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            std::ifstream in(file);
            batches = nlohmann::json::parse(in).get<std::vector<std::vector<int64_t>>>();
        }
    }
};

/// What the others sent for half of a tensor did not arrive.
class Bucket : public train::StepHooks
{
    void summed(parallel::GradientEngine& engine) override
    {
        if (!is_culprit())
            return;
        const auto gradient = slice_of(engine, engine.flat_gradients());
        gradient.narrow(0, 0, gradient.numel() / 2).mul_(0.5);
    }
};

class Skipped : public train::StepHooks
{
    void summed(parallel::GradientEngine& engine) override
    {
        before_ = slice_of(engine, engine.flat_parameters()).clone();
    }
    void updated(parallel::GradientEngine& engine, const train::StepOutcome&) override
    {
        slice_of(engine, engine.flat_parameters()).copy_(before_);
    }
    at::Tensor before_;
};

class Stale : public train::StepHooks
{
    void started(train::Job&, parallel::GradientEngine& engine) override
    {
        const at::NoGradGuard no_grad;
        if (is_culprit())
            slice_of(engine, engine.flat_parameters()).mul_(1 + 1e-6);
    }
};

/// The last input has a forcing of the date before.
class Forcing : public train::StepHooks
{
    void started(train::Job& job, parallel::GradientEngine&) override
    {
        const auto& names = job.training->first().variables();
        column_ = std::find(names.begin(), names.end(), "insolation") - names.begin();
    }
    void was_read(train::RawBatch& batch) override
    {
        if (is_culprit())
            forcing_of(batch, 1).copy_(forcing_of(batch, 0));
    }
    [[nodiscard]] at::Tensor forcing_of(const train::RawBatch& batch, int64_t time) const
    {
        return batch.values.front().select(-1, column_).select(1, time);
    }
    int64_t column_ = 0;
};

class Metrics : public train::StepHooks
{
    void weighed(double& n_samples) override { n_samples = 1; }
};

/// Spoils what an exchange of rows has brought.
class SpoilingBackend : public parallel::detail::PassingBackend
{
public:
    using Spoil = std::function<void(at::Tensor)>;
    SpoilingBackend(std::shared_ptr<Backend> inner, Spoil spoil)
        : PassingBackend(std::move(inner)), spoil_(std::move(spoil))
    {
    }
    [[nodiscard]] std::unique_ptr<parallel::detail::Ticket> all_to_all(at::Tensor out, at::Tensor in,
                                                                       std::span<const int64_t> receive_rows,
                                                                       std::span<const int64_t> send_rows) override
    {
        auto ticket = inner().all_to_all(out, in, receive_rows, send_rows);
        if (ticket)
            ticket->wait();
        if (out.is_floating_point() && out.numel() > 0)
            spoil_(out);
        return std::make_unique<Done>();
    }

private:
    struct Done : parallel::detail::Ticket {
        void wait() override {}
    };
    Spoil spoil_;
};

/// A fault of what rank 1 receives from its model group.
class Halo : public train::StepHooks
{
protected:
    void started(train::Job& job, parallel::GradientEngine&) override
    {
        auto& backend = job.groups.model.state()->backend;
        if (is_culprit() && backend)
            backend = std::make_shared<SpoilingBackend>(backend, [this](at::Tensor rows) { spoil(rows); });
    }
    virtual void spoil(at::Tensor rows) = 0;
};

class DroppedRow : public Halo
{
    void spoil(at::Tensor rows) override { rows.select(0, rows.size(0) - 1).zero_(); }
};

/// Rows in another order, as if the senders had been taken for one another.
class OtherSender : public Halo
{
    void spoil(at::Tensor rows) override { rows.copy_(rows.flip(0)); }
};

class ShareTwice : public train::StepHooks
{
    void chosen(train::StepSamples& samples) override
    {
        for (auto& micro : samples.micro_batches)
            micro.sample_weight *= is_culprit() ? 2 : 1;
    }
};

/// A reader takes its cells from one place beside.
class OtherCells : public train::StepHooks
{
    void was_read(train::RawBatch& batch) override
    {
        if (is_culprit())
            for (auto& values : batch.values)
                values.copy_(values.roll(1, 3));
    }
};

/// The same in the last data set only.
class OtherCellsOfTheLast : public train::StepHooks
{
    void was_read(train::RawBatch& batch) override
    {
        if (is_culprit())
            batch.values.back().copy_(batch.values.back().roll(1, 3));
    }
};

class Throws : public train::StepHooks
{
    void summed(parallel::GradientEngine&) override
    {
        if (is_culprit())
            throw DataError("planted fault");
    }
};

template <class Fault>
std::unique_ptr<train::StepHooks> make()
{
    return std::make_unique<Fault>();
}

} // namespace

std::unique_ptr<train::StepHooks> make_fault(const std::string& name)
{
    static const std::map<std::string, std::function<std::unique_ptr<train::StepHooks>()>> faults = {
        {"", make<train::StepHooks>},
        {"accumulation", make<Accumulation>},
        {"bucket", make<Bucket>},
        {"dropped-row", make<DroppedRow>},
        {"factor", make<Factor>},
        {"forcing", make<Forcing>},
        {"metrics", make<Metrics>},
        {"other-cells", make<OtherCells>},
        {"other-cells-of-the-last", make<OtherCellsOfTheLast>},
        {"other-replica", make<OtherReplica>},
        {"other-sender", make<OtherSender>},
        {"share-twice", make<ShareTwice>},
        {"shifted", make<Shifted>},
        {"skipped", make<Skipped>},
        {"stale", make<Stale>},
        {"throws", make<Throws>},
    };
    return faults.at(name)();
}

} // namespace gradwind::verify
