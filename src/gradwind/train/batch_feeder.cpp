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
#include <chrono>
#include <optional>
#include <thread>

namespace gradwind::train
{

namespace
{

/// Requests the batches of a list, one after the other, as positions in one data set.
auto requests_from(std::vector<std::vector<int64_t>> batches, int64_t shift)
{
    for (auto& batch : batches)
        for (auto& anchor : batch)
            anchor += shift;
    return [batches = std::move(batches), at = size_t(0)]() mutable -> std::optional<data::BatchRequest> {
        if (at == batches.size())
            return std::nullopt;
        return data::BatchRequest{std::move(batches[at++])};
    };
}

/// What is read of a data set.
std::shared_ptr<const data::Dataset> cells_of(const StagePart& part, FeederOptions::Cells cells)
{
    return part.cells && cells == FeederOptions::Cells::Own ? data::select_cells(part.dataset, part.cells->cells())
                                                            : part.dataset;
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

/// A batch of one data set.
struct PartOfBatch {
    std::vector<int64_t> anchors;
    at::Tensor values;
    data::DecodingTime decoded{};
};

constexpr auto kPatience = std::chrono::seconds(2); ///< with a copy, which takes milliseconds

/// The copy stream of a GPU and the batch that is under way in it.
struct GpuCopy {
    explicit GpuCopy(at::Device device) : guard(device.type()), stream(guard.getStreamFromGlobalPool(device)) {}
    struct UnderWay {
        PartOfBatch batch;
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
    /// A GPU that hangs or has failed is not waited for: this process is leaving.
    ~GpuCopy()
    {
        const auto until = std::chrono::steady_clock::now() + kPatience;
        while ((is_under_way(given) || is_under_way(next)) && std::chrono::steady_clock::now() < until)
            std::this_thread::yield();
    }
    [[nodiscard]] static bool is_under_way(const std::optional<UnderWay>& copy) noexcept
    {
        try {
            return copy && !copy->done.query();
        } catch (const std::exception&) {
            return false;
        }
    }
    std::optional<UnderWay> next;
    std::optional<UnderWay> given; ///< the batch that was given out last; done by the time that the next is asked for
};

/// Reads one data set.
class BatchFeeder::Reader
{
public:
    Reader(const StagePart& part, std::vector<std::vector<int64_t>> batches, FeederOptions options)
        : dataset_(cells_of(part, options.cells)), options_(std::move(options)),
          loader_(dataset_, loader_options(*dataset_, options_), requests_from(std::move(batches), part.shift))
    {
        if (!options_.device.is_cpu())
            gpu_.emplace(options_.device);
    }

    PartOfBatch next()
    {
        if (gpu_)
            return next_on_gpu();
        auto batch = read();
        GRADWIND_CHECK(batch.has_value(), InternalError, "[feeder] a batch was asked for after the last one");
        batch->values = batch->values.to(options_.dtype);
        return std::move(*batch);
    }

private:
    /// The loader's next batch as a float32 tensor on the CPU that shares its memory.
    std::optional<PartOfBatch> read()
    {
        auto batch = loader_.next();
        if (!batch)
            return std::nullopt;
        const std::vector<int64_t> shape = {int64_t(batch->anchors.size()), int64_t(options_.relative_indices.size()),
                                            dataset_->n_members(), dataset_->n_cells(), dataset_->n_variables()};
        auto values = at::from_blob(
            batch->values.data(), shape, [buffer = batch->buffer](void*) mutable { buffer.reset(); },
            at::TensorOptions(at::kFloat));
        return PartOfBatch{std::move(batch->anchors), std::move(values), batch->decoded};
    }

    void start_copy()
    {
        auto batch = read();
        if (!batch) {
            gpu_->next.reset();
            return;
        }
        const c10::StreamGuard in_copy_stream(gpu_->stream);
        auto source = std::make_shared<at::Tensor>(batch->values);
        batch->values = batch->values.to(options_.device, options_.dtype, /*non_blocking=*/true);
        c10::Event done(options_.device.type());
        done.record(gpu_->stream);
        gpu_->next.emplace(GpuCopy::UnderWay{std::move(*batch), std::move(source), std::move(done)});
    }

    PartOfBatch next_on_gpu()
    {
        if (!gpu_->next)
            start_copy();
        GRADWIND_ASSERT(gpu_->next.has_value());
        GpuCopy::release(gpu_->given);
        gpu_->given = std::move(gpu_->next);
        gpu_->next.reset();
        const auto compute = gpu_->guard.getStream(options_.device);
        gpu_->given->done.block(compute);
        auto batch = std::move(gpu_->given->batch);
        batch.values.record_stream(compute);
        start_copy();
        return batch;
    }

    std::shared_ptr<const data::Dataset> dataset_;
    FeederOptions options_;
    data::Loader loader_;
    std::optional<GpuCopy> gpu_;
};

BatchFeeder::BatchFeeder(const Stage& stage, const std::vector<std::vector<int64_t>>& batches,
                         const FeederOptions& options)
{
    auto own = options;
    own.n_threads = std::max<int64_t>(1, options.n_threads / int64_t(stage.parts().size()));
    for (const auto& part : stage.parts())
        readers_.push_back(std::make_unique<Reader>(part, batches, own));
}

BatchFeeder::~BatchFeeder() = default;

RawBatch BatchFeeder::next()
{
    RawBatch result;
    for (const auto& reader : readers_) {
        auto part = reader->next();
        if (result.values.empty()) {
            result.anchors = std::move(part.anchors); // the first data set's, which is not shifted
            result.decoded = part.decoded;
        }
        result.values.push_back(std::move(part.values));
        result.decoded.begin = std::min(result.decoded.begin, part.decoded.begin);
        result.decoded.end = std::max(result.decoded.end, part.decoded.end);
    }
    return result;
}

} // namespace gradwind::train
