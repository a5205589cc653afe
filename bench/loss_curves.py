#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Trains one configuration with every way of exchanging gradients and compares the loss curves.

usage: loss_curves.py GRADWIND CONFIG [key=value ...] [--steps 1000] [--nproc 2] [--variants fp32,buffers,bf16,acp:8,powersgd:8]
       [--results FILE] [--plot FILE.png]
    OMP_NUM_THREADS=1 nice bench/loss_curves.py build/release/bin/gradwind examples/uk/train.yaml \\
        system.input.dataset=era5-uk-2t.zarr model.num_channels=64 --results curves.jsonl --plot curves.png

The first variant is the reference. A row holds the mean loss of each tenth of the run; the difference is that of the last
tenth and of the last validation. `buffers` sends buffers before every step, which must not change a bit of the loss.
Exit code 0 if every difference is within its limit: 0 for buffers, 1 % for bf16, 3 % for compression.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile

LIMIT = {"fp32": 0.0, "buffers": 0.0, "bf16": 0.01, "acp": 0.03, "powersgd": 0.03}


def overrides_of(variant):
    kind, _, rank = variant.partition(":")
    if kind == "buffers":
        return ["training.strategy.broadcast_buffers=true"]
    if kind == "bf16":
        return ["training.strategy.wire_dtype=bf16"]
    if kind in ("acp", "powersgd"):
        return [f"training.strategy.gradient_compression={{kind: {kind}, rank: {rank or 8}}}"]
    assert kind == "fp32", f"unknown variant {variant}"
    return []


def train(given, variant, folder):
    out = folder / variant.replace(":", "-")
    command = [given.gradwind, "train", given.config, f"system.hardware.num_gpus_per_node={given.nproc}",
               "training.max_epochs=null", f"training.max_steps={given.steps}",
               f"training.optimization.lr_scheduler.t_initial={given.steps}", "diagnostics.log.interval=1",
               *overrides_of(variant), *given.overrides, "--run", str(out)]
    if given.nproc > 1:
        command += ["--nproc", str(given.nproc)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise SystemExit(f"{variant} failed with exit code {done.returncode}:\n{done.stdout[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["event"] == "train"]
    validations = [row for row in rows if row["event"] == "validation"] or [{}]
    losses = [row["train_multi_dataset_loss_step"] for row in steps]
    tenth = max(1, len(losses) // 10)
    return {"variant": variant, "steps": len(losses),
            "curve": [sum(losses[i:i + tenth]) / tenth for i in range(0, tenth * 10, tenth)],
            "validation": {key: value for key, value in validations[-1].items() if key.startswith("val_")},
            "gradient_bytes": steps[-1]["gradient_bytes"],
            "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)}, losses


def context(given):
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    version = subprocess.run([given.gradwind, "--version"], capture_output=True, text=True).stdout.strip()
    return {"bench": "loss_curves", "date": datetime.date.today().isoformat(), "commit": commit, "version": version,
            "machine": platform.machine(), "cores": os.cpu_count(), "config": given.config, "overrides": given.overrides,
            "nproc": given.nproc}


def plot(path, curves):
    """Running means over a fiftieth of the run, by gnuplot."""
    blocks = []
    for losses in curves.values():
        width = max(1, len(losses) // 50)
        means = [sum(losses[max(0, i - width):i + 1]) / (i + 1 - max(0, i - width)) for i in range(len(losses))]
        blocks.append("\n".join(f"{i} {mean}" for i, mean in enumerate(means, 1)) + "\ne\n")
    titles = ", ".join(f"'-' with lines title '{name}'" for name in curves)
    script = (f"set terminal pngcairo size 900,500; set output '{path}'; set logscale y; set xlabel 'step'; "
              f"set ylabel 'loss (running mean)'\nplot {titles}\n{''.join(blocks)}")
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gradwind")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--nproc", type=int, default=2)
    parser.add_argument("--variants", default="fp32,buffers,bf16,acp:8,powersgd:8")
    parser.add_argument("--results", type=pathlib.Path, help="file to append a JSON object a variant to")
    parser.add_argument("--plot", type=pathlib.Path)
    given = parser.parse_intermixed_args()
    rows, curves = [], {}
    with tempfile.TemporaryDirectory(prefix="gradwind-curves-") as scratch:
        for variant in given.variants.split(","):
            row, curves[variant] = train(given, variant, pathlib.Path(scratch))
            reference = rows[0] if rows else row
            row["difference"] = row["curve"][-1] / reference["curve"][-1] - 1
            shared = [key for key in row["validation"] if reference["validation"].get(key)]
            row["validation_difference"] = max((row["validation"][key] / reference["validation"][key] - 1 for key in shared),
                                               key=abs, default=0.0)
            row["limit"] = LIMIT[variant.split(":")[0]]
            row["passed"] = abs(row["difference"]) <= row["limit"]
            rows.append(row)
            if given.results:
                with given.results.open("a") as file:
                    file.write(json.dumps(context(given) | row) + "\n")
    if given.plot:
        plot(given.plot, curves)
    print(f"{'variant':<11} {'first tenth':>12} {'last tenth':>12} {'difference':>11} {'validation':>11} {'limit':>7} {'sent kB':>9} {'cpu s':>7}")
    for row in rows:
        print(f"{row['variant']:<11} {row['curve'][0]:>12.5g} {row['curve'][-1]:>12.5g} {100 * row['difference']:>10.3f}% "
              f"{100 * row['validation_difference']:>10.3f}% {100 * row['limit']:>6.0f}% {row['gradient_bytes'] / 1e3:>9.1f} "
              f"{row['cpu_s']:>7.0f}")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
