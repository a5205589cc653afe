#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""How soon a GPU starts one kernel after another, and what makes that later: torch alone, one process, no network.

    python bench/kernel_starts.py

A graph of 1000 short kernels is started again and again; microseconds a kernel, medians of nine starts. A JSON line for
each kind of work that goes to and fro between two streams, with the time before it and after ever more rounds of it; then
what makes the GPU forget: idle seconds do not, work of another context does.
"""

import ctypes
import json
import time

import torch

KERNELS = 1000
STARTS = 9
HOST_TO_DEVICE_BYTES = 4 << 20


class Starts:
    """The graph, and two streams of this process's own."""

    def __init__(self):
        self.main, self.side = torch.cuda.Stream(), torch.cuda.Stream()
        self.x = torch.zeros(1 << 16, device="cuda")
        self.y = torch.zeros(1 << 20, device="cuda")
        self.host = torch.zeros(HOST_TO_DEVICE_BYTES // 4).pin_memory()
        self.graph = self.record(lambda: [self.x.add_(1) for _ in range(KERNELS)])
        self.branches = self.record(self.two_branches)
        self.us()

    def record(self, work):
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=self.main, capture_error_mode="thread_local"):
            work()
        return graph

    def us(self):
        times = []
        with torch.cuda.stream(self.main):
            for _ in range(STARTS):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record(self.main)
                self.graph.replay()
                end.record(self.main)
                end.synchronize()
                times.append(begin.elapsed_time(end) * 1e3 / KERNELS)
        torch.cuda.synchronize()
        return round(sorted(times)[STARTS // 2], 3)

    def to_and_fro(self, on_the_side):
        there, back = torch.cuda.Event(), torch.cuda.Event()
        with torch.cuda.stream(self.main):
            self.y.add_(1)
        there.record(self.main)
        self.side.wait_event(there)
        with torch.cuda.stream(self.side):
            on_the_side()
        back.record(self.side)
        self.main.wait_event(back)

    def two_branches(self):
        for _ in range(10):
            self.to_and_fro(lambda: self.y.mul_(1))

    def kernels(self):
        self.to_and_fro(lambda: self.y.mul_(1))

    def copies_from_host(self):
        self.to_and_fro(lambda: self.y.copy_(self.host, non_blocking=True))

    def branches_of_a_graph(self):
        with torch.cuda.stream(self.main):
            self.branches.replay()

    def idle(self, seconds):
        torch.cuda.synchronize()
        time.sleep(seconds)

    def other_context(self):
        driver = ctypes.CDLL("libcuda.so.1")
        context, words, left = ctypes.c_void_p(), ctypes.c_ulonglong(), ctypes.c_void_p()
        calls = (
            (driver.cuCtxCreate_v2, (ctypes.byref(context), 0, torch.cuda.current_device())),
            (driver.cuMemAlloc_v2, (ctypes.byref(words), ctypes.c_size_t(4096))),
            (driver.cuMemsetD32_v2, (words, 0, ctypes.c_size_t(1024))),
            (driver.cuCtxSynchronize, ()),
            (driver.cuCtxPopCurrent_v2, (ctypes.byref(left),)),
            (driver.cuCtxDestroy_v2, (context,)),
        )
        for function, arguments in calls:
            if status := function(*arguments):
                raise SystemExit(f"kernel_starts: {function.__name__} answers {status}")


def main():
    if not torch.cuda.is_available():
        raise SystemExit("kernel_starts: needs a GPU")
    about = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    starts = Starts()
    for work in (starts.copies_from_host, starts.branches_of_a_graph, starts.kernels):
        after = {"0": starts.us()}
        for rounds in (1, 2, 4, 8, 32):
            for _ in range(rounds):
                work()
            torch.cuda.synchronize()
            after[str(rounds)] = starts.us()
        print(json.dumps({**about, "work": work.__name__, "us_after_further_rounds": after}), flush=True)
    row = {**about, "us": starts.us()}
    for seconds in (0.1, 1.5, 4):
        starts.idle(seconds)
        row[f"us_after_idle_{seconds}_s"] = starts.us()
    starts.other_context()
    row["us_after_other_context"] = starts.us()
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
