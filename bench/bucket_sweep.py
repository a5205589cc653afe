#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Step time over the size of buckets: networks, links, buffers broadcast or not, with a peer beside; a table and a plot.

usage: bucket_sweep.py TRAIN_STEP_BENCH --graph GRAPH.safetensors [--kinds gnn,graphtransformer] [--buckets 1,5,25,50,100,400,0]
       [--buffers 0,1] [--links fast,slow] [--nproc 2] [--rounds 3] [--peer COMMAND] [--results FILE.jsonl] [--plot FILE.png]
       [-- more options of train_step_bench]
       bucket_sweep.py --of FILE.jsonl [--plot FILE.png]                rows from before, on a machine that has gnuplot

Bucket 0 is one bucket. Every round runs every case once, so that drifts of the machine hit all alike; the table has medians
over the rounds. `over` compares with the same program on one process, which exchanges nothing. The slow link is made by
--slow, variables of the environment: by default those that send NCCL through sockets; Gloo has one link only.

The peer is a shell command that prints a JSON object with "ms" last; {kind}, {bucket} (in MB), {buffers} (--bb or nothing) and
{nproc} are filled in. For DistributedDataParallel around the network of anemoi-models:
    --peer 'python -m torch.distributed.run --standalone --nproc-per-node {nproc} bench_anemoi.py --graph o96-l5.npz
            --kind {kind} --channels 1024 --dtype bf16 --mode dp --bucket {bucket} {buffers}'
"""
import argparse
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

SOCKETS = "NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_NET=Socket NCCL_SOCKET_IFNAME=lo NCCL_IB_DISABLE=1"
ONE_BUCKET_MB = 100000


def objects(command, link, given):
    extra = dict(word.split("=", 1) for word in shlex.split(given.slow)) if link == "slow" else {}
    done = subprocess.run(command, shell=isinstance(command, str), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=os.environ | extra)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        sys.exit(f"bucket_sweep.py: {command} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
    return [json.loads(line) for line in lines]


def ours(given, kind, link, buffers, buckets, nproc):
    """One job for all sizes of buckets."""
    return objects([given.bench, "--graph", given.graph, "--kind", kind, "--nproc", str(nproc), "--broadcast-buffers", str(buffers),
                    "--sweep", ",".join(map(str, buckets)), *given.more], link, given)


def peer(given, kind, link, buffers, buckets, nproc):
    commands = [given.peer.format(kind=kind, bucket=bucket or ONE_BUCKET_MB, buffers="--bb" if buffers else "", nproc=nproc)
                for bucket in buckets]
    return [objects(command, link, given)[-1] for command in commands]


def measure(given, programs):
    """Rows of all rounds. A case without exchange has one process and bucket None."""
    rows = []
    for round_number in range(given.rounds):
        for kind in given.kinds:
            cases = [("fast", 0, None)] + [(link, buffers, given.buckets) for link in given.links for buffers in given.buffers]
            for link, buffers, buckets in cases:
                for name, run in programs.items():
                    found = run(given, kind, link, buffers, buckets or [0], given.nproc if buckets else 1)
                    for bucket, raw in zip(buckets or [None], found, strict=True):
                        rows.append({"program": name, "kind": kind, "link": link, "buffers": buffers, "bucket_mb": bucket,
                                     "round": round_number, "ms": raw["ms"], "raw": raw})
                        print(f"round {round_number} {name} {kind} {link} buffers={buffers} bucket={bucket}: {raw['ms']:.2f} ms",
                              file=sys.stderr, flush=True)
    return rows


def medians(rows):
    groups = {}
    for row in rows:
        groups.setdefault((row["program"], row["kind"], row["link"], row["buffers"], row["bucket_mb"]), []).append(row["ms"])
    return {key: statistics.median(values) for key, values in groups.items()}


def table(given, values, programs):
    print("| network | link | buffers | program | alone ms | " + " | ".join(f"{b:g} MB" if b else "one" for b in given.buckets)
          + " | best over alone |")
    print("|" + "---|" * (len(given.buckets) + 6))
    for kind in given.kinds:
        for link in given.links:
            for buffers in given.buffers:
                for name in programs:
                    alone = values[name, kind, "fast", 0, None]
                    line = [values[name, kind, link, buffers, bucket] for bucket in given.buckets]
                    print(f"| {kind} | {link} | {'sent' if buffers else 'not sent'} | {name} | {alone:.1f} | "
                          + " | ".join(f"{ms:.1f}" for ms in line) + f" | {100 * (min(line) / alone - 1):+.1f} % |")


def plot(given, values, programs):
    """One panel a network, over the size of buckets; one bucket stands at the right."""
    blocks, panels = [], []
    finite = [bucket for bucket in given.buckets if bucket]
    right = 4 * max(finite, default=1)
    for kind in given.kinds:
        lines = []
        for link in given.links:
            for buffers in given.buffers:
                for name in programs:
                    lines.append(f"'-' with linespoints title '{name}, {link}{', buffers' if buffers else ''}'")
                    blocks.append("\n".join(f"{bucket or right} {values[name, kind, link, buffers, bucket]}"
                                            for bucket in given.buckets) + "\ne\n")
        count = len(lines)
        panels.append(f"set title '{kind}'\nplot {', '.join(lines)}\n" + "".join(blocks[-count:]))
    ticks = ", ".join([f"'{bucket:g}' {bucket}" for bucket in finite] + [f"'one' {right}"])
    script = (f"set terminal pngcairo size {700 * len(given.kinds)},500; set output '{given.plot}'; set logscale x; "
              f"set xtics ({ticks}); set xlabel 'bucket, MB'; set ylabel 'step, ms'; set key outside below\n"
              f"set multiplot layout 1,{len(given.kinds)}\n{''.join(panels)}unset multiplot\n")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    numbers = lambda text: [float(word) if "." in word else int(word) for word in text.split(",")]  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", nargs="?")
    parser.add_argument("--graph")
    parser.add_argument("--of", type=pathlib.Path, metavar="FILE.jsonl")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=["gnn", "graphtransformer"])
    parser.add_argument("--buckets", type=numbers, default=[1, 5, 25, 50, 100, 400, 0])
    parser.add_argument("--buffers", type=numbers, default=[0, 1])
    parser.add_argument("--links", type=lambda text: text.split(","), default=["fast"])
    parser.add_argument("--slow", default=SOCKETS)
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer")
    parser.add_argument("--peer-name", default="torch DDP")
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:end])
    given.more = sys.argv[end + 1:]
    programs = {"gradwind": ours} | ({given.peer_name: peer} if given.peer else {})
    if given.of:
        rows = [row for row in map(json.loads, given.of.read_text().splitlines()) if row.get("bench") == "bucket_sweep"]
        given.kinds, given.links, given.buffers, given.buckets, programs = (
            list(dict.fromkeys(row[key] for row in rows if row["bucket_mb"] is not None))
            for key in ("kind", "link", "buffers", "bucket_mb", "program"))
    elif given.bench and given.graph:
        rows = measure(given, programs)
    else:
        parser.error("expected TRAIN_STEP_BENCH and --graph, or --of")
    if given.results and not given.of:
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
        with given.results.open("a") as file:
            for row in rows:
                file.write(json.dumps({"bench": "bucket_sweep", "date": datetime.date.today().isoformat(), "commit": commit,
                                       "load": os.getloadavg()[0]} | row) + "\n")
    values = medians(rows)
    table(given, values, programs)
    if given.plot:
        plot(given, values, programs)


if __name__ == "__main__":
    main()
