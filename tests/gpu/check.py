#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Trains every network of the family on the CPU, on one GPU and on two, and compares the losses step by step.

usage: check.py GRADWIND [--stored-run FOLDER] [--cases WORDS] [--runs WORDS] [--steps 20] [--gpus 2] [--device cpu] [--jobs 4]
                [--results FILE]

Needs this repository's examples/ and tests/examples/, Python's standard library, and no other data: GRADWIND makes the
data sets itself (planetary waves), also where it was built without netCDF and ecCodes. --stored-run adds the networks
on a stored run's data and graph (a folder of kind `run`, such as run-uk-gnn). --cases takes those whose name has one of
the words, with commas between them; so does --runs of the runs of a case. Runs with CUDA graphs (recorded steps) that are
deterministic must equal those without bit for bit. --device cpu compares the CPU with itself, which tests the table of cases and, in
two processes, data parallelism. --jobs cases run beside each other.

A line of the table says how far a run's losses are from those of the CPU, relative; the last line says whether all are
within their tolerance, finite and falling, and whether deterministic runs were equal bit for bit. Exit code 0 if so."""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import typing
import zipfile

# Relative distance of the losses from the CPU's over the run. fp32: the worst step; other kernels, other order of sums,
# grown over the steps of a run as the original's own fp32 against fp64 (3e-6 over 200 steps). bf16: the root mean
# square over the steps; each rounding is 2^-9, and the weights that follow from it differ at random, not to one side.
# The same holds for ensembles, whose noise is equal bit for bit on every device, with one condition: members must
# differ. Where they are equal, as conditional norms that begin at zero make them, rounding alone decides which of two
# is larger, and so the sign of the CRPS's slope: here these norms begin with drawn weights (zero_init=false).
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2}
PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed"}

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "tests/examples"
# Without scaling and with the global order, two processes of batch 2 are one of batch 4.
GLOBAL_BATCH = 4
REFERENCE = "reference on the CPU"
GRAPHS = ", CUDA graphs"
COMMON = ["training.optimization.lr_scaling=none", "dataloader.sample_order=global",
          "training.optimization.lr_scheduler.t_initial=200", "training.optimization.lr_scheduler.warmup_t=4",
          "dataloader.limit_batches.validation=1"]


class Case(typing.NamedTuple):
    name: str
    config: pathlib.Path
    overrides: list


class Run(typing.NamedTuple):
    name: str
    processes: int
    overrides: list
    precision: str


def each_part(*settings):
    """Overrides of the processor, an encoder and a decoder."""
    return [f"model.{part}.{setting}" for setting in settings for part in ("processor", "encoders.0.mapper",
                                                                          "decoders.0.mapper")]


def write_npy(archive, name, type_name, code, values):
    header = f"{{'descr': '<{type_name}', 'fortran_order': False, 'shape': ({len(values)},), }}".ljust(117) + "\n"
    archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}{code}", *values))


def write_smoothing(file, n, reach):
    """A matrix as scipy stores it that takes the mean over the cells from `reach` before to `reach` behind."""
    rows = [range(max(0, i - reach), min(n, i + reach + 1)) for i in range(n)]
    pointers = [0]
    for row in rows:
        pointers.append(pointers[-1] + len(row))
    with zipfile.ZipFile(file, "w") as archive:
        write_npy(archive, "indices", "i4", "i", [column for row in rows for column in row])
        write_npy(archive, "indptr", "i4", "i", pointers)
        write_npy(archive, "data", "f8", "d", [1 / len(row) for row in rows for _ in row])
        write_npy(archive, "shape", "i8", "q", [n, n])


def make_data(gradwind, folder):
    """Data sets and matrices of the cases, by name."""
    data = {}
    for name, recipe in (("waves", EXAMPLES / "waves.yaml"), ("global", ROOT / "examples/two-grids/global.yaml"),
                         ("coarse", ROOT / "examples/two-grids/coarse.yaml")):
        data[name] = folder / f"{name}.zarr"
        subprocess.run([gradwind, "dataset", "create", str(recipe), str(data[name])], check=True,
                       stdout=subprocess.DEVNULL)
    n_cells = 208  # of waves.yaml
    for reach in (8, 2):
        write_smoothing(folder / f"smooth_{reach}.npz", n_cells, reach)
    return data


def heads(n):
    return each_part(f"num_heads={n}")


def wide(channels):
    """Rows that the GPU's norms take; with the rate of the others such a network would overshoot at first."""
    return [f"model.num_channels={channels}", "training.optimization.lr=5e-4"]


def ensemble(model, *overrides):
    return [f"model={model}", "training=ensemble", "system.hardware.num_gpus_per_ensemble=1",
            "training.ensemble_size_per_device=5", "training.gradient_clip.algorithm=value", *heads(4),
            "model.processor.layer_kernels.LayerNorm.zero_init=false", *overrides]


def family(data):
    """The cases: a name, a configuration and what is other than there."""
    basic, waves = EXAMPLES / "gnn.yaml", [f"system.input.dataset={data['waves']}"]
    residual, loss = "model.residual.datasets.data", "training.training_loss.datasets.data"
    # The last input goes to the hidden nodes and back; the coarse scales of the loss are means over neighbours.
    scales = [f"~{residual}.step", f"{residual}={{_target_: TruncatedConnection, edge_weight_attribute: edge_length, "
              "truncation_down_edges_name: [data, to, hidden], truncation_up_edges_name: [hidden, to, data], "
              "row_normalize: true}",
              f"{loss}.multiscale_config={{loss_matrices_path: {data['waves'].parent}, "
              "loss_matrices: [smooth_8.npz, smooth_2.npz, null]}", f"{loss}.weights=[0.5, 0.3, 1.0]"]
    return [Case(name, config, [*waves, *overrides]) for name, config, overrides in (
        ("gnn", basic, []),
        ("gnn swiglu", basic, each_part("mlp_implementation=swiglu")),
        ("graphtransformer", basic, ["model=graphtransformer", *heads(4)]),
        ("graphtransformer qk_norm edge_pre_mlp, 128 channels", basic,
         ["model=graphtransformer", *wide(128), *heads(4), *each_part("qk_norm=true", "edge_pre_mlp=true")]),
        ("graphtransformer swiglu", EXAMPLES / "graphtransformer.yaml", []),
        ("transformer", basic, ["model=transformer", *heads(4), "model.processor.window_size=7"]),
        ("transformer alibi softcap", EXAMPLES / "transformer.yaml", ["model.processor.softcap=15"]),
        ("transformer mappers", basic, ["model=transformer_transformermapper", *heads(4)]),
        ("point-wise, 2560 hidden channels", basic,
         ["model=point_wise", *wide(160), "model.processor.mlp_hidden_ratio=16"]),
        ("ensemble, 128 channels", basic, ensemble("graphtransformer_ens", *wide(128))),
        ("ensemble transformer", basic, ensemble("transformer_ens", "model.processor.window_size=7")),
        ("ensemble truncated multi-scale", basic, ensemble("graphtransformer_ens", *scales)),
        ("limited area", EXAMPLES / "limited_area.yaml", []),
        ("limited area graphtransformer", EXAMPLES / "limited_area.yaml", ["model=graphtransformer", *heads(4)]),
        ("several data sets", ROOT / "examples/two-grids/train.yaml",
         [f"system.input.dataset={data['global']}", f"system.input.dataset_b={data['coarse']}"]))]


def of_stored_run(folder):
    """The networks on a stored run's configuration, data set and graph."""
    description = json.loads((folder / "case.json").read_text())
    file = lambda key: (folder / description[key]).resolve()  # noqa: E731
    return [Case(f"stored run {model}", file("config"),
                 [f"system.input.dataset={file('dataset')}", f"system.input.graph={file('graph')}",
                  "graph.overwrite=false", f"model={model}", *([] if model == "gnn" else heads(4))])
            for model in ("gnn", "graphtransformer", "transformer")]


def runs_on(device, n_gpus):
    def run(name, processes, device, precision, *overrides):
        return Run(name, processes, [f"system.hardware.accelerator={device}",
                                     f"training.precision={PRECISION[precision]}", *overrides], precision)

    deterministic, graphs = "training.deterministic=true", "training.strategy.cuda_graphs=true"
    shared = ["system.hardware.num_gpus_per_model=2", "system.hardware.num_gpus_per_ensemble=2",
              f"dataloader.batch_size.training={GLOBAL_BATCH}"]
    runs = [run(REFERENCE, 1, "cpu", "fp32"), run(f"{device} fp32", 1, device, "fp32"),
            run(f"{device} fp32 deterministic", 1, device, "fp32", deterministic),
            run(f"{device} fp32 deterministic again", 1, device, "fp32", deterministic),
            run(f"{device} bf16-mixed", 1, device, "bf16"),
            run(f"{device} fp32 deterministic{GRAPHS}", 1, device, "fp32", deterministic, graphs),
            run(f"{device} bf16-mixed{GRAPHS}", 1, device, "bf16", graphs)]
    if n_gpus > 1:
        runs += [run(f"{device} fp32, 2 processes", 2, device, "fp32"),
                 run(f"{device} bf16-mixed, 2 processes", 2, device, "bf16"),
                 run(f"{device} fp32, 2 processes{GRAPHS}", 2, device, "fp32", graphs),
                 run(f"{device} fp32, a model on 2 processes", 2, device, "fp32", *shared),
                 run(f"{device} fp32, a model on 2 processes{GRAPHS}", 2, device, "fp32", *shared, graphs)]
    return runs


def mean_losses(records):
    """Mean over the samples of each step. The last step of an epoch may leave a process few of them, or none."""
    batches = [iter(zip(record["loss"], map(len, record["anchors"]))) for record in records]
    losses = []
    for counts in zip(*(record["n_batches"] for record in records)):
        of_step = [next(own) for own, count in zip(batches, counts) for _ in range(count)]
        losses.append(sum(loss * n for loss, n in of_step) / sum(n for _, n in of_step))
    return losses


def train(gradwind, case, run, out, steps, threads):
    command = [gradwind, "train", str(case.config), *case.overrides, *COMMON, f"training.max_steps={steps}",
               f"dataloader.batch_size.training={GLOBAL_BATCH // run.processes}",
               f"system.hardware.num_gpus_per_node={run.processes}", *run.overrides, "--run", str(out), "--record"]
    if run.processes > 1:
        command += ["--nproc", str(run.processes)]
    begin = time.time()
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280,
                          env={**os.environ, "OMP_NUM_THREADS": str(max(1, threads // run.processes))})
    if done.returncode != 0:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout[-2000:]}")
    records = [json.loads((out / f"record_rank{rank}.json").read_text()) for rank in range(run.processes)]
    return mean_losses(records), time.time() - begin


def judge(run, losses, known):
    """How far `losses` are from the CPU's, and what is wrong with them, if anything."""
    differences = [abs(a - b) / abs(b) for a, b in zip(losses, known[REFERENCE])]
    distance = max(differences) if run.precision == "fp32" else math.hypot(*differences) / math.sqrt(len(differences))
    third = max(1, len(losses) // 3)
    if not all(map(math.isfinite, losses)):
        return distance, "not finite"
    if sum(losses[-third:]) >= sum(losses[:third]):
        return distance, "does not fall"
    twin = run.name.removesuffix(" again").removesuffix(GRAPHS)
    if "deterministic" in twin and losses != known[twin]:
        return distance, "not equal bit for bit"
    return distance, "" if distance <= TOLERANCE[run.precision] else "too far"


def check(case, given, runs, folder, threads):
    """Rows of the table, and the losses by run. What fails does not keep the other runs of a case from being seen."""
    rows, known = [], {}
    for number, run in enumerate(runs):
        if run.name.endswith(GRAPHS) and "ensemble" in case.name:
            continue  # noise is drawn by the host, so it cannot be recorded
        row = {"case": case.name, "run": run.name, "tolerance": TOLERANCE[run.precision],
               "relative_difference": math.nan}
        try:
            known[run.name], seconds = train(given.gradwind, case, run, folder / str(number), given.steps, threads)
            row["relative_difference"], row["fault"] = judge(run, known[run.name], known)
            row["wall_s"] = round(seconds, 1)
        except (RuntimeError, OSError, KeyError, subprocess.TimeoutExpired) as error:
            row["fault"] = str(error)
        rows.append(row)
        print(f"{case.name + ', ' + run.name:<88} {row['relative_difference']:>9.2e} {row['tolerance']:>8.0e}  "
              f"{row['fault'] or 'ok'}", flush=True)
        if row["fault"] and run.name == REFERENCE:
            break
    return rows, known


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gradwind")
    parser.add_argument("--stored-run", type=pathlib.Path)
    parser.add_argument("--cases")
    parser.add_argument("--runs")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--results", type=pathlib.Path)
    given = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // given.jobs)
    runs = runs_on(given.device, given.gpus)
    if given.runs:
        runs = [run for run in runs if run.name == REFERENCE or any(word in run.name for word in given.runs.split(","))]
    with tempfile.TemporaryDirectory(prefix="gradwind-gpu-") as scratch:
        folder = pathlib.Path(scratch)
        cases = family(make_data(given.gradwind, folder))
        if given.stored_run:
            cases += of_stored_run(given.stored_run)
        if given.cases:
            cases = [case for case in cases if any(word in case.name for word in given.cases.split(","))]
        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            folders = [folder / f"case{number}" for number in range(len(cases))]
            done = list(pool.map(lambda case, own: check(case, given, runs, own, threads), cases, folders))
    rows = [row for case_rows, _ in done for row in case_rows]
    failed = [row for row in rows if row["fault"]]
    if given.results:
        losses = {case.name: known for case, (_, known) in zip(cases, done)}
        given.results.write_text(json.dumps({"rows": rows, "losses": losses}, indent=1))
    for row in failed:
        print(f"FAILED: {row['case']}, {row['run']}: {row['fault']}")
    print(f"{len(cases)} cases, {len(rows)} runs: " + (f"{len(failed)} FAILED" if failed else "all within tolerance"))
    return 1 if failed or not rows else 0


sys.exit(main())
