#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""The exchange of gradients on slow links, which a switch on this machine emulates: gradwind and torch's variants in turns.

usage: slow_links.py EXCHANGE_BENCH SLOW_LINK --profile FILE [--step-ms MS] [--cases 1:4,10:40,25:100] [--results FILE.jsonl]
       [--ours none,fp32,bf16,acp:4] [--torch ddp,fp16,powersgd:4] [--python PYTHON] [--steps 3] [--rounds 2] [--break-even]

A case is GBITS:SLOW. Compute is SLOW times slower than recorded, and so is the link: every ratio is that of a link of GBITS
Gb/s. FILE comes from `train_step_bench --profile` on the machine that is meant; --step-ms says how long its step takes.
Each case runs once more at half the rate and twice the slowness (the control): where the scaled times differ, the emulator was
measured and not the exchange. The ports' rates together should stay below 250 MB/s. Needs root and /dev/net/tun.

--break-even tunes at rates around the one below which `gradwind tune` says that compression wins, and prints where the
measured times cross.
"""
import argparse
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys


def objects_of(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"slow_links.py: {' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines() if line.startswith("{")]
    switch = next(line for line in lines if "switch_packets" in line)
    return [line | switch for line in lines if "switch_packets" not in line]


def in_network(given, rate_mb, program):
    return objects_of([given.slow_link, "--ports", str(given.nproc), "--rate", str(rate_mb), "--latency", str(given.latency), "--",
                       *program])


def common(given, slow):
    return ["--compute", "profile", "--profile", given.profile, "--step-ms", str(given.step_ms), "--slow", str(slow)]


def rate_of(gbits, slow):
    return 125.0 * gbits / slow


def run_case(given, gbits, slow, rows):
    steps = ["--steps", str(given.steps), "--warm-up", str(given.warm_up), "--repeats", "1", *common(given, slow)]
    programs = {"gradwind": [given.bench, "--variants", given.ours, *steps]}
    if given.torch:
        programs["torch"] = [given.python, str(pathlib.Path(__file__).parent / "peers" / "exchange_ddp.py"), "--variants",
                             given.torch, *steps]
    for round_number in range(given.rounds):
        for name, program in programs.items():
            for raw in in_network(given, rate_of(gbits, slow), program):
                rows.append({"bench": "slow_links", "program": name, "gbits": gbits, "slow": slow, "rate_mb_s": rate_of(gbits, slow),
                             "round": round_number, "variant": raw["variant"], "ms": raw["median_ms"] / slow, "raw": raw})
                print(f"{gbits:g} Gb/s at 1/{slow:g}, {name} {raw['variant']}: {raw['median_ms'] / slow:.1f} ms", file=sys.stderr,
                      flush=True)


def report(rows):
    times = {}
    for row in rows:
        times.setdefault((row["gbits"], row["slow"], row["program"], row["variant"]), []).append(row["ms"])
    print(f"{'Gb/s':>5} {'slow':>5} {'program':<9} {'variant':<11} {'step ms':>9} {'exposed ms':>11}   (in time of the real machine)")
    for (gbits, slow, program, variant), values in times.items():
        ms = statistics.median(values)
        alone = statistics.median(times.get((gbits, slow, "gradwind", "none"), [math.nan]))
        print(f"{gbits:>5g} {slow:>5g} {program:<9} {variant:<11} {ms:>9.1f} {ms - alone:>11.1f}")
    for (gbits, slow, program, variant), values in times.items():
        control = times.get((gbits, 2 * slow, program, variant))
        if control:
            print(f"control {gbits:g} Gb/s {program} {variant}: {statistics.median(control) / statistics.median(values):.3f}")


def tuned(given, rate_mb, slow):
    """What `tune` measures at a rate: the best dense time, that of compression, and the break-even it predicts."""
    line, = in_network(given, rate_mb, [given.bench, "--tune", str(given.rank), "--steps", str(given.tune_steps), *common(given, slow)])
    dense = min(trial["step_ms"] for trial in line["trials"] if not trial["name"].startswith(("acp", "powersgd")))
    acp = next(trial["step_ms"] for trial in line["trials"] if trial["name"].startswith("acp"))
    return {"rate_mb_s": rate_mb, "dense_ms": dense, "acp_ms": acp, "predicted_mb_s": line["break_even_mb_s"], "raw": line}


def break_even(given, gbits, slow):
    """Rates below and above the predicted one, until the sign changes; between them by the logarithm of the rate."""
    points = [tuned(given, rate_of(gbits, slow), slow)]
    predicted = points[0]["predicted_mb_s"]
    for factor in (0.7, 1.4, 0.5, 2.0, 0.35, 2.8):
        points.append(tuned(given, predicted * factor, slow))
        points.sort(key=lambda point: point["rate_mb_s"])
        for low, high in zip(points, points[1:]):
            a, b = low["dense_ms"] - low["acp_ms"], high["dense_ms"] - high["acp_ms"]
            if a > 0 >= b:
                share = a / (a - b)
                found = low["rate_mb_s"] * (high["rate_mb_s"] / low["rate_mb_s"]) ** share
                print(f"break-even: predicted {predicted:.1f} MB/s ({8e-3 * predicted * slow:.2f} Gb/s), measured {found:.1f} MB/s: "
                      f"{100 * (predicted / found - 1):+.0f} %")
                return [{"bench": "break_even", "slow": slow, "predicted_mb_s": predicted, "measured_mb_s": found, "points": points}]
    print(f"break-even: predicted {predicted:.1f} MB/s, not found between {points[0]['rate_mb_s']:.1f} and {points[-1]['rate_mb_s']:.1f}")
    return [{"bench": "break_even", "slow": slow, "predicted_mb_s": predicted, "measured_mb_s": None, "points": points}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench")
    parser.add_argument("slow_link")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--step-ms", type=float, default=0)
    parser.add_argument("--cases", default="1:4,10:40,25:100")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--latency", type=float, default=50)
    parser.add_argument("--ours", default="none,fp32,bf16,acp:4")
    parser.add_argument("--torch", default="ddp,fp16,powersgd:4")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--control", type=int, default=1, help="0: no runs at half the rate")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--tune-steps", type=int, default=60)
    parser.add_argument("--break-even", action="store_true", help="instead of the variants, at the first case")
    parser.add_argument("--results", type=pathlib.Path)
    given = parser.parse_args()
    cases = [tuple(float(word) for word in case.split(":")) for case in given.cases.split(",")]
    for gbits, slow in cases:
        if given.nproc * rate_of(gbits, slow) > 250:
            sys.exit(f"slow_links.py: {given.nproc} ports of {rate_of(gbits, slow):g} MB/s are too much for the switch; "
                     f"make the case {gbits:g} slower")
    rows = []
    if given.break_even:
        rows = break_even(given, *cases[0])
    else:
        for gbits, slow in cases:
            run_case(given, gbits, slow, rows)
            if given.control:
                run_case(given, gbits, 2 * slow, rows)
        report(rows)
    if given.results:
        commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
        with given.results.open("a") as file:
            for row in rows:
                file.write(json.dumps({"date": datetime.date.today().isoformat(), "commit": commit, "load": os.getloadavg()[0],
                                       "profile": pathlib.Path(given.profile).name, "step_ms": given.step_ms} | row) + "\n")


if __name__ == "__main__":
    main()
