#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Runs two programs in turns on one machine and prints the ratio of what they measure.

Each program must print one JSON object on a line of its own, last of all such lines. A key names the figure to compare.
Peaks of memory are the largest resident size of the process, measured here so that both sides are measured alike, or
with `--peak-key` (a GPU's memory, say) what both report under that key, in GiB.

    bench/beside.py --rounds 3 --ours 'train_step_bench --graph o32-l4.safetensors ...' --ours-key median_s \\
                    --peer 'python bench_anemoi.py --graph o32-l4.npz ...' --peer-key ms --peer-unit 0.001
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys


def run(command):
    """The last JSON object that a command prints, and the largest resident size of its process in GiB."""
    child = subprocess.Popen(command, shell=True, stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"beside.py: `{command}` failed with status {status}; its output:\n{output}")
    objects = [line for line in output.splitlines() if line.startswith("{")]
    if not objects:
        sys.exit(f"beside.py: `{command}` printed no JSON object; its output:\n{output}")
    return json.loads(objects[-1]), usage.ru_maxrss / 2**20


def measure(command, key, unit, peak_key):
    result, peak = run(command)
    return {"value": result[key] * unit, "peak_gib": round(result[peak_key] if peak_key else peak, 3), "raw": result}


def summary(rows):
    values = [row["value"] for row in rows]
    return {
        "median": statistics.median(values),
        "best": min(values),
        "worst": max(values),
        "peak_gib": max(row["peak_gib"] for row in rows),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    for side in ("ours", "peer"):
        parser.add_argument(f"--{side}", required=True, help="shell command")
        parser.add_argument(f"--{side}-key", required=True, help="key of the figure in its JSON object")
        parser.add_argument(f"--{side}-unit", type=float, default=1.0, help="factor that turns the figure into seconds")
    parser.add_argument("--peak-key", default="", help="key of the peak of memory in GiB")
    parser.add_argument("--name", default="", help="what is compared, for the record")
    parser.add_argument("--results", help="file to append the record to, one JSON object a line")
    arguments = parser.parse_args()

    rows = {"ours": [], "peer": []}
    for _ in range(arguments.rounds):
        rows["peer"].append(measure(arguments.peer, arguments.peer_key, arguments.peer_unit, arguments.peak_key))
        rows["ours"].append(measure(arguments.ours, arguments.ours_key, arguments.ours_unit, arguments.peak_key))
    ours, peer = summary(rows["ours"]), summary(rows["peer"])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    record = {
        "name": arguments.name,
        "date": datetime.date.today().isoformat(),
        "commit": commit,
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "rounds": arguments.rounds,
        "ours": ours,
        "peer": peer,
        "speed_ratio": round(peer["median"] / ours["median"], 3),
        "memory_ratio": round(ours["peak_gib"] / peer["peak_gib"], 3),
        "rows": rows,
    }
    if arguments.results:
        with open(arguments.results, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    print(f"{'':6}{'median s':>10}{'best s':>10}{'peak GiB':>10}")
    for name, side in (("ours", ours), ("peer", peer)):
        print(f"{name:6}{side['median']:10.3f}{side['best']:10.3f}{side['peak_gib']:10.2f}")
    print(f"{record['speed_ratio']:.2f} times as fast, {100 * record['memory_ratio']:.0f} % of the memory")


if __name__ == "__main__":
    main()
