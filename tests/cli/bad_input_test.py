#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind gives one clear error: a table of command lines, each with the exit code and a piece of the
message that must come on stderr, once and without a stack. Works on a small generated data set and a short run on it.
usage: bad_input_test.py GRADWIND_EXECUTABLE SOURCE_FOLDER [--show] [ROW ...]"""
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from typing import Callable

CONFIG, DATA, CHECKPOINT = 2, 3, 5
LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "MASTER_", "TORCHELASTIC_", "OMPI_", "PMI", "SLURM_", "GRADWIND_")
TIMEOUT_S = 240

RECIPE = """
dates: {start: 2000-01-01T00:00:00, end: 2000-01-05T18:00:00, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: o8, level: 500, param: [u, v, z], waves: 2, max_n: 3, seed: 1}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [cos_latitude, insolation]}
output: {chunking: {dates: 1}}
statistics: {tendencies: [6]}
"""
Prepare = Callable[[pathlib.Path], None]


@dataclasses.dataclass
class Row:
    name: str
    command: str
    code: int
    text: str
    prepare: Prepare | None = None
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    before: str = ""


def write(name: str, text: str) -> Prepare:
    return lambda folder: (folder / name).write_text(text) and None


def replace(name: str, old: str, new: str) -> Prepare:
    def change(folder: pathlib.Path) -> None:
        text = (folder / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (folder / name).write_text(text.replace(old, new))
    return change


def remove(name: str) -> Prepare:
    def change(folder: pathlib.Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return change


def cut(name: str, size: int) -> Prepare:
    return lambda folder: os.truncate(folder / name, size)


def overwrite(name: str, content: bytes) -> Prepare:
    def change(folder: pathlib.Path) -> None:
        with open(folder / name, "r+b") as file:
            file.write(content)
    return change


def edit_json(name: str, change: Callable[[dict], None]) -> Prepare:
    def apply(folder: pathlib.Path) -> None:
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))
    return apply


def nan_chunk(folder: pathlib.Path) -> None:
    """Date 3 becomes NaN: its chunk is taken away, and NaN stands for what is absent."""
    meta = json.loads((folder / "waves.zarr/data/.zarray").read_text())
    for chunk in (folder / "waves.zarr/data").glob("3.*"):
        chunk.unlink()
    meta["fill_value"] = "NaN"
    (folder / "waves.zarr/data/.zarray").write_text(json.dumps(meta))


def torchrun(**changes: str) -> dict[str, str]:
    variables = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2",
                 "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    variables.update(changes)
    return {name: value for name, value in variables.items() if value}


TRAIN = "train base.yaml --run new"
RESUME = "train --resume run training.max_steps=3"
KNN = "graph.edges.0.edge_builders=[{_target_: KNNEdges, num_nearest_neighbours: 100000}]"
OPTIONS = "dataloader.training.datasets.data"
LAST = "run/checkpoints/step_000002"

ROWS = [
    # command line
    Row("misspelt command", "trian base.yaml", CONFIG, "did you mean `train`?"),
    Row("misspelt option", "train base.yaml --nprok 2", CONFIG, "did you mean `--nproc`?"),
    Row("no command", "", CONFIG, "--help"),
    Row("argument missing", "dataset create recipe.yaml", CONFIG, "output"),
    Row("neither configuration nor resume", "train", CONFIG, "--resume DIR"),
    Row("override that is none", "config check base.yaml nonsense", CONFIG, "nonsense"),
    # configuration
    Row("no such configuration", "train absent.yaml", CONFIG, "absent.yaml"),
    Row("malformed YAML", "config check base.yaml", CONFIG, "base.yaml:2", write("base.yaml", "a: [1, 2\nb: }\n")),
    Row("unknown key", "config check base.yaml", CONFIG, "num_channels", replace("base.yaml", "num_channels", "num_chanels")),
    Row("unknown key in an override", "config check base.yaml model.num_chanels=8", CONFIG, "num_channels"),
    Row("wrong type", "config check base.yaml model.num_channels=many", CONFIG, "model.num_channels"),
    Row("out of range", "config check base.yaml training.optimization.lr=-1", CONFIG, "training.optimization.lr"),
    Row("must be set", "train examples/waves/train.yaml --run new", CONFIG, "system.input.dataset"),
    Row("cycle of references", "config check base.yaml", CONFIG, "circle",
        write("base.yaml", "training: {max_steps: \"${training.max_epochs}\", max_epochs: \"${training.max_steps}\"}\n")),
    Row("reference to nothing", "config check base.yaml", CONFIG, "nowhere",
        write("base.yaml", "training: {max_steps: \"${nowhere.at.all}\"}\n")),
    Row("unknown group", "config check base.yaml", CONFIG, "gnnn", write("base.yaml", "defaults:\n- model: gnnn\n")),
    Row("precision", TRAIN + " training.precision=31-true", CONFIG, "31-true"),
    Row("no end", TRAIN + " training.max_steps=null training.max_epochs=null", CONFIG, "max_steps"),
    # data
    Row("no such data set", TRAIN + " system.input.dataset=absent.zarr", DATA, "absent.zarr"),
    Row("no attributes", TRAIN, DATA, "waves.zarr", remove("waves.zarr/.zattrs")),
    Row("array missing", TRAIN, DATA, "latitudes", remove("waves.zarr/latitudes")),
    Row("truncated chunk", "dataset inspect waves.zarr --checksum", DATA, "data/3.0.0.0", cut("waves.zarr/data/3.0.0.0", 40)),
    Row("damaged header", "dataset inspect waves.zarr --checksum", DATA, "data/3.0.0.0",
        overwrite("waves.zarr/data/3.0.0.0", b"\xff" * 16)),
    Row("truncated chunk in training", TRAIN, DATA, "data/3.0.0.0", cut("waves.zarr/data/3.0.0.0", 40)),
    Row("truncated chunk on two processes", TRAIN + " --nproc 2 system.hardware.num_gpus_per_node=2", DATA,
        "data/3.0.0.0", cut("waves.zarr/data/3.0.0.0", 40)),
    Row("metadata that is no JSON", TRAIN, DATA, ".zarray", write("waves.zarr/data/.zarray", "{")),
    Row("names of variables", TRAIN, DATA, "variables", edit_json("waves.zarr/.zattrs", lambda a: a["variables"].pop())),
    Row("missing value in training", TRAIN, DATA, "2000-01-01T18:00:00", nan_chunk),
    Row("unknown forcing", TRAIN + " data.datasets.data.forcing=[cos_lattitude]", CONFIG, "cos_lattitude"),
    Row("frequency that does not divide", "dataset inspect waves.zarr frequency=8h", CONFIG, "8h"),
    Row("empty period", TRAIN + f" {OPTIONS}.start=1999-01-01 {OPTIONS}.end=1999-02-01", CONFIG, "one date only"),
    Row("start after end", "dataset inspect waves.zarr start=2000-01-04 end=2000-01-02", CONFIG, "2000-01-04"),
    Row("unknown option", "dataset inspect waves.zarr frequence=6h", CONFIG, "frequency"),
    Row("unknown variable", "dataset inspect waves.zarr select=[z_501]", CONFIG, "z_500"),
    Row("empty area", TRAIN + " system.input.dataset='{dataset: waves.zarr, area: [1, 0, 0.9, 0.1]}'", CONFIG, "leave no cell"),
    Row("recipe missing", "dataset create absent.yaml out.zarr", CONFIG, "absent.yaml"),
    Row("recipe without its file", "dataset create recipe.yaml out.zarr", DATA, "absent.nc",
        write("recipe.yaml", "dates: {start: 2000-01-01, end: 2000-01-02, frequency: 6h}\n"
                             "input: {netcdf: {path: absent.nc, param: [t]}}\n")),
    Row("store exists", "dataset create recipe.yaml waves.zarr", DATA, "exists already"),
    Row("unknown forcing in a recipe", "dataset create recipe.yaml out.zarr", CONFIG, "cos_latitude",
        replace("recipe.yaml", "cos_latitude", "cos_lattitude")),
    # graph
    Row("unknown node builder", TRAIN + " graph.nodes.hidden.node_builder._target_=TriNods", CONFIG, "TriNodes"),
    Row("more neighbours than nodes", TRAIN + " " + shlex.quote(KNN), CONFIG, "100000"),
    Row("mask that is not there", TRAIN + " model.output_mask.datasets.data._target_=Boolean1DMask "
        "model.output_mask.datasets.data.attribute_name=nowhere", CONFIG, "output mask"),
    Row("damaged graph", TRAIN + " graph.overwrite=false system.input.graph=graph.safetensors", DATA,
        "graph.safetensors", cut("graph.safetensors", 3000)),
    Row("graph of other cells", TRAIN + " graph.overwrite=false system.input.graph=graph.safetensors "
        "system.input.dataset=other.zarr", CONFIG, "another data set"),
    Row("no such graph", "graph inspect absent.safetensors", DATA, "absent.safetensors"),
    # model
    Row("layers not available", TRAIN + " model.layer_kernels.Linear.bias=false", CONFIG, "not available yet"),
    Row("chunks that do not divide", TRAIN + " model.processor.num_chunks=3", CONFIG, "num_chunks"),
    # layout and launch
    Row("no processes", TRAIN + " --nproc 0", CONFIG, "nproc"),
    Row("processes not started", TRAIN + " system.hardware.num_gpus_per_node=2", CONFIG, "start them with --nproc"),
    Row("two launchers", TRAIN + " --nproc 2 system.hardware.num_gpus_per_node=2", CONFIG, "leave --nproc out", env=torchrun()),
    Row("rank without world", TRAIN, CONFIG, "WORLD_SIZE", env={"RANK": "0"}),
    Row("rank beyond the world", TRAIN, CONFIG, "RANK", env=torchrun(RANK="5")),
    Row("no address", TRAIN, CONFIG, "MASTER_ADDR", env=torchrun(MASTER_ADDR="")),
    Row("model group that does not divide", "plan base.yaml --world 1x3 system.hardware.num_gpus_per_model=2", CONFIG, "use 1"),
    Row("reader group", "plan base.yaml --world 1x4 system.hardware.num_gpus_per_model=2 dataloader.read_group_size=4",
        CONFIG, "read_group_size"),
    Row("world that is none", "plan base.yaml --world 4by8", CONFIG, "4by8"),
    Row("a root over several processes", TRAIN + " --nproc 2 system.hardware.num_gpus_per_node=2 "
        "training.validation_metrics.datasets.data.mse._target_=RMSELoss", CONFIG, "does not add up"),
    Row("a root over accumulated batches", TRAIN + " training.accum_grad_batches=2 "
        "training.training_loss.datasets.data._target_=RMSELoss", CONFIG, "does not add up"),
    Row("plan that is not there", TRAIN + " training.strategy.plan=absent.yaml", CONFIG, "absent.yaml"),
    Row("unknown key in a plan", TRAIN + " training.strategy.plan=plan.yaml", CONFIG, "plan.yaml:1",
        write("plan.yaml", "bucket_byte: [3]\n")),
    Row("plan of another model", TRAIN + " training.strategy.plan=plan.yaml", CONFIG, "plan it again",
        write("plan.yaml", "bucket_bytes: [1024]\n")),
    Row("empty bucket in a plan", TRAIN + " training.strategy.plan=plan.yaml", CONFIG, "sizes above 0",
        write("plan.yaml", "bucket_bytes: [1024, 0]\n")),
    Row("tune by another precision", "tune base.yaml --allow fp8", CONFIG, "--allow"),
    Row("tune in no steps", "tune base.yaml --steps 0", CONFIG, "--steps"),
    Row("tune into nowhere", "tune base.yaml --output nowhere/plan.yaml", CONFIG, "nowhere/plan.yaml"),
    Row("tune without data", "tune base.yaml system.input.dataset=absent.zarr", DATA, "absent.zarr"),
    # checkpoint
    Row("resume without a run", "train --resume waves.zarr", CHECKPOINT, "waves.zarr"),
    Row("resume nothing", "train --resume absent", CHECKPOINT, "absent"),
    Row("truncated weights", RESUME, CHECKPOINT, "weights.safetensors", cut(LAST + "/weights.safetensors", 1000)),
    Row("no state", RESUME, CHECKPOINT, "state.json", remove(LAST + "/state.json")),
    Row("state that is no JSON", RESUME, CHECKPOINT, "state.json", write(LAST + "/state.json", "{")),
    Row("other variables", RESUME + " data.datasets.data.forcing=[cos_latitude,insolation,z_500]", CHECKPOINT, "data.datasets.data.forcing"),
    Row("other channels", RESUME + " model.num_channels=16", CHECKPOINT, "model.num_channels: was 8, is 16"),
    Row("full disk", TRAIN, CHECKPOINT, "cannot write", before="trap '' XFSZ; ulimit -f 40; "),
    # forecast and verify
    Row("forecast of no run", "forecast absent", CHECKPOINT, "absent"),
    Row("date outside", "forecast run --date 2001-01-01", CONFIG, "2001-01-01"),
    Row("leads beyond the steps", "forecast run --steps 2 --leads 1,4", CONFIG, "--leads 4"),
    Row("no cases", "verify --golden waves.zarr", DATA, "case.json"),
]


def environment(changes: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    return kept | {"OMP_NUM_THREADS": "1"} | changes


def configuration(source: pathlib.Path) -> str:
    """The waves example, small: 14 dates train, the others are held out."""
    text = (source / "examples/waves/train.yaml").read_text()
    for old, new in [("end: 2000-02-19", "end: 2000-01-03"), ("start: 2000-02-20", "start: 2000-01-04"),
                     ("end: 2000-02-29", "end: 2000-01-05"), ("dataset: ???", "dataset: waves.zarr"),
                     ("[cos_julian_day, cos_latitude, cos_local_time, cos_longitude, insolation, sin_julian_day, "
                      "sin_latitude, sin_local_time, sin_longitude]", "[cos_latitude, insolation]"),
                     ("resolution: 3", "resolution: 1"), ("num_channels: 32", "num_channels: 8"),
                     ("num_layers: 4", "num_layers: 2"), ("max_steps: 3200", "max_steps: 2"),
                     ("batch_size: {training: 1,", "batch_size: {training: 2,")]:
        assert old in text, f"examples/waves/train.yaml has changed: no `{old}`"
        text = text.replace(old, new)
    return text


def messages_of(stderr: str, command: str) -> list[str]:
    """The messages of a job: one, if gradwind starts its processes itself. Under another launcher ranks that meet the same
    error may all say so; the connections that an error of another rank breaks count only where nothing else was said."""
    if "--nproc" in command:
        return [line.split("] ", 1)[-1] if line.startswith("[rank ") else line for line in stderr.splitlines()
                if re.match(r"(\[rank \d+\] )?gradwind: ", line)]
    first = [line for line in stderr.splitlines() if line.startswith("gradwind: ")]
    others = {line.split("] ", 1)[1] for line in stderr.splitlines() if re.match(r"\[rank \d+\] gradwind: ", line)}
    consequences = {line for line in others if "[comm]" in line}
    causes = others - consequences - set(first)
    return first + sorted(causes) if first or causes else sorted(consequences)


class Table:
    def __init__(self, executable: pathlib.Path, source: pathlib.Path, scratch: pathlib.Path):
        self.executable, self.base, self.scratch = executable, scratch / "base", scratch
        self.base.mkdir()
        (self.base / "recipe.yaml").write_text(RECIPE)
        (self.base / "base.yaml").write_text(configuration(source))
        (self.base / "examples").symlink_to(source / "examples")
        for command in ["dataset create recipe.yaml waves.zarr",
                        "dataset create recipe.yaml other.zarr input.join.0.planetary_waves.grid=o10",
                        "graph create base.yaml graph.safetensors",
                        "train base.yaml --run run"]:
            self.run(self.base, command, check=True)

    def run(self, folder: pathlib.Path, command: str, before: str = "", env: dict[str, str] | None = None,
            check: bool = False) -> subprocess.CompletedProcess:
        result = subprocess.run(["bash", "-c", f"{before}exec {shlex.quote(str(self.executable))} {command}"], cwd=folder,
                                env=environment(env or {}), text=True, capture_output=True, timeout=TIMEOUT_S)
        if check and result.returncode != 0:
            raise RuntimeError(f"{command}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def judge(self, row: Row) -> tuple[list[str], str]:
        folder = self.scratch / "".join(letter if letter.isalnum() else "-" for letter in row.name)
        shutil.copytree(self.base, folder, symlinks=True)
        if row.prepare:
            row.prepare(folder)
        try:
            result = self.run(folder, row.command, row.before, row.env)
        except subprocess.TimeoutExpired:
            return [f"did not end within {TIMEOUT_S} s"], ""
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        messages = messages_of(result.stderr, row.command)
        faults = []
        if result.returncode != row.code:
            faults.append(f"exit code {result.returncode}, expected {row.code}")
        if len(messages) != 1:
            faults.append(f"{len(messages)} messages, expected one")
        if row.text not in result.stderr:
            faults.append(f"the message lacks `{row.text}`")
        if any(mark in result.stderr for mark in ("Exception raised from", "frame #", "terminate called")):
            faults.append("a stack trace")
        return faults, result.stderr or result.stdout


def main() -> int:
    arguments = [argument for argument in sys.argv[3:] if argument != "--show"]
    show = "--show" in sys.argv
    rows = [row for row in ROWS if not arguments or row.name in arguments]
    with tempfile.TemporaryDirectory(prefix="gradwind-bad-input-") as scratch:
        table = Table(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(scratch))
        failed = 0
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, (faults, output) in zip(rows, pool.map(table.judge, rows)):
                failed += bool(faults)
                print(f"{'FAILED' if faults else 'ok':6} {row.name}: {'; '.join(faults)}", flush=True)
                if faults or show:
                    print("       " + "\n       ".join(output.strip().splitlines()[-12:]), flush=True)
    print(f"{len(rows) - failed} of {len(rows)} rows as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
