// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/parallel/backend.h"
#include "gradwind/parallel/world.h"

#include <thread>

namespace gradwind::parallel
{

namespace
{

// An error that nothing holds up has left long before; launchers wait ten seconds.
constexpr auto kPatience = std::chrono::seconds(3);

std::mutex the_mutex;
LastResort the_last_resort; ///< guarded by it

void leave_later(const std::string& reason)
{
    std::this_thread::sleep_for(kPatience);
    const std::lock_guard lock(the_mutex); // for one of them
    if (the_last_resort)
        the_last_resort(reason);
}

} // namespace

void set_last_resort(LastResort leave)
{
    const std::lock_guard lock(the_mutex);
    the_last_resort = std::move(leave);
}

namespace detail
{

void Health::die(const std::string& reason)
{
    std::vector<std::weak_ptr<Backend>> backends;
    {
        const std::lock_guard lock(mutex_);
        if (dead_.exchange(true))
            return;
        reason_ = reason;
        backends.swap(backends_);
    }
    bool has_gpu = false;
    for (const auto& backend : backends)
        if (const auto living = backend.lock()) {
            has_gpu = has_gpu || !living->device().is_cpu();
            living->give_up();
        }
    if (has_gpu)
        std::thread(leave_later, reason).detach();
}

void Health::add(const std::shared_ptr<Backend>& backend)
{
    const std::lock_guard lock(mutex_);
    backends_.push_back(backend);
}

} // namespace detail

} // namespace gradwind::parallel
