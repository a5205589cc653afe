// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/world.h"

#include "gradwind/core/error.h"
#include "gradwind/parallel/c10d_seam.h"
#include "gradwind/parallel/rank_grid.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace gradwind::parallel
{
namespace detail
{
namespace
{

constexpr const char* kFailureKey = "gradwind/failure";

// NCCL's collectives wait on the GPU, and c10d's watchdog ends the process where one takes too long, in words of its
// own and without unwinding. Whoever waits for the GPU with a limit (device_wait.h) began that wait a little after the
// collective was queued, and then needs a moment to say what it knows.
constexpr std::chrono::milliseconds kBeforeWatchdog = std::chrono::seconds(10);

/// Failure notes in the store in which the processes met. What goes wrong with the store itself is left aside here: the
/// failure to report is another one.
class StoreBoard : public FailureBoard
{
public:
    explicit StoreBoard(std::shared_ptr<StoreHandle> store) : store_(std::move(store)) {}
    void post(const std::string& message) noexcept override
    {
        try {
            if (!store_->store->check({kFailureKey}))
                store_->store->set(kFailureKey, std::vector<uint8_t>(message.begin(), message.end()));
        } catch (...) {
        }
    }
    [[nodiscard]] std::string read() noexcept override
    {
        try {
            if (!store_->store->check({kFailureKey}))
                return {};
            const auto bytes = store_->store->get(kFailureKey);
            return {bytes.begin(), bytes.end()};
        } catch (...) {
            return {};
        }
    }

private:
    std::shared_ptr<StoreHandle> store_;
};

c10::intrusive_ptr<c10d::Store> open_store(const Environment& environment, std::chrono::milliseconds timeout)
{
    const Rendezvous& meeting = environment.rendezvous;
    if (!meeting.file.empty())
        return c10::make_intrusive<c10d::FileStore>(meeting.file.string(),
                                                    -1); // -1: whoever made the folder removes it
    c10d::TCPStoreOptions options;
    // A store that the launcher serves may be of another PyTorch than this one, and their protocols differ: ours is at
    // the next port of the same host, where rank 0 runs.
    options.port = static_cast<uint16_t>(meeting.served ? meeting.port + 1 : meeting.port);
    options.isServer = environment.rank == 0;
    options.numWorkers = static_cast<std::size_t>(environment.world);
    options.waitWorkers = false;
    options.timeout = timeout;
    return c10::make_intrusive<c10d::TCPStore>(meeting.host, options);
}

/// What the groups of one world share, so that sub-groups can be made from it.
struct WorldState : GroupState {
    Environment environment;
    WorldOptions options;
    std::shared_ptr<StoreHandle> store;
    int n_grids = 0;      ///< sets of groups made so far: each meets in a place of its own in the store
    int64_t meetings = 0; ///< so far; equal on all ranks
};

/// Until all ranks have counted themselves at a key of the store, or one says that it has failed. @return how many came
int64_t count_arrivals(WorldState& world, const std::string& key, std::chrono::steady_clock::time_point until)
{
    using namespace std::chrono_literals;
    auto& store = *world.store->store;
    auto here = store.add(key, 1);
    for (auto pause = 2ms; here < int64_t(world.members.size()) && std::chrono::steady_clock::now() < until;
         pause = std::min<std::chrono::milliseconds>(2 * pause, 200ms)) {
        if (!world.health->board()->read().empty())
            break;
        std::this_thread::sleep_for(pause);
        here = store.add(key, 0);
    }
    return here;
}

std::shared_ptr<Backend> connect(const WorldState& world, const std::string& scope, int rank, int size)
{
    using namespace std::chrono_literals;
    StoreHandle store(c10::make_intrusive<c10d::PrefixStore>(scope, world.store->store));
    const bool has_watchdog = world.options.backend == BackendKind::Nccl;
    const Connection connection{.rank = rank,
                                .size = size,
                                .scope = scope,
                                .timeout = world.options.timeout + (has_watchdog ? kBeforeWatchdog : 0ms),
                                .local_rank = world.environment.local_rank,
                                .same_host = world.environment.local_world == world.environment.world};
    auto backend =
        world.options.backend == BackendKind::Gloo ? connect_gloo(store, connection) : connect_nccl(store, connection);
    world.health->add(backend);
    return backend;
}

std::shared_ptr<GroupState> make_subgroup(const std::shared_ptr<WorldState>& world, const std::string& name, int id,
                                          const std::vector<int>& members)
{
    auto state = std::make_shared<GroupState>();
    state->name = name;
    state->members = members;
    state->health = world->health;
    const int own = world->members[world->rank];
    state->rank = static_cast<int>(std::find(members.begin(), members.end(), own) - members.begin());
    GRADWIND_ASSERT(state->rank < static_cast<int>(members.size()));
    if (members.size() > 1)
        state->backend = connect(*world, fmt::format("{}/{}/{}", name, id, world->n_grids), state->rank,
                                 static_cast<int>(members.size()));
    return state;
}

template <class Connect>
auto or_comm_error(const std::string& doing, Connect connect)
{
    try {
        return connect();
    } catch (const Error&) {
        throw;
    } catch (const c10::Error& error) {
        throw CommError("[comm] " + doing + " failed: " + error.what_without_backtrace());
    } catch (const std::exception& error) {
        throw CommError("[comm] " + doing + " failed: " + error.what());
    }
}

} // namespace

RankGrid make_rank_grid(const Group& world, int row_size, const std::string& name)
{
    GRADWIND_CHECK(row_size >= 1 && world.size() % row_size == 0, ConfigError,
                   "[layout] {} groups of {} processes do not fill a job of {}: choose a divisor", name, row_size,
                   world.size());
    if (row_size == 1)
        return {Group::self(name), world};
    const auto state = std::dynamic_pointer_cast<WorldState>(world.state());
    GRADWIND_ASSERT(state != nullptr);
    ++state->n_grids;
    const int row = world.rank() / row_size, column = world.rank() % row_size;
    std::vector<int> in_row, in_column;
    for (int place = 0; place < row_size; ++place)
        in_row.push_back(row * row_size + place);
    for (int other = column; other < world.size(); other += row_size)
        in_column.push_back(other);
    return or_comm_error("making groups of ranks", [&]() -> RankGrid {
        return {Group(make_subgroup(state, name, row, in_row)),
                Group(make_subgroup(state, name + "_across", column, in_column))};
    });
}

} // namespace detail

Group connect_world(const Environment& environment, const WorldOptions& options)
{
    if (environment.world == 1)
        return Group::self("world");
    const std::string doing =
        fmt::format("rank {} meeting the other {} processes at {}", environment.rank, environment.world - 1,
                    environment.rendezvous.file.empty()
                        ? fmt::format("{}:{}", environment.rendezvous.host, environment.rendezvous.port)
                        : environment.rendezvous.file.string());
    return detail::or_comm_error(doing, [&] {
        auto state = std::make_shared<detail::WorldState>();
        state->name = "world";
        state->environment = environment;
        state->options = options;
        state->rank = environment.rank;
        for (int rank = 0; rank < environment.world; ++rank)
            state->members.push_back(rank);
        const auto patience = std::max(options.timeout, options.start_patience);
        state->store = std::make_shared<detail::StoreHandle>(detail::open_store(environment, patience));
        state->health = std::make_shared<detail::Health>(std::make_shared<detail::StoreBoard>(state->store));
        const auto here =
            detail::count_arrivals(*state, "gradwind/arrivals", std::chrono::steady_clock::now() + patience);
        if (here < environment.world)
            throw std::runtime_error(fmt::format("{} of {} processes came within {:g} s", here, environment.world,
                                                 std::chrono::duration<double>(patience).count()));
        state->backend = detail::connect(*state, "world", environment.rank, environment.world);
        return Group(state);
    });
}

Groups make_groups(const Layout& layout, const Group& world)
{
    GRADWIND_CHECK(
        layout.world() == world.size(), ConfigError,
        "[layout] the configuration asks for {} nodes x {} processes = {}, but {} were started: start {}, or "
        "change system.hardware",
        layout.options().nodes, layout.options().gpus_per_node, layout.world(), world.size(), layout.world());
    if (world.size() == 1)
        return {layout,
                world,
                Group::self("model"),
                Group::self("reader"),
                Group::self("ensemble"),
                Group::self("subgroup")};
    const auto state = std::dynamic_pointer_cast<detail::WorldState>(world.state());
    GRADWIND_ASSERT(state != nullptr);
    const Place place = layout.place(world.rank());
    ++state->n_grids; // addresses of groups that were made before, and are gone, would still be found in the store
    return detail::or_comm_error("making the groups of the layout", [&]() -> Groups {
        const int readers_per_model = layout.model_size() / layout.reader_size();
        const auto group = [&](const char* name, int id, const std::vector<int>& members) {
            return Group(detail::make_subgroup(state, name, id, members));
        };
        return {layout,
                world,
                group("model", place.model_id, layout.model_ranks(place.model_id)),
                group("reader", place.model_id * readers_per_model + place.reader_id,
                      layout.reader_ranks(place.model_id, place.reader_id)),
                group("ensemble", place.ensemble_id, layout.ensemble_ranks(place.ensemble_id)),
                group("subgroup", place.subgroup_id, layout.subgroup_ranks(place.subgroup_id))};
    });
}

void meet(const Group& world, const std::string& where, std::chrono::milliseconds patience)
{
    if (world.size() == 1)
        return;
    const auto state = std::dynamic_pointer_cast<detail::WorldState>(world.state());
    GRADWIND_ASSERT(state != nullptr);
    state->run(Verb::Barrier, 0, [&] {
        const auto key = fmt::format("gradwind/meeting/{}", ++state->meetings);
        const auto here = detail::count_arrivals(*state, key, std::chrono::steady_clock::now() + patience);
        if (here < int64_t(world.size()))
            throw std::runtime_error(fmt::format("{} of {} processes came to {} within {:g} s", here, world.size(),
                                                 where, std::chrono::duration<double>(patience).count()));
    });
}

void run_supervised(const Group& world, const std::function<void()>& work)
{
    try {
        work();
    } catch (const CommError&) {
        throw; // the group's own error: whoever caused it has posted it
    } catch (const std::exception& error) {
        world.fail(error.what());
        throw;
    }
}

} // namespace gradwind::parallel
