// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/data/loader.h"

#include "gradwind/core/error.h"
#include "gradwind/data/codec_scratch.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

namespace gradwind::data
{

namespace
{

struct Buffer {
    std::shared_ptr<float[]> values;
    size_t capacity = 0;
};

/// Dates of one chunk row of the store, each with the places in the batch that it belongs to.
struct Task {
    std::vector<int64_t> dates;
    std::vector<std::vector<int64_t>> places; ///< per date: windows x T positions, in units of one date
};

/// One batch on its way.
struct Slot {
    std::vector<int64_t> anchors;
    std::vector<Task> tasks;
    size_t next_task = 0, open_tasks = 0;
    Buffer buffer;
    size_t count = 0;                ///< floats
    size_t failed_task = size_t(-1); ///< the first one in order, so that the error does not depend on timing
    std::exception_ptr error;
    DecodingTime decoded;
    [[nodiscard]] bool waiting() const { return next_task < tasks.size(); }
    [[nodiscard]] bool complete() const { return open_tasks == 0; }
};

std::shared_ptr<float[]> allocate_pages(size_t count)
{
    auto pages = std::make_shared<PageBuffer>();
    auto* const values = reinterpret_cast<float*>(pages->reserve(count * sizeof(float)));
    return {pages, values};
}

} // namespace

/// Shared with the batches that the caller holds, which may outlive the loader.
struct LoaderState {
    std::shared_ptr<const Dataset> dataset;
    LoaderOptions options;
    std::function<std::optional<BatchRequest>()> next_request;

    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::shared_ptr<Slot>> slots; ///< in order of the requests
    std::vector<Buffer> free_buffers;
    int64_t held = 0; ///< batches that the caller holds
    bool requesting = false, ended = false, stopping = false;
    std::vector<std::jthread> threads;

    [[nodiscard]] int64_t floats_per_date() const
    {
        return dataset->n_members() * options.cells.count() * dataset->n_variables();
    }
    [[nodiscard]] bool room() const { return int64_t(slots.size()) + held < options.prefetch_batches; }

    void work();
    void stop();
    void request_one(std::unique_lock<std::mutex>& lock);
    void run_one(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Slot>& slot);
    [[nodiscard]] std::shared_ptr<Slot> plan(const BatchRequest& request) const;
    void read(const Slot& slot, const Task& task) const;
    [[nodiscard]] Buffer take_buffer(size_t count);
};

namespace
{

/// Gives the buffer of a batch back when the caller is done with it.
struct BufferReturn {
    std::shared_ptr<LoaderState> state;
    Buffer buffer;
    BufferReturn(std::shared_ptr<LoaderState> owner, Buffer held) : state(std::move(owner)), buffer(std::move(held)) {}
    ~BufferReturn()
    {
        const std::lock_guard lock(state->mutex);
        state->free_buffers.push_back(std::move(buffer));
        --state->held;
        state->changed.notify_all();
    }
    BufferReturn(const BufferReturn&) = delete;
    BufferReturn& operator=(const BufferReturn&) = delete;
};

} // namespace

std::shared_ptr<Slot> LoaderState::plan(const BatchRequest& request) const
{
    auto slot = std::make_shared<Slot>();
    slot->anchors = request.anchors;
    const auto& window = options.relative_indices;
    // Date and place in the batch, so that equal dates and dates of one chunk row become neighbours.
    struct Wanted {
        int64_t group, date, place;
        auto operator<=>(const Wanted&) const = default;
    };
    std::vector<Wanted> wanted;
    for (size_t sample = 0; sample < request.anchors.size(); ++sample)
        for (size_t step = 0; step < window.size(); ++step) {
            const auto date = request.anchors[sample] + window[step];
            GRADWIND_CHECK(date >= 0 && date < dataset->n_dates(), DataError,
                           "[loader] anchor {} needs date position {}, the data set has {}", request.anchors[sample],
                           date, dataset->n_dates());
            wanted.push_back({dataset->decode_group(date), date, int64_t(sample * window.size() + step)});
        }
    std::sort(wanted.begin(), wanted.end());
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (i == 0 || wanted[i].group != wanted[i - 1].group)
            slot->tasks.emplace_back();
        auto& task = slot->tasks.back();
        if (task.dates.empty() || task.dates.back() != wanted[i].date) {
            task.dates.push_back(wanted[i].date);
            task.places.emplace_back();
        }
        task.places.back().push_back(wanted[i].place);
    }
    slot->count = wanted.size() * size_t(floats_per_date());
    if (slot->count == 0)
        slot->tasks.clear();
    slot->open_tasks = slot->tasks.size();
    return slot;
}

Buffer LoaderState::take_buffer(size_t count)
{
    // The largest first: small last batches then never take the place of a large one that would be allocated again.
    const auto best = std::max_element(free_buffers.begin(), free_buffers.end(),
                                       [](const auto& a, const auto& b) { return a.capacity < b.capacity; });
    Buffer buffer;
    if (best != free_buffers.end()) {
        buffer = std::move(*best);
        free_buffers.erase(best);
    }
    if (buffer.capacity < count) {
        buffer = {}; // before the new one is there: never more than the agreed number of buffers
        buffer = {options.allocate(count), count};
    }
    return buffer;
}

void LoaderState::request_one(std::unique_lock<std::mutex>& lock)
{
    requesting = true;
    lock.unlock();
    std::shared_ptr<Slot> slot;
    bool last = false;
    try {
        const auto request = next_request();
        last = !request;
        if (request)
            slot = plan(*request);
    } catch (...) {
        slot = std::make_shared<Slot>();
        slot->error = std::current_exception();
        last = true;
    }
    lock.lock();
    if (slot && slot->count > 0) {
        try {
            slot->buffer = take_buffer(slot->count);
        } catch (...) {
            slot->error = std::current_exception();
            slot->tasks.clear();
            slot->open_tasks = 0;
        }
    }
    requesting = false;
    ended = ended || last;
    if (slot)
        slots.push_back(std::move(slot));
    changed.notify_all();
}

void LoaderState::read(const Slot& slot, const Task& task) const
{
    const auto per_date = floats_per_date();
    const auto place = [&](int64_t index) { return slot.buffer.values.get() + index * per_date; };
    std::vector<float*> out;
    for (const auto& places : task.places)
        out.push_back(place(places.front()));
    dataset->read_dates(task.dates, options.cells, out);
    for (size_t i = 0; i < task.places.size(); ++i)
        for (size_t copy = 1; copy < task.places[i].size(); ++copy)
            std::memcpy(place(task.places[i][copy]), out[i], size_t(per_date) * sizeof(float));
}

void LoaderState::run_one(std::unique_lock<std::mutex>& lock, const std::shared_ptr<Slot>& slot)
{
    const auto index = slot->next_task++;
    if (index == 0)
        slot->decoded.begin = std::chrono::steady_clock::now();
    lock.unlock();
    std::exception_ptr error;
    try {
        read(*slot, slot->tasks[index]);
    } catch (...) {
        error = std::current_exception();
    }
    lock.lock();
    if (error && index < slot->failed_task) {
        slot->failed_task = index;
        slot->error = error;
    }
    if (--slot->open_tasks == 0) {
        slot->decoded.end = std::chrono::steady_clock::now();
        changed.notify_all();
    }
}

void LoaderState::work()
{
    std::unique_lock lock(mutex);
    while (!stopping) {
        const auto slot = std::find_if(slots.begin(), slots.end(), [](const auto& s) { return s->waiting(); });
        if (slot != slots.end())
            run_one(lock, std::shared_ptr<Slot>(*slot));
        else if (!ended && !requesting && room())
            request_one(lock);
        else
            changed.wait(lock);
    }
}

void LoaderState::stop()
{
    {
        const std::lock_guard lock(mutex);
        stopping = true;
        changed.notify_all();
    }
    threads.clear();
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options,
               std::function<std::optional<BatchRequest>()> next_request)
    : state_(std::make_shared<LoaderState>())
{
    GRADWIND_CHECK(options.threads >= 1 && options.threads <= 1024, ConfigError,
                   "[loader] {} threads are asked for, 1 to 1024 are possible", options.threads);
    GRADWIND_CHECK(options.prefetch_batches >= 1, ConfigError,
                   "[loader] prefetch_batches is {}, at least one batch must fit", options.prefetch_batches);
    GRADWIND_CHECK(options.cells.begin >= 0 && options.cells.begin <= options.cells.end &&
                       options.cells.end <= dataset->n_cells(),
                   ConfigError, "[loader] cells {} to {} are asked for, the data set has {}", options.cells.begin,
                   options.cells.end, dataset->n_cells());
    GRADWIND_CHECK(!options.relative_indices.empty(), ConfigError, "[loader] the window of a sample has no dates");
    if (!options.allocate)
        options.allocate = allocate_pages;
    state_->dataset = std::move(dataset);
    state_->options = std::move(options);
    state_->next_request = std::move(next_request);
    try {
        for (int i = 0; i < state_->options.threads; ++i)
            state_->threads.emplace_back([state = state_.get()] { state->work(); });
    } catch (...) {
        state_->stop(); // threads that did start must not be waited for for ever
        throw;
    }
}

Loader::~Loader()
{
    state_->stop();
}

std::optional<Batch> Loader::next()
{
    auto& state = *state_;
    std::unique_lock lock(state.mutex);
    GRADWIND_CHECK(state.held < state.options.prefetch_batches, InternalError,
                   "[loader] the caller holds all {} batches; let go of one before asking for the next", state.held);
    state.changed.wait(
        lock, [&] { return state.slots.empty() ? state.ended && !state.requesting : state.slots.front()->complete(); });
    if (state.slots.empty())
        return std::nullopt;
    const auto slot = std::move(state.slots.front());
    state.slots.pop_front();
    if (slot->error) {
        if (slot->buffer.values)
            state.free_buffers.push_back(std::move(slot->buffer));
        state.changed.notify_all();
        std::rethrow_exception(slot->error);
    }
    Batch batch;
    batch.anchors = std::move(slot->anchors);
    batch.decoded = slot->decoded;
    if (slot->count > 0) {
        batch.values = {slot->buffer.values.get(), slot->count};
        ++state.held;
        lock.unlock();
        batch.buffer = std::make_shared<BufferReturn>(state_, std::move(slot->buffer));
        lock.lock();
    }
    state.changed.notify_all();
    return batch;
}

} // namespace gradwind::data
