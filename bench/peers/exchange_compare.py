#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Runs exchange_bench and torch's variants in turns (A B A B ...) and prints one table.

usage: exchange_compare.py EXCHANGE_BENCH [--nproc 2] [--rounds 5] [--steps 50] [--ours VARIANTS] [--torch VARIANTS]
       [--sweep 1,5,50,100,400,0] [--python PYTHON] [--results FILE] [-- options of both programs]
Every median is that of the rounds' medians; "over" compares with the same program's step without exchange, of recorded
steps (graph+fp32, ...) with a recorded one (graph+none).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys


def lines_of(command):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed with {done.returncode}:\n{done.stderr[-3000:]}{done.stdout[-1000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ours", default="none,fp32,bf16,acp:4,powersgd:4")
    parser.add_argument("--torch", default="none,ddp,bf16,powersgd:4")
    parser.add_argument("--sweep", default="")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--results", type=pathlib.Path)
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, more = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1:]
    common = ["--steps", str(given.steps), *(["--sweep", given.sweep] if given.sweep else []), *more]
    ours = [given.bench, "--nproc", str(given.nproc), "--repeats", "1", "--variants", given.ours, *common]
    peer = [given.python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(given.nproc),
            str(pathlib.Path(__file__).with_name("exchange_ddp.py")), "--variants", given.torch, *common]
    rows = {}
    for _ in range(given.rounds):
        for program, command in (("gradwind", ours), ("torch", peer)):
            for line in lines_of(command):
                rows.setdefault((program, line["variant"], line["bucket_mb"]), []).append(line)
    base = {(program, variant[:-len("none")]): statistics.median(line["median_ms"] for line in lines)
            for (program, variant, _), lines in rows.items() if variant.endswith("none")}
    table = []
    for (program, variant, bucket), lines in rows.items():
        median = statistics.median(line["median_ms"] for line in lines)
        none = base.get((program, "graph+" if variant.startswith("graph+") else ""))
        table.append({"program": program, "variant": variant, "bucket_mb": bucket, "median_ms": round(median, 3),
                      "p10_ms": round(min(line["p10_ms"] for line in lines), 3),
                      "p90_ms": round(max(line["p90_ms"] for line in lines), 3),
                      "over_percent": round(100 * (median / none - 1), 1) if none else None,
                      "exposed_ms": lines[0].get("exposed_ms"), "wire_mb": lines[0].get("wire_mb")})
    print(f"{'program':<9} {'variant':<16} {'bucket':>7} {'median ms':>10} {'p10':>8} {'p90':>8} {'over %':>7} {'wire MB':>8}")
    for row in table:
        print(f"{row['program']:<9} {row['variant']:<16} {row['bucket_mb']:>7g} {row['median_ms']:>10.2f} {row['p10_ms']:>8.2f} "
              f"{row['p90_ms']:>8.2f} {row['over_percent'] if row['over_percent'] is not None else '-':>7} "
              f"{row['wire_mb'] if row['wire_mb'] is not None else '-':>8}")
    if given.results:
        given.results.write_text(json.dumps({"table": table, "lines": [line for lines in rows.values() for line in lines]}, indent=1))


main()
