#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""`gradwind verify CONFIG --nproc N` passes on a configuration of tests/examples, and tries the layouts it should.
usage: verify_layouts_test.py GRADWIND_EXECUTABLE EXAMPLES_FOLDER CONFIG NPROC [--second RECIPE] [--layouts A,B]
                              [--expect NAME ...]
RECIPE: of a second data set; NAME: a layout that must have been compared, not refused."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "MASTER_", "TORCHELASTIC_", "OMPI_", "PMI", "SLURM_", "GRADWIND_")

parser = argparse.ArgumentParser()
parser.add_argument("executable")
parser.add_argument("examples", type=pathlib.Path)
parser.add_argument("config")
parser.add_argument("nproc")
parser.add_argument("--second")
parser.add_argument("--layouts")
parser.add_argument("--expect", nargs="*", default=[])
parser.add_argument("override", nargs="*", default=[])
options = parser.parse_args()

with tempfile.TemporaryDirectory(prefix="gradwind-verify-") as name:
    folder = pathlib.Path(name)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS)}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GRADWIND_CACHE": name}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([options.executable, *arguments], env=environment, text=True, stdout=subprocess.PIPE)

    datasets = {"dataset": "waves.yaml"} | ({"dataset_b": options.second} if options.second else {})
    for key, recipe in datasets.items():
        if run("dataset", "create", str(options.examples / recipe), str(folder / f"{key}.zarr")).returncode:
            sys.exit("the data set was not made")
    result = run("verify", str(options.examples / options.config),
                 *[f"system.input.{key}={folder}/{key}.zarr" for key in datasets], *options.override, "--nproc", options.nproc, "--steps", "2", "--json",
                 *(["--layouts", options.layouts] if options.layouts else []))
    report = json.loads(result.stdout)

compared, refused = [], []
for layout in report["layouts"]:
    (refused if layout["not_run"] else compared).append(layout["name"])
    failed = [check for check in layout["checks"] if not check["passed"]]
    print(f'{layout["name"]}: {len(layout["checks"])} checks', *layout["not_run"][:1])
    for check in failed[:5]:
        print("   ", check)
missing = [name for name in options.expect if name not in compared]
if result.returncode or refused or missing:
    sys.exit(f"exit code {result.returncode}; refused {refused}; not compared {missing}")
