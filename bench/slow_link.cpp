// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Runs a command as processes of one job, each in a network of its own, joined by a switch with slow ports.
//   slow_link --ports 2 --rate 31.25 --latency 50 -- exchange_bench --compute timed ...
// The processes find each other as under torchrun: RANK, WORLD_SIZE, MASTER_ADDR, and GLOO_SOCKET_IFNAME. SIGUSR2 to
// SLOW_LINK_PID makes the ports as fast as the machine, for what is not to be measured; SIGUSR1 brings their rate back.
// Needs root and /dev/net/tun. Prints what the switch did as a JSON object on stderr: a run in which packets were late
// by much is no measurement.
#include "bench/packet_scheduler.h"

#include <arpa/inet.h>
#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace
{

using namespace gradwind::bench;
using Clock = std::chrono::steady_clock;

constexpr const char* kNetwork = "10.77.0.";
constexpr const char* kDevice = "tun0";
constexpr double kFastBytesPerSecond = 1e12;
/// What the processes asked for last.
std::atomic<bool> g_slow = true;
static_assert(std::atomic<bool>::is_always_lock_free);

struct Settings {
    size_t ports = 2;
    double rate_mb = 125, latency_us = 50;
    int mtu = 16384;
    int master_port = 29531;
    std::vector<std::string> command;
};

void check(bool ok, const std::string& what)
{
    if (!ok)
        throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

ifreq request_for(const char* device)
{
    ifreq request{};
    std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    return request;
}

void set_address(int socket, unsigned long what, const std::string& address)
{
    auto request = request_for(kDevice);
    sockaddr_in in{};
    in.sin_family = AF_INET;
    check(inet_pton(AF_INET, address.c_str(), &in.sin_addr) == 1, address);
    std::memcpy(&request.ifr_addr, &in, sizeof in);
    check(ioctl(socket, what, &request) == 0, "address " + address);
}

void bring_up(int socket, const char* device)
{
    auto request = request_for(device);
    check(ioctl(socket, SIOCGIFFLAGS, &request) == 0, device);
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
    check(ioctl(socket, SIOCSIFFLAGS, &request) == 0, device);
}

/// A network of this process's own, whose only way out is the device that is returned.
int enter_network(size_t port, const Settings& settings)
{
    check(unshare(CLONE_NEWNET) == 0, "a network namespace (root is needed)");
    const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    check(tun >= 0, "/dev/net/tun");
    auto request = request_for(kDevice);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    check(ioctl(tun, TUNSETIFF, &request) == 0, "TUNSETIFF");
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(socket >= 0, "socket");
    set_address(socket, SIOCSIFADDR, kNetwork + std::to_string(port + 1));
    set_address(socket, SIOCSIFNETMASK, "255.255.255.0");
    request = request_for(kDevice);
    request.ifr_mtu = settings.mtu;
    check(ioctl(socket, SIOCSIFMTU, &request) == 0, "MTU");
    request = request_for(kDevice);
    request.ifr_qlen = 10000;
    check(ioctl(socket, SIOCSIFTXQLEN, &request) == 0, "queue");
    bring_up(socket, "lo");
    bring_up(socket, kDevice);
    close(socket);
    // One that paces itself would measure the emulator.
    std::ofstream("/proc/sys/net/ipv4/tcp_congestion_control") << "cubic";
    return tun;
}

/// A message of one byte that carries a file descriptor to another process.
struct DescriptorMessage {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};

    DescriptorMessage()
    {
        header.msg_iov = &data;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
    }
    DescriptorMessage(const DescriptorMessage&) = delete;
    DescriptorMessage& operator=(const DescriptorMessage&) = delete;
};

void send_descriptor(int channel, int descriptor)
{
    DescriptorMessage message;
    auto* part = CMSG_FIRSTHDR(&message.header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(part), &descriptor, sizeof(int));
    check(sendmsg(channel, &message.header, 0) == 1, "sendmsg");
}

int receive_descriptor(int channel)
{
    DescriptorMessage message;
    if (recvmsg(channel, &message.header, MSG_CMSG_CLOEXEC) != 1)
        throw std::runtime_error("a process could not set up its network");
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message.header)), sizeof(int));
    return descriptor;
}

[[noreturn]] void run_child(size_t port, const Settings& settings, int channel)
{
    try {
        send_descriptor(channel, enter_network(port, settings));
        char go = 0;
        check(read(channel, &go, 1) == 1, "start");
        const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
        set("RANK", std::to_string(port));
        set("WORLD_SIZE", std::to_string(settings.ports));
        set("LOCAL_RANK", "0");
        set("LOCAL_WORLD_SIZE", "1");
        set("MASTER_ADDR", std::string(kNetwork) + "1");
        set("MASTER_PORT", std::to_string(settings.master_port));
        set("GLOO_SOCKET_IFNAME", kDevice);
        set("SLOW_LINK_PID", std::to_string(getppid()));
        std::vector<char*> words;
        for (const auto& word : settings.command)
            words.push_back(const_cast<char*>(word.c_str()));
        words.push_back(nullptr);
        execvp(words[0], words.data());
        check(false, settings.command[0]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "slow_link: port %zu: %s\n", port, error.what());
    }
    std::_Exit(1);
}

/// Forwards packets between the ports until it is told that the processes have ended.
class Switch
{
public:
    Switch(std::vector<int> tuns, const Settings& settings)
        : tuns_(std::move(tuns)), bytes_per_s_(1e6 * settings.rate_mb),
          scheduler_(tuns_.size(), {.bytes_per_s = bytes_per_s_, .latency_s = 1e-6 * settings.latency_us}),
          buffer_(static_cast<size_t>(settings.mtu) + 64)
    {
        for (const int tun : tuns_)
            check(fcntl(tun, F_SETFL, O_NONBLOCK) == 0, "O_NONBLOCK");
    }

    /// For at most a millisecond.
    void turn()
    {
        if (is_slow_ != g_slow) {
            is_slow_ = g_slow;
            scheduler_.set_rate(is_slow_ ? bytes_per_s_ : kFastBytesPerSecond);
        }
        std::vector<pollfd> waiting;
        for (const int tun : tuns_)
            waiting.push_back({tun, POLLIN, 0});
        const double left = packets_.empty() ? 1e-3 : std::clamp(packets_.due_s() - now(), 0.0, 1e-3);
        const timespec limit{0, static_cast<long>(1e9 * left)};
        if (ppoll(waiting.data(), waiting.size(), &limit, nullptr) > 0)
            for (size_t port = 0; port < tuns_.size(); ++port)
                if (waiting[port].revents & POLLIN)
                    receive(port);
        deliver();
    }

    [[nodiscard]] nlohmann::json summary() const
    {
        return {{"switch_packets", n_packets_},
                {"switch_mb", 1e-6 * static_cast<double>(n_bytes_)},
                {"switch_dropped", n_dropped_},
                {"switch_late_us_mean", n_slow_ ? 1e6 * late_s_ / static_cast<double>(n_slow_) : 0},
                {"switch_late_us_worst", 1e6 * worst_s_}};
    }

private:
    struct Packet {
        size_t to = 0;
        std::vector<char> bytes;
    };

    [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

    /// TCP without a payload; a small message that overtook others would look like loss.
    static bool is_acknowledgement(const unsigned char* packet, ssize_t size)
    {
        constexpr int kTcp = 6;
        const ssize_t ip = 4 * (packet[0] & 15);
        return packet[9] == kTcp && size >= ip + 20 && size == ip + 4 * (packet[ip + 12] >> 4);
    }

    void receive(size_t port)
    {
        for (int turn = 0; turn < 64; ++turn) { // then the other ports
            const auto size = read(tuns_[port], buffer_.data(), buffer_.size());
            if (size < 20)
                return;
            // IPv4 to one of our addresses; whatever else the kernel sends has no place here.
            const auto* bytes = reinterpret_cast<const unsigned char*>(buffer_.data());
            const size_t to = static_cast<size_t>(bytes[19]) - 1;
            if (bytes[0] >> 4 != 4 || bytes[16] != 10 || bytes[17] != 77 || to >= tuns_.size())
                continue;
            if (is_acknowledgement(bytes, size))
                packets_.push(scheduler_.express_arrival(now()), {to, {buffer_.data(), buffer_.data() + size}});
            else if (const auto due = scheduler_.arrival(port, to, size, now()))
                packets_.push(*due, {to, {buffer_.data(), buffer_.data() + size}});
            else
                ++n_dropped_;
        }
    }

    void deliver()
    {
        while (!packets_.empty() && packets_.due_s() <= now()) {
            const double late = now() - packets_.due_s();
            const auto packet = packets_.pop();
            (void)!write(tuns_[packet.to], packet.bytes.data(),
                         packet.bytes.size()); // a full device drops, as networks do
            ++n_packets_;
            n_bytes_ += static_cast<int64_t>(packet.bytes.size());
            if (!is_slow_)
                continue; // nobody measures
            ++n_slow_;
            late_s_ += late;
            worst_s_ = std::max(worst_s_, late);
        }
    }

    const Clock::time_point start_ = Clock::now();
    std::vector<int> tuns_;
    const double bytes_per_s_;
    bool is_slow_ = true;
    PacketScheduler scheduler_;
    std::vector<char> buffer_;
    WaitingPackets<Packet> packets_;
    int64_t n_packets_ = 0, n_slow_ = 0, n_bytes_ = 0, n_dropped_ = 0;
    double late_s_ = 0, worst_s_ = 0;
};

/// Ends what is left, once one process has failed, and gives the first failure.
class Children
{
public:
    std::vector<pid_t> pids;

    /// @return whether all have ended
    bool poll()
    {
        for (auto& pid : pids) {
            int status = 0;
            if (pid <= 0 || waitpid(pid, &status, WNOHANG) != pid)
                continue;
            pid = 0;
            const int result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            if (result != 0 && code == 0) {
                code = result;
                for (const pid_t other : pids)
                    if (other > 0)
                        kill(other, SIGTERM);
            }
        }
        return std::all_of(pids.begin(), pids.end(), [](pid_t pid) { return pid <= 0; });
    }

    int code = 0;
};

int run(const Settings& settings)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); // sleeps end when they are asked to
    std::signal(SIGUSR1, [](int) { g_slow = true; });
    std::signal(SIGUSR2, [](int) { g_slow = false; });
    Children children;
    std::vector<int> tuns, channels;
    for (size_t port = 0; port < settings.ports; ++port) {
        int pair[2];
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
        const pid_t pid = fork();
        check(pid >= 0, "fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(pair[0]);
            run_child(port, settings, pair[1]);
        }
        close(pair[1]);
        children.pids.push_back(pid);
        channels.push_back(pair[0]);
        tuns.push_back(receive_descriptor(pair[0]));
    }
    Switch network(std::move(tuns), settings);
    for (const int channel : channels)
        check(write(channel, "g", 1) == 1, "start");
    auto looked = Clock::now();
    for (;;) {
        network.turn();
        if (Clock::now() - looked < std::chrono::milliseconds(20))
            continue;
        looked = Clock::now();
        if (children.poll())
            break;
    }
    std::fprintf(stderr, "%s\n", network.summary().dump().c_str());
    return children.code;
}

} // namespace

int main(int argc, char** argv)
{
    Settings settings;
    CLI::App app("Runs a command as processes that are joined by slow links");
    app.add_option("--ports", settings.ports, "processes")->check(CLI::Range(2, 200));
    app.add_option("--rate", settings.rate_mb, "of each port in each direction, in MB (1e6 bytes) per second");
    app.add_option("--latency", settings.latency_us, "microseconds");
    app.add_option("--mtu", settings.mtu)->check(CLI::Range(1280, 65535));
    app.add_option("--master-port", settings.master_port);
    app.add_option("command", settings.command, "behind --")->required();
    CLI11_PARSE(app, argc, argv);
    try {
        return run(settings);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "slow_link: %s\n", error.what());
        return 1;
    }
}
