# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Gradients of a small network under torch's DistributedDataParallel on two processes.

Usage: ddp_oracle.py FOLDER STEPS. Writes FOLDER/ddp_<step>.bin: float32 gradients, averaged over ranks, in the order of
the parameters. The network, its numbers and its samples are those of ddp_test.cpp.
"""
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

SHAPES = [(64, 16), (64,), (64, 64), (64,), (8, 64), (8,)]


def numbers(seed, shape):
    """Reproducible on any platform: whole numbers divided by a power of two."""
    count = 1
    for extent in shape:
        count *= extent
    return ((torch.arange(count) * 7919 + seed * 104729) % 1009 - 504).to(torch.float32).div(2048).reshape(shape)


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.ParameterList([torch.nn.Parameter(numbers(i, s)) for i, s in enumerate(SHAPES)])

    def forward(self, x):
        p = self.p
        h = torch.tanh(torch.nn.functional.linear(x, p[0], p[1]))
        h = torch.tanh(torch.nn.functional.linear(h, p[2], p[3]))
        return torch.nn.functional.linear(h, p[4], p[5]).square().mean()


def work(rank, folder, steps):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(os.path.join(folder, "ddp_store"), 2), rank=rank, world_size=2)
    network = torch.nn.parallel.DistributedDataParallel(Network(), bucket_cap_mb=0.01)
    for step in range(steps):
        network.zero_grad()
        network(numbers(1000 + 10 * step + rank, (32, 16))).backward()
        gradients = torch.cat([p.grad.flatten() for p in network.module.p])
        if rank == 0:
            with open(os.path.join(folder, f"ddp_{step}.bin"), "wb") as file:
                file.write(gradients.numpy().tobytes())
        with torch.no_grad():
            for p in network.module.p:
                p -= 0.125 * p.grad
    dist.barrier()


if __name__ == "__main__":
    mp.spawn(work, args=(sys.argv[1], int(sys.argv[2])), nprocs=2)
