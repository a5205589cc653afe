// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// When packets leave a switch whose ports have a rate; no input or output.
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace gradwind::bench
{

struct LinkOptions {
    double bytes_per_s = 125e6;     ///< of each port, in each direction
    double latency_s = 50e-6;       ///< from the last byte sent to the last byte received
    int64_t queue_bytes = 64 << 20; ///< what a port holds back at most; more is dropped
};

/// A switch without blocking inside: a packet takes its turn at the port that it comes from and at the one that it goes
/// to, each at the port's rate, as soon as both are free (cut-through).
class PacketScheduler
{
public:
    PacketScheduler(size_t ports, const LinkOptions& options) : options_(options), out_(ports, 0.0), in_(ports, 0.0) {}

    /// A packet came from a port. @param now_s  never less than in the call before
    /// @return when it arrives; nothing if it is dropped
    [[nodiscard]] std::optional<double> arrival(size_t from, size_t to, int64_t bytes, double now_s)
    {
        const double start = std::max({now_s, out_.at(from), in_.at(to)});
        if ((start - now_s) * options_.bytes_per_s > double(options_.queue_bytes))
            return std::nullopt;
        const double end = start + double(bytes) / options_.bytes_per_s;
        out_[from] = in_[to] = end;
        return end + options_.latency_s;
    }
    /// A packet that does not queue. Acknowledgements have credits of their own on the networks that are emulated, and
    /// behind data they would halve the rate of two-way traffic.
    [[nodiscard]] double express_arrival(double now_s) const { return now_s + options_.latency_s; }
    /// Of packets that come from now on.
    void set_rate(double bytes_per_s) { options_.bytes_per_s = bytes_per_s; }

private:
    LinkOptions options_;
    std::vector<double> out_, in_; ///< when each port is free again
};

/// Packets that wait for their time, the earliest first; equal times in the order in which they came.
template <class Packet>
class WaitingPackets
{
public:
    void push(double due_s, Packet packet) { queue_.push({due_s, count_++, std::move(packet)}); }
    [[nodiscard]] bool empty() const { return queue_.empty(); }
    [[nodiscard]] double due_s() const { return queue_.top().due_s; }
    [[nodiscard]] Packet pop()
    {
        Packet packet = std::move(const_cast<Entry&>(queue_.top()).packet); // the entry leaves with the next line
        queue_.pop();
        return packet;
    }

private:
    struct Entry {
        double due_s = 0;
        uint64_t number = 0;
        Packet packet;
        bool operator<(const Entry& other) const
        {
            return due_s != other.due_s ? due_s > other.due_s : number > other.number;
        }
    };
    std::priority_queue<Entry> queue_;
    uint64_t count_ = 0;
};

} // namespace gradwind::bench
