// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
// Collectives on CPU tensors over c10d's Gloo, with what Debian's Gloo lacks built from what it has.
#include "gradwind/core/error.h"
#include "gradwind/parallel/c10d_seam.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace gradwind::parallel::detail
{
namespace
{

using Rows = std::span<const int64_t>;

/// The memory of a contiguous tensor as bytes [numel * element_size]: Gloo refuses bf16, bool and int16.
at::Tensor bytes_of(const at::Tensor& x)
{
    return at::from_blob(
        x.data_ptr(), {x.numel() * static_cast<int64_t>(x.element_size())}, [x](void*) {},
        at::device(at::kCPU).dtype(at::kByte));
}

/// Bytes in one row of x, where the row count is rows (x may have none).
int64_t row_bytes(const at::Tensor& x)
{
    int64_t bytes = static_cast<int64_t>(x.element_size());
    for (int64_t d = 1; d < x.dim(); ++d)
        bytes *= x.size(d);
    return bytes;
}

std::vector<int64_t> scaled(Rows rows, int64_t factor)
{
    std::vector<int64_t> result(rows.begin(), rows.end());
    for (int64_t& count : result)
        count *= factor;
    return result;
}

/// Consecutive parts of some bytes. @param rows  in each, of unit bytes
std::vector<at::Tensor> blocks_of(const at::Tensor& bytes, Rows rows, int64_t unit)
{
    std::vector<at::Tensor> blocks;
    int64_t at = 0;
    for (const int64_t count : rows) {
        blocks.push_back(bytes.narrow(0, at, count * unit));
        at += count * unit;
    }
    return blocks;
}

/// The type in which a sum is formed on the wire; what Gloo adds by itself stays as it is.
at::ScalarType wire_type(at::ScalarType type)
{
    switch (type) {
    case at::kBool:
        return at::kByte;
    case at::kShort:
        return at::kInt;
    default:
        return type;
    }
}

/// Runs what is left of a sum after the ticket of the first part.
class ThenTicket : public Ticket
{
public:
    ThenTicket(std::unique_ptr<Ticket> first, std::function<void()> then)
        : first_(std::move(first)), then_(std::move(then))
    {
    }
    void wait() override
    {
        if (first_)
            first_->wait();
        then_();
    }

private:
    std::unique_ptr<Ticket> first_;
    std::function<void()> then_;
};

/// A sum that has to be put together, each time as the backend does it once.
class ComposedSum : public Repeatable
{
public:
    ComposedSum(Backend& backend, at::Tensor x) : backend_(backend), x_(std::move(x)) {}
    void start() override { ticket_ = backend_.all_reduce_sum(x_, Queue::Own); }
    void wait() override { ticket_->wait(); }

private:
    Backend& backend_; ///< of the group that holds this
    at::Tensor x_;
    std::unique_ptr<Ticket> ticket_;
};

class Gloo : public Backend
{
public:
    Gloo(c10::intrusive_ptr<c10d::ProcessGroupGloo> group) : group_(std::move(group)) {}

    [[nodiscard]] at::Device device() const override { return at::kCPU; }

    [[nodiscard]] std::unique_ptr<Ticket> all_reduce_sum(at::Tensor x, Queue /*queue*/) override
    {
        if (x.numel() == 0)
            return std::make_unique<ThenTicket>(nullptr, [] {});
        if (x.scalar_type() == at::kBFloat16) {
            sum_bf16(x);
            return std::make_unique<ThenTicket>(nullptr, [] {});
        }
        at::Tensor wire = x.detach().to(wire_type(x.scalar_type()));
        std::vector<at::Tensor> tensors = {wire};
        auto ticket = std::make_unique<C10dTicket>(group_->allreduce(tensors), tensors);
        if (wire.scalar_type() == x.scalar_type())
            return ticket;
        return std::make_unique<ThenTicket>(std::move(ticket), [x, wire] { x.detach().copy_(wire); });
    }

    [[nodiscard]] std::unique_ptr<Repeatable> repeated_sum(at::Tensor x) override
    {
        const auto type = x.scalar_type();
        if (x.numel() == 0 || type == at::kBFloat16 || wire_type(type) != type)
            return std::make_unique<ComposedSum>(*this, std::move(x));
        return std::make_unique<C10dRepeatedSum>(group_, x);
    }

    void all_gather(at::Tensor out, at::Tensor in, Rows rows) override
    {
        const auto blocks = blocks_of(bytes_of(out), rows, row_bytes(in));
        const at::Tensor source = bytes_of(in);
        trade(blocks, std::vector<at::Tensor>(blocks.size(), source));
        blocks[size_t(group_->getRank())].copy_(source);
    }

    void reduce_scatter_sum(at::Tensor out, at::Tensor in, Rows rows) override
    {
        const int size = group_->getSize(), own = group_->getRank();
        const std::vector<int64_t> mine(size, rows[own]);
        auto shape = in.sizes().vec();
        shape[0] = std::accumulate(mine.begin(), mine.end(), int64_t{0});
        const at::Tensor shares = at::empty(shape, in.options());
        trade(blocks_of(bytes_of(shares), mine, row_bytes(in)), blocks_of(bytes_of(in), rows, row_bytes(in)));
        const int64_t before = std::accumulate(rows.begin(), rows.begin() + own, int64_t{0});
        shares.narrow(0, own * mine[0], mine[0]).copy_(in.narrow(0, before, mine[0]));
        const auto type =
            in.scalar_type() == at::kBFloat16 || in.scalar_type() == at::kHalf ? at::kFloat : in.scalar_type();
        at::Tensor sum = shares.narrow(0, 0, mine[0]).to(type, /*non_blocking=*/false, /*copy=*/true);
        for (int rank = 1; rank < size; ++rank)
            sum.add_(shares.narrow(0, rank * mine[0], mine[0]));
        out.copy_(sum);
    }

    [[nodiscard]] std::unique_ptr<Ticket> all_to_all(at::Tensor out, at::Tensor in, Rows receive_rows,
                                                     Rows send_rows) override
    {
        at::Tensor target = bytes_of(out);
        at::Tensor source = bytes_of(in);
        auto receive = scaled(receive_rows, row_bytes(out));
        auto send = scaled(send_rows, row_bytes(in));
        return std::make_unique<C10dTicket>(group_->alltoall_base(target, source, receive, send),
                                            std::vector<at::Tensor>{out, in});
    }

    void broadcast(at::Tensor x, int root) override
    {
        if (x.numel() == 0)
            return;
        std::vector<at::Tensor> tensors = {bytes_of(x)};
        c10d::BroadcastOptions options;
        options.rootRank = root;
        group_->broadcast(tensors, options)->wait();
    }

    void barrier() override { group_->barrier()->wait(); }

private:
    /// Own sends and receives: exact sizes without padding, any type, and both directions of a link at once, where
    /// Gloo's exchange of all with all leaves them idle for a third of the time. What ranks keep is not touched.
    /// @param received, sent  bytes from and for each rank
    void trade(const std::vector<at::Tensor>& received, const std::vector<at::Tensor>& sent)
    {
        std::vector<c10::intrusive_ptr<c10d::Work>> works;
        const int tag = next_tag_++;
        for (int peer = 0; peer < group_->getSize(); ++peer) {
            if (peer == group_->getRank())
                continue;
            if (received[peer].numel() > 0) {
                std::vector<at::Tensor> tensors = {received[peer]};
                works.push_back(group_->recv(tensors, peer, tag));
            }
            if (sent[peer].numel() > 0) {
                std::vector<at::Tensor> tensors = {sent[peer]};
                works.push_back(group_->send(tensors, peer, tag));
            }
        }
        for (const auto& work : works)
            work->wait();
    }

    /// Every rank sums one part in fp32 and hands the rounded sums round: 2 bytes an element each way.
    void sum_bf16(const at::Tensor& x)
    {
        const int size = group_->getSize();
        const at::Tensor flat = x.detach().view(-1);
        std::vector<int64_t> parts(size, flat.numel() / size);
        std::fill_n(parts.begin(), flat.numel() % size, flat.numel() / size + 1);
        const at::Tensor own = at::empty({parts[group_->getRank()]}, flat.options());
        reduce_scatter_sum(own, flat, parts);
        all_gather(flat, own, parts);
    }

    c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
    int next_tag_ = 0;
};

/// Loopback within a host; else the interface that the user names, else the one that the host's name resolves to.
std::shared_ptr<::gloo::transport::Device> make_device(const Connection& connection)
{
    if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface && *interface)
        return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
    if (connection.same_host)
        return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
    return c10d::ProcessGroupGloo::createDefaultDevice();
}

} // namespace

std::shared_ptr<Backend> connect_gloo(StoreHandle& store, const Connection& connection)
{
    auto options = c10d::ProcessGroupGloo::Options::create(connection.timeout);
    options->devices = {make_device(connection)};
    options->threads = 2; // one waits for the network while the other adds
    return std::make_shared<Gloo>(
        c10::make_intrusive<c10d::ProcessGroupGloo>(store.store, connection.rank, connection.size, options));
}

bool has_gloo()
{
    return true;
}

} // namespace gradwind::parallel::detail
