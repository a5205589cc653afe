#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Times torch's DistributedDataParallel on the network of exchange_bench, variant after variant.

usage: torchrun --nproc-per-node 2 exchange_ddp.py [--variants none,ddp,bf16,powersgd:4] [--bucket-mb 25] [--sweep 1,5,100]
       [--compute profile --profile FILE [--step-ms MS] [--slow FACTOR]]
Prints a JSON object a line. `none` is the network without DistributedDataParallel. A profile replays a recorded step as
exchange_bench does: the same tensors, ready at the same times, with sleeps for compute.
PowerSGD's hook waits for further messages in Gloo's two threads, which all wait once two buckets are on their way, and in no order
that ranks agree on. On a CPU a thread of its own runs it bucket by bucket, beside backward: all that the hook does may overlap.
"""
import argparse
import concurrent.futures
import json
import os
import signal
import statistics
import time

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.functional import gelu, layer_norm, linear

SHAPES = [("norm1_weight", 1, 0), ("norm1_bias", 1, 0), ("qkv_weight", 3, 1), ("qkv_bias", 3, 0), ("out_weight", 1, 1),
          ("out_bias", 1, 0), ("norm2_weight", 1, 0), ("norm2_bias", 1, 0), ("fc1_weight", 4, 1), ("fc1_bias", 4, 0),
          ("fc2_weight", 1, 4), ("fc2_bias", 1, 0)]


class Block(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        for name, rows, columns in SHAPES:
            shape = (rows * channels, columns * channels) if columns else (rows * channels,)
            value = torch.randn(shape) * 0.02
            if name.startswith("norm") and name.endswith("weight"):
                value += 1
            self.register_parameter(name, torch.nn.Parameter(value))

    def forward(self, x):
        h = linear(layer_norm(x, (self.channels,), self.norm1_weight, self.norm1_bias), self.qkv_weight, self.qkv_bias)
        a, b, c = h.chunk(3, 1)
        y = x + linear(a * torch.sigmoid(b) * c, self.out_weight, self.out_bias)
        h = gelu(linear(layer_norm(y, (self.channels,), self.norm2_weight, self.norm2_bias), self.fc1_weight, self.fc1_bias))
        return y + linear(h, self.fc2_weight, self.fc2_bias)


class Stage(torch.autograd.Function):
    """Gives the gradient of one parameter at a moment of backward, which begins with the first stage."""

    @staticmethod
    def forward(ctx, clock, seconds, x, parameter):
        ctx.clock, ctx.seconds = clock, seconds
        ctx.save_for_backward(parameter)
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.setdefault("backward", time.perf_counter())
        sleep_until(ctx.clock["backward"] + ctx.seconds)
        return None, None, gradient, ctx.saved_tensors[0].detach()


def sleep_until(moment):
    left = moment - time.perf_counter()
    if left > 0:
        time.sleep(left)


class Replay(torch.nn.Module):
    def __init__(self, args):
        super().__init__()
        self.share = 1.0  # of the recorded times
        with open(args.profile) as file:
            profile = json.load(file)
        factor = 1e-3 * args.slow
        if args.step_ms > 0:
            factor *= args.step_ms / (profile["forward_ms"] + profile["backward_ms"])
        self.forward_s, self.backward_s = factor * profile["forward_ms"], factor * profile["backward_ms"]
        stages = sorted(profile["parameters"], key=lambda stage: stage["ready_ms"])
        self.ready_s = [factor * stage["ready_ms"] for stage in stages]
        # Registered as a network registers its own: what is ready last comes first.
        self.values = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(stage["shape"]) * 0.02) for stage in reversed(stages)])

    def forward(self, x):
        start, clock = time.perf_counter(), {}
        x = Stage.apply(clock, self.share * self.backward_s, x.detach().requires_grad_(), torch.zeros(1))
        for ready_s, value in zip(reversed(self.ready_s), self.values):
            x = Stage.apply(clock, self.share * ready_s, x, value)
        sleep_until(start + self.share * self.forward_s)
        return x


def in_turns(hook):
    """A hook for Gloo: a thread runs it for one bucket after the other, while backward goes on."""
    worker = concurrent.futures.ThreadPoolExecutor(1)

    def queue(state, bucket):
        result = torch.futures.Future()

        def run():
            try:
                result.set_result(hook(state, bucket).wait())
            except Exception as error:
                result.set_exception(error)
        worker.submit(run)
        return result
    return queue


def wrap(network, variant, bucket_mb, device):
    if variant == "none":
        return network
    ids = [device.index] if device.type == "cuda" else None
    ddp = torch.nn.parallel.DistributedDataParallel(network, device_ids=ids, bucket_cap_mb=bucket_mb, broadcast_buffers=False,
                                                    gradient_as_bucket_view=True, static_graph=True)
    if variant == "bf16":
        ddp.register_comm_hook(None, default_hooks.bf16_compress_hook)
    elif variant == "fp16":  # as many bytes, where Gloo knows no bf16
        ddp.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif variant.startswith("powersgd"):
        rank = int(variant.split(":")[1]) if ":" in variant else 4
        state = powerSGD_hook.PowerSGDState(None, matrix_approximation_rank=rank, start_powerSGD_iter=3, min_compression_rate=0.5)
        hook = powerSGD_hook.powerSGD_hook
        ddp.register_comm_hook(state, hook if device.type == "cuda" else in_turns(hook))
    return ddp


def set_link(number):
    """Tells slow_link, if it runs this, that what follows is measured (SIGUSR1) or not (SIGUSR2)."""
    if "SLOW_LINK_PID" in os.environ:
        dist.barrier()
        if dist.get_rank() == 0:
            os.kill(int(os.environ["SLOW_LINK_PID"]), number)
        time.sleep(0.05)
        dist.barrier()


def run(variant, bucket_mb, args, device):
    torch.manual_seed(1)
    set_link(signal.SIGUSR2)
    if args.compute == "profile":
        network, x = Replay(args).to(device), torch.randn(1, device=device)
    else:
        network = torch.nn.Sequential(*[Block(args.channels) for _ in range(args.blocks)]).to(device)
        x = torch.randn(args.tokens, args.channels, device=device)
    net = wrap(network, variant, bucket_mb, device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=device.type == "cuda") if args.update else None
    sync = torch.cuda.synchronize if device.type == "cuda" else (dist.barrier if dist.is_initialized() else lambda: None)
    ms = []
    warm_up = 1 if variant == "none" and args.compute == "profile" else args.warm_up
    for step in range(warm_up + args.steps):
        if step == warm_up:
            set_link(signal.SIGUSR1)
        network.share = 0.05 if step < warm_up else 1.0
        sync()
        start = time.perf_counter()
        net.zero_grad(set_to_none=variant == "none" and args.compute != "profile")
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            loss = net(x).float().square().mean()
        loss.backward()
        if optimizer:
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        if device.type == "cuda":
            sync()
        if step >= warm_up:
            ms.append(1e3 * (time.perf_counter() - start))
    return ms


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variants", default="none,ddp,bf16,powersgd:4")
    parser.add_argument("--bucket-mb", type=float, default=25)
    parser.add_argument("--sweep", type=lambda text: [float(word) for word in text.split(",")], default=[])
    parser.add_argument("--blocks", type=int, default=24)
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--compute", default="gemm", choices=["gemm", "profile"])
    parser.add_argument("--profile")
    parser.add_argument("--step-ms", type=float, default=0)
    parser.add_argument("--slow", type=float, default=1)
    parser.add_argument("--warm-up", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--update", action="store_true", help="AdamW with clipping by norm after every step")
    args = parser.parse_args()
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    cases = []
    for variant in args.variants.split(","):
        cases.append((variant, args.bucket_mb))
        cases += [(variant, cap if cap > 0 else 1e5) for cap in args.sweep if variant in ("ddp", "bf16")]
    times = {case: [] for case in cases}
    medians = {case: [] for case in cases}
    if device.type == "cuda":  # as exchange_bench: kernels start later once NCCL was used
        for case in cases:
            run(*case, args, device)
    for _ in range(args.repeats):
        for case in cases:
            ms = run(*case, args, device)
            times[case] += ms
            medians[case].append(statistics.median(ms))
    if int(os.environ.get("RANK", 0)) == 0:
        for case in cases:
            values = sorted(times[case])
            at = lambda fraction: values[round(fraction * (len(values) - 1))]  # noqa: E731
            print(json.dumps({"bench": "exchange", "peer": "torch " + torch.__version__, "variant": case[0], "bucket_mb": case[1],
                              "world": world, "device": device.type, "steps": len(values),
                              "median_ms": statistics.median(medians[case]), "p10_ms": at(0.1), "p90_ms": at(0.9),
                              "best_ms": values[0], "medians_ms": medians[case], "mean_ms": statistics.mean(values),
                              "slow": args.slow, "steps_ms": times[case] if args.steps <= 8 else []}), flush=True)
    if world > 1:
        dist.barrier()
        if device.type == "cpu":
            os._exit(0)  # Gloo's threads at times abort a process that ends; everything is printed
        dist.destroy_process_group()


main()
