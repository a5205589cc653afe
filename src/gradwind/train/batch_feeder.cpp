// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/batch_feeder.h"

#include "gradwind/core/error.h"
#include "gradwind/data/loader.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/StreamGuard.h>

#include <algorithm>
#include <optional>
#include <thread>

namespace gradwind::train
{

namespace
{

/// Requests the batches of a list, one after the other.
auto requests_from(std::vector<std::vector<int64_t>> batches)
{
    return [batches = std::move(batches), at = size_t(0)]() mutable -> std::optional<data::BatchRequest> {
        if (at == batches.size())
            return std::nullopt;
        return data::BatchRequest{std::move(batches[at++])};
    };
}

/// Page-locked memory, which a GPU can read while the CPU does something else.
std::shared_ptr<float[]> allocate_pinned(size_t count)
{
    const auto tensor = at::empty({int64_t(count)}, at::TensorOptions(at::kFloat).pinned_memory(true));
    return {tensor.data_ptr<float>(), [tensor](float*) {}};
}

data::LoaderOptions loader_options(const data::Dataset& dataset, const FeederOptions& options)
{
    data::LoaderOptions result{.threads = int(options.n_threads),
                               // One more than are read ahead: the batch that is being used. A GPU holds two.
                               .prefetch_batches = options.prefetch_batches + (options.device.is_cpu() ? 1 : 2),
                               .cells = {0, dataset.n_cells()},
                               .relative_indices = options.relative_indices,
                               .allocate = nullptr};
    if (!options.device.is_cpu())
        result.allocate = allocate_pinned;
    return result;
}

} // namespace

/// The copy stream of a GPU and the batch that is under way in it.
struct GpuCopy {
    explicit GpuCopy(at::Device device) : guard(device.type()), stream(guard.getStreamFromGlobalPool(device)) {}
    struct UnderWay {
        RawBatch batch;
        std::shared_ptr<void> source; ///< page-locked; must stay until the copy is done
        c10::Event done;
    };
    c10::impl::VirtualGuardImpl guard;
    c10::Stream stream;
    /// Waits for a copy, after which the loader may have its memory back.
    static void release(std::optional<UnderWay>& copy)
    {
        while (copy && !copy->done.query())
            std::this_thread::yield();
        copy.reset();
    }
    ~GpuCopy()
    {
        release(given);
        release(next);
    }
    std::optional<UnderWay> next;
    std::optional<UnderWay> given; ///< the batch that was given out last; done by the time that the next is asked for
};

struct BatchFeeder::State {
    State(std::shared_ptr<const data::Dataset> data, std::vector<std::vector<int64_t>> batches, FeederOptions feeder)
        : dataset(feeder.cells ? data::select_cells(std::move(data), *feeder.cells) : std::move(data)),
          options(std::move(feeder)),
          loader(dataset, loader_options(*dataset, options), requests_from(std::move(batches)))
    {
        if (!options.device.is_cpu())
            gpu.emplace(options.device);
    }

    /// The loader's next batch as a float32 tensor on the CPU that shares its memory.
    std::optional<RawBatch> read()
    {
        auto batch = loader.next();
        if (!batch)
            return std::nullopt;
        const std::vector<int64_t> shape = {int64_t(batch->anchors.size()), int64_t(options.relative_indices.size()),
                                            dataset->n_members(), dataset->n_cells(), dataset->n_variables()};
        auto values = at::from_blob(
            batch->values.data(), shape, [buffer = batch->buffer](void*) mutable { buffer.reset(); },
            at::TensorOptions(at::kFloat));
        return RawBatch{std::move(batch->anchors), std::move(values), batch->decoded};
    }

    void start_copy()
    {
        auto batch = read();
        if (!batch) {
            gpu->next.reset();
            return;
        }
        const c10::StreamGuard in_copy_stream(gpu->stream);
        auto source = std::make_shared<at::Tensor>(batch->values);
        batch->values = batch->values.to(options.device, options.dtype, /*non_blocking=*/true);
        c10::Event done(options.device.type());
        done.record(gpu->stream);
        gpu->next.emplace(GpuCopy::UnderWay{std::move(*batch), std::move(source), std::move(done)});
    }

    RawBatch next_on_gpu()
    {
        if (!gpu->next)
            start_copy();
        GRADWIND_ASSERT(gpu->next.has_value());
        GpuCopy::release(gpu->given);
        gpu->given = std::move(gpu->next);
        gpu->next.reset();
        const auto compute = gpu->guard.getStream(options.device);
        gpu->given->done.block(compute);
        auto batch = std::move(gpu->given->batch);
        batch.values.record_stream(compute);
        start_copy();
        return batch;
    }

    std::shared_ptr<const data::Dataset> dataset;
    FeederOptions options;
    data::Loader loader;
    std::optional<GpuCopy> gpu;
};

BatchFeeder::BatchFeeder(std::shared_ptr<const data::Dataset> dataset, std::vector<std::vector<int64_t>> batches,
                         const FeederOptions& options)
    : state_(std::make_unique<State>(std::move(dataset), std::move(batches), options))
{
}

BatchFeeder::~BatchFeeder() = default;

RawBatch BatchFeeder::next()
{
    if (state_->gpu)
        return state_->next_on_gpu();
    auto batch = state_->read();
    GRADWIND_CHECK(batch.has_value(), InternalError, "[feeder] a batch was asked for after the last one");
    batch->values = batch->values.to(state_->options.dtype);
    return std::move(*batch);
}

} // namespace gradwind::train
