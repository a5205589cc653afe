// SPDX-FileCopyrightText: the gradwind authors
// SPDX-License-Identifier: Apache-2.0
#include "bench/packet_scheduler.h"

#include <gtest/gtest.h>

namespace gradwind::bench
{
namespace
{

constexpr LinkOptions kLink = {.bytes_per_s = 1e6, .latency_s = 1e-3, .queue_bytes = 10'500};

TEST(PacketScheduler, APortSendsOneAfterTheOther)
{
    PacketScheduler ports(3, kLink);
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 1, 1000, 5.0), 5.0 + 1e-3 + 1e-3);
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 2, 1000, 5.0), 5.0 + 2e-3 + 1e-3) << "the port is busy, whoever gets it";
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 1, 1000, 6.0), 6.0 + 1e-3 + 1e-3) << "and free again";
}

TEST(PacketScheduler, APortReceivesOneAfterTheOther)
{
    PacketScheduler ports(3, kLink);
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 2, 1000, 0), 2e-3);
    EXPECT_DOUBLE_EQ(*ports.arrival(1, 2, 1000, 0), 3e-3);
    EXPECT_DOUBLE_EQ(*ports.arrival(2, 0, 1000, 0), 2e-3) << "both directions at once";
}

TEST(PacketScheduler, ManyPacketsTakeTheRate)
{
    PacketScheduler ports(2, {.bytes_per_s = 31.25e6, .latency_s = 0, .queue_bytes = 1 << 30});
    double last = 0;
    for (int i = 0; i < 1000; ++i)
        last = *ports.arrival(0, 1, 16384, 0);
    EXPECT_NEAR(last, 1000 * 16384 / 31.25e6, 1e-9);
}

TEST(PacketScheduler, ARateHoldsFromNowOn)
{
    PacketScheduler ports(2, kLink);
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 1, 1000, 0), 1e-3 + 1e-3);
    ports.set_rate(2e6);
    EXPECT_DOUBLE_EQ(*ports.arrival(0, 1, 1000, 0), 1e-3 + 0.5e-3 + 1e-3);
}

TEST(PacketScheduler, AcknowledgementsPassAndTooMuchIsDropped)
{
    PacketScheduler ports(2, kLink);
    int sent = 0;
    while (ports.arrival(0, 1, 1000, 0) && sent < 100)
        ++sent;
    EXPECT_EQ(sent, 11) << "ten wait, one is under way";
    EXPECT_DOUBLE_EQ(ports.express_arrival(0.5), 0.5 + 1e-3);
    EXPECT_FALSE(ports.arrival(0, 1, 1000, 0));
    EXPECT_TRUE(ports.arrival(0, 1, 1000, 0.002)) << "two have left";
}

TEST(WaitingPackets, LeaveByTimeThenByTurn)
{
    WaitingPackets<int> waiting;
    waiting.push(2, 20);
    waiting.push(1, 10);
    waiting.push(2, 21);
    waiting.push(1, 11);
    EXPECT_EQ(waiting.due_s(), 1);
    for (const int expected : {10, 11, 20, 21})
        EXPECT_EQ(waiting.pop(), expected);
    EXPECT_TRUE(waiting.empty());
}

} // namespace
} // namespace gradwind::bench
