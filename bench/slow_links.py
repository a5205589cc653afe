#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""The exchange of gradients on slow links, which a switch on this machine emulates: gradwind and torch's variants in turns.

usage: slow_links.py EXCHANGE_BENCH SLOW_LINK --profile FILE [--step-ms MS] [--cases 1:4,10:40,25:100] [--results FILE.jsonl]
       [--ours none,fp32,bf16,acp:4] [--torch none,ddp,fp16,powersgd:4] [--sweep MIB,MIB] [--python PYTHON] [--steps 4] [--rounds 1]
       [--control-ours ...] [--control-torch ...] [--tune [--shrink 16] [--factor-ms MS] [--rank 2]]
       slow_links.py --table FILE.jsonl...

A case is GBITS:SLOW. Compute is SLOW times slower than recorded, and so are the link and its latency: every ratio is that of a
link of GBITS Gb/s. FILE comes from `train_step_bench --profile` on the machine that is meant; --step-ms says how long its step
takes. Warming up, and handing round the first weights, goes over a fast link. What factors take of this processor is not slowed:
choose SLOW so that it does not count (the table says what it was over a fast link: cases of 0 Gb/s).
Each case runs once more at half the rate and twice the slowness (the control; --control-ours '' and --control-torch '' for none):
where the scaled times differ, the emulator was measured and not the exchange. The ports' rates together should stay below
250 MB/s. Needs root and /dev/net/tun.

--tune has `gradwind tune` race in each case instead, and notes the bandwidth below which it says that compression wins; the table
sets that beside where the times that it measured in several cases cross. --shrink makes bytes, times and latency so many times
smaller (large matrices are narrower by its root), --factor-ms sleeps for what the recorded device takes for factors.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ALIKE = ("profile", "slow", "shrink", "factor_ms")
FAST_MB = 1e6  # of a case of 0 Gb/s: as fast as the machine


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def in_network(given, gbits, slow, program):
    """What the processes print as JSON, with what the switch did."""
    command = [given.slow_link, "--ports", str(given.nproc), "--rate", str(rate_of(gbits, slow)),
               "--latency", str(given.latency * slow / given.shrink if gbits else 0), "--", *program]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"slow_links.py: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    switch = next(line for line in lines if "switch_packets" in line)
    return [line | switch for line in lines if "switch_packets" not in line]


def rate_of(gbits, slow):
    return 125.0 * gbits / slow if gbits else FAST_MB


def compute_of(given, slow):
    return ["--compute", "profile", "--profile", given.profile, "--step-ms", str(given.step_ms), "--slow", str(slow / given.shrink)]


def ours_of(given):
    """What torch's variants do not know."""
    return ["--shrink", str(given.shrink), "--factor-ms", str(given.factor_ms)]


def note(given, row):
    """Results are written as they come: a run takes long."""
    if given.results:
        with given.results.open("a") as file:
            file.write(json.dumps(given.origin | {"profile": pathlib.Path(given.profile).stem, "load": os.getloadavg()[0]} | row) + "\n")


def run_case(given, gbits, slow, ours, torch, role):
    steps = ["--steps", str(given.steps), "--warm-up", str(given.warm_up), "--repeats", "1", *compute_of(given, slow)]
    sweep = ["--sweep", given.sweep] if given.sweep else []
    programs = {}
    if ours:
        programs["gradwind"] = [given.bench, "--variants", ours, *steps, *sweep, *ours_of(given)]
    if torch:
        programs["torch"] = [given.python, str(pathlib.Path(__file__).parent / "peers" / "exchange_ddp.py"), "--variants", torch,
                             *steps, *sweep]
    rows = []
    for round_number in range(given.rounds):
        for name, program in programs.items():
            for raw in in_network(given, gbits, slow, program):
                row = {"bench": "slow_links", "role": role, "program": name, "gbits": gbits, "slow": slow,
                       "rate_mb_s": rate_of(gbits, slow), "latency_us": given.latency * slow, "round": round_number,
                       "variant": raw["variant"], "bucket_mb": raw["bucket_mb"], "shrink": given.shrink, "factor_ms": given.factor_ms,
                       "ms": raw["mean_ms"] / slow * given.shrink, "raw": raw}
                note(given, row)
                rows.append(given.origin | {"profile": pathlib.Path(given.profile).stem} | row)
                print(f"{gbits:g} Gb/s at 1/{slow:g}, {name} {raw['variant']}: {row['ms']:.1f} ms", file=sys.stderr, flush=True)
    return rows


def tune(given, gbits, slow):
    line, = in_network(given, gbits, slow, [given.bench, "--tune", str(given.rank), "--steps", str(given.tune_steps),
                                            *compute_of(given, slow), *ours_of(given)])
    row = {"bench": "slow_links_tune", "gbits": gbits, "slow": slow, "shrink": given.shrink,
           "factor_ms": given.factor_ms, "break_even_gbits": 8e-3 * line["break_even_mb_s"] * slow, "raw": line}
    note(given, row)
    return given.origin | {"profile": pathlib.Path(given.profile).stem} | row


def grouped(rows):
    """Milliseconds of the real machine, and what they have beyond the same program without an exchange, by what was run."""
    times, packets_late = {}, {}
    for row in rows:
        key = (row["profile"], row["role"], row["gbits"], row["slow"], row["program"], row["variant"], row["bucket_mb"])
        times.setdefault(key, []).append(row["ms"])
        packets_late[key] = row["raw"]["switch_late_us_mean"]
    result = {}
    for key, values in times.items():
        alone = [ms for other, values in times.items() if other[:5] == key[:5] and other[5] == "none" for ms in values]
        if not alone:  # of the other program, or at another slowness
            alone = [ms for other, values in times.items() if other[0] == key[0] and other[3] >= 40 and other[5] == "none" for ms in values]
        ms = statistics.median(values)
        result[key] = (ms, ms - statistics.median(alone) if alone else math.nan, packets_late[key])
    return result


def crossing(rows):
    """Where the best dense exchange and compression took equally long: between rates, by their logarithm. None: not seen."""
    points = []
    for row in rows:
        dense = [trial["step_ms"] for trial in row["raw"]["trials"] if not trial["name"].startswith(("acp", "powersgd"))]
        acp = next(trial["step_ms"] for trial in row["raw"]["trials"] if trial["name"].startswith("acp"))
        points.append((row["gbits"], min(dense) - acp))
    points.sort()
    for (low, a), (high, b) in zip(points, points[1:]):
        if a > 0 >= b:
            return low * (high / low) ** (a / (a - b))
    return None


def table(rows):
    times = grouped([row for row in rows if row["bench"] == "slow_links"])
    print(f"{'profile':<24} {'Gb/s':>5} {'slow':>5} {'program':<9} {'variant':<11} {'MiB':>4} {'step ms':>9} {'exposed ms':>11} {'late us':>8}")
    for (profile, role, gbits, slow, program, variant, bucket), (ms, exposed, late) in times.items():
        if role == "case":
            print(f"{profile:<24} {gbits:>5g} {slow:>5g} {program:<9} {variant:<11} {bucket:>4g} {ms:>9.1f} {exposed:>11.1f} {late:>8.0f}")
    for key, (ms, exposed, _) in times.items():
        profile, role, gbits, slow, program, variant, bucket = key
        first = times.get((profile, "case", gbits, slow / 2, program, variant, bucket))
        if role == "control" and first:
            print(f"control {profile} {gbits:g} Gb/s 1/{slow:g} {program} {variant}: step {ms / first[0]:.3f}, "
                  f"exposed {exposed:.1f} ms against {first[1]:.1f}")
    tuned = [row for row in rows if row["bench"] == "slow_links_tune"]
    for row in tuned:
        found = crossing([other for other in tuned if all(other.get(key) == row.get(key) for key in ALIKE)])
        measured = f"{found:.1f} Gb/s: {100 * (row['break_even_gbits'] / found - 1):+.0f} %" if found else "not seen"
        print(f"break-even {row['profile']}: predicted at {row['gbits']:g} Gb/s {row['break_even_gbits']:.1f} Gb/s, measured {measured}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("slow_link")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--step-ms", type=float, default=0)
    parser.add_argument("--cases", default="1:4,10:40,25:100")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--latency", type=float, default=50, help="of the real link, one way, in microseconds")
    parser.add_argument("--ours", default="none,fp32,bf16,acp:4")
    parser.add_argument("--torch", default="none,ddp,fp16,powersgd:4")
    parser.add_argument("--control-ours")
    parser.add_argument("--control-torch")
    parser.add_argument("--sweep", default="", help="more caps for dense variants")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--steps", type=int, default=4, help="an even number: compression alternates")
    parser.add_argument("--warm-up", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--shrink", type=int, default=1, help="bytes, times and latency are this many times less; without torch")
    parser.add_argument("--factor-ms", type=float, default=0, help="what the recorded device takes for the factors of a step")
    parser.add_argument("--tune", action="store_true", help="instead of the variants")
    parser.add_argument("--tune-steps", type=int, default=16)
    parser.add_argument("--results", type=pathlib.Path)
    given = parser.parse_args()
    if given.control_ours is None:
        given.control_ours = given.ours
    if given.control_torch is None:
        given.control_torch = given.torch
    given.origin = {"date": datetime.date.today().isoformat(), "commit": output_of("git", "describe", "--always", "--dirty"),
                    "machine": f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}"}
    return given


def main():
    if sys.argv[1:2] == ["--table"]:
        table([json.loads(line) for name in sys.argv[2:] for line in pathlib.Path(name).read_text().splitlines()])
        return
    given = parse()
    cases = [tuple(float(word) for word in case.split(":")) for case in given.cases.split(",")]
    for gbits, slow in cases:
        if gbits and given.nproc * rate_of(gbits, slow) > 250:
            sys.exit(f"slow_links.py: {given.nproc} ports of {rate_of(gbits, slow):g} MB/s are too much for the switch; "
                     f"make the case {gbits:g} slower")
    rows = []
    for gbits, slow in cases:
        if given.tune:
            rows.append(tune(given, gbits, slow))
            continue
        rows += run_case(given, gbits, slow, given.ours, given.torch, "case")
        rows += run_case(given, gbits, 2 * slow, given.control_ours, given.control_torch, "control")
    table(rows)


if __name__ == "__main__":
    main()
