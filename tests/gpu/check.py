#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the same configuration on the CPU, on one GPU and on several, and compares the losses step by step.

usage: check.py GRADWIND CASE_FOLDER [--models gnn,graphtransformer,transformer] [--steps 60] [--gpus 2] [--results FILE]
CASE_FOLDER is a stored run (kind `run`): its configuration, data set and graph are used, with each of the models. Each
line of the table says how far a run's losses are from those of the CPU, relative, and how fast it was; the last line says
whether all are within their tolerance. Exit code 0 if so."""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

# Relative distance of the losses from the CPU's over the run. fp32: the worst step; other kernels, other order of sums,
# grown over the steps of a run as the original's own fp32 against fp64 (3e-6 over 200 steps). bf16: the root mean square
# over the steps; each rounding is 2^-9, and the weights that follow from it differ at random, not to one side.
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}


def run(gradwind, case, folder, model, name, processes, steps, extra):
    description = json.loads((case / "case.json").read_text())
    out = folder / f"{model}_{name}".replace(" ", "_").replace(",", "")
    heads = [] if model == "gnn" else [f"model.{part}.num_heads=4" for part in
                                       ("processor", "encoders.0.mapper", "decoders.0.mapper")]
    command = [gradwind, "train", str((case / description["config"]).resolve()),
               f"system.input.dataset={(case / description['dataset']).resolve()}",
               f"system.input.graph={(case / description['graph']).resolve()}", "graph.overwrite=false",
               f"training.max_steps={steps}", "training.optimization.lr_scheduler.t_initial=200",
               f"model={model}", *heads,
               f"system.hardware.num_gpus_per_node={processes}", "dataloader.limit_batches.validation=1", *extra,
               "--run", str(out), "--record"]
    if processes > 1:
        command += ["--nproc", str(processes)]
    begin = time.time()
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280)
    if done.returncode != 0:
        raise SystemExit(f"{model}, {name} failed with exit code {done.returncode}:\n{done.stdout[-3000:]}")
    records = [json.loads((out / f"record_rank{rank}.json").read_text()) for rank in range(processes)]
    losses = [sum(values) / processes for values in zip(*(record["loss"] for record in records))]
    return losses, time.time() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gradwind")
    parser.add_argument("case", type=pathlib.Path)
    parser.add_argument("--models", default="gnn,graphtransformer,transformer")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--results", type=pathlib.Path)
    given = parser.parse_args()
    # Without scaling and with the global order, two processes of batch 2 are one of batch 4.
    same = ["training.optimization.lr_scaling=none", "dataloader.sample_order=global"]
    on = lambda device: [f"system.hardware.accelerator={device}"]  # noqa: E731
    batch = lambda size: [f"dataloader.batch_size.training={size}"]  # noqa: E731
    runs = [("cpu fp32", 1, same + on("cpu") + batch(4), "fp32"),
            ("cuda fp32", 1, same + on("cuda") + batch(4), "fp32"),
            ("cuda fp32 deterministic", 1, same + on("cuda") + batch(4) + ["training.deterministic=true"], "fp32"),
            ("cuda fp32 deterministic again", 1, same + on("cuda") + batch(4) + ["training.deterministic=true"], "fp32"),
            ("cuda bf16-mixed", 1, same + on("cuda") + batch(4) + ["training.precision=bf16-mixed"], "bf16")]
    if given.gpus > 1:
        runs += [("cuda fp32, 2 GPUs", 2, same + on("cuda") + batch(2), "fp32"),
                 ("cuda bf16-mixed, 2 GPUs", 2, same + on("cuda") + batch(2) + ["training.precision=bf16-mixed"], "bf16")]
    rows, results = [], {}
    with tempfile.TemporaryDirectory(prefix="gradwind-gpu-") as scratch:
        for model in given.models.split(","):
            for name, processes, extra, kind in runs:
                losses, seconds = run(given.gradwind, given.case, pathlib.Path(scratch), model, name, processes, given.steps,
                                      extra)
                results[f"{model}, {name}"] = losses
                differences = [abs(a - b) / abs(b) for a, b in zip(losses, results[f"{model}, cpu fp32"])]
                distance = max(differences) if kind == "fp32" else math.dist(differences, [0] * len(differences)) \
                    / math.sqrt(len(differences))
                passed = distance <= TOLERANCE[kind]
                if name.endswith("again"):
                    passed = losses == results[f"{model}, cuda fp32 deterministic"]
                rows.append({"run": f"{model}, {name}", "steps": len(losses), "relative_difference": distance,
                             "tolerance": TOLERANCE[kind], "passed": passed, "wall_s": round(seconds, 1)})
                print(json.dumps(rows[-1]), flush=True)
    failed = not all(row["passed"] for row in rows)
    print(f"\n{'run':<50} {'steps':>5} {'difference':>17} {'allowed':>8}  result")
    for row in rows:
        print(f"{row['run']:<50} {row['steps']:>5} {row['relative_difference']:>17.2e} {row['tolerance']:>8.0e}  "
              f"{'ok' if row['passed'] else 'FAILED'}")
    if given.results:
        given.results.write_text(json.dumps({"rows": rows, "losses": results}, indent=1))
    print("all within tolerance" if not failed else "NOT all within tolerance")
    return 1 if failed else 0


sys.exit(main())
