// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// What a program that slow_link runs says to it.
#pragma once
#include "gradwind/parallel/group.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

namespace gradwind::bench
{

enum class Link { AsFastAsTheMachine, AsGiven };

/// Tells slow_link, if it runs this, what follows.
inline void set_link(const parallel::Group& world, Link link)
{
    const char* pid = std::getenv("SLOW_LINK_PID");
    if (!pid)
        return;
    world.barrier(); // nothing is on its way
    if (world.rank() == 0)
        ::kill(static_cast<pid_t>(std::stol(pid)), link == Link::AsGiven ? SIGUSR1 : SIGUSR2);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    world.barrier();
}

} // namespace gradwind::bench
