// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "gradwind/train/stop_signal.h"

namespace gradwind::train
{

namespace
{

// A handler can reach nothing else.
volatile std::sig_atomic_t received_signal = 0;

extern "C" void remember_signal(int signal)
{
    if (signal == SIGINT && received_signal == SIGINT) {
        std::signal(SIGINT, SIG_DFL);
        std::raise(SIGINT);
    }
    received_signal = signal;
}

} // namespace

StopSignal::StopSignal()
{
    received_signal = 0;
    struct sigaction action {
    };
    action.sa_handler = remember_signal;
    action.sa_flags = SA_RESTART;
    for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
        Saved saved{signal, {}};
        ::sigaction(signal, &action, &saved.action);
        saved_.push_back(saved);
    }
}

StopSignal::~StopSignal()
{
    for (const auto& saved : saved_)
        ::sigaction(saved.signal, &saved.action, nullptr);
}

int StopSignal::received() const
{
    return received_signal;
}

} // namespace gradwind::train
