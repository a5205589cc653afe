#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Real srun and sbatch: equal weights on one node and on two, a killed rank, and the job script of the guide, which is
signalled, puts itself back into the queue and goes on to the same weights.
usage: slurm_test.py GRADWIND_EXECUTABLE SOURCE_FOLDER"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from launch_test import clean_environment
from private_slurm import PrivateSlurm, is_installed

SKIPPED = 77
TIMEOUT_S = 120
STEPS = 3
LONG = 400
CONFIG = f"""defaults: [gnn, _self_]
system: {{hardware: {{num_nodes: 2, num_gpus_per_node: 2}}, input: {{dataset: waves.zarr}}}}
dataloader: {{batch_size: {{training: 1}}}}
training: {{max_steps: {LONG}, strategy: {{timeout_s: 5}}}}
"""


class Scene:
    def __init__(self, gradwind: str, source: pathlib.Path, slurm: PrivateSlurm, folder: pathlib.Path):
        self.slurm, self.folder, self.source, self.gradwind = slurm, folder, source, gradwind
        self.environment = {**clean_environment(), **slurm.variables}
        self.environment["PATH"] = f"{pathlib.Path(gradwind).parent}:{slurm.variables['PATH']}"

    def options(self, nodes: int, per_node: int, steps: int) -> list[str]:
        return [str(self.source / "tests/examples/gnn.yaml"), "system.input.dataset=waves.zarr",
                f"system.hardware.num_nodes={nodes}", f"system.hardware.num_gpus_per_node={per_node}",
                "dataloader.batch_size.training=1", f"training.max_steps={steps}", "training.strategy.timeout_s=5"]

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, timeout=TIMEOUT_S, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
        return done.stdout

    def weights(self, run: str, steps: int) -> bytes:
        return (self.folder / run / "checkpoints" / f"step_{steps:06}" / "weights.safetensors").read_bytes()


def one_node_and_two(scene: Scene) -> None:
    scene.run(scene.gradwind, "train", *scene.options(1, 4, STEPS), "--run", "own", "--nproc", "4")
    for nodes in (1, 2):
        name = f"srun{nodes}"
        said = scene.run("srun", f"-N{nodes}", "-n4", scene.gradwind, "train", *scene.options(nodes, 4 // nodes, STEPS),
                         "--run", name)
        assert "of 4, started by srun" in said, said
        assert scene.weights(name, STEPS) == scene.weights("own", STEPS), f"{nodes} nodes give other weights"
        print(f"srun on {nodes} nodes: equal weights")


def process_of(rank: int, run: str) -> int:
    """The process that srun started for a rank."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if run.encode() in (entry / "cmdline").read_bytes().split(b"\0") and \
                    f"SLURM_PROCID={rank}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    return 0


def killed_rank(scene: Scene) -> None:
    command = ["srun", "--kill-on-bad-exit=0", "-N2", "-n4", scene.gradwind, "train", *scene.options(2, 2, 100000),
               "--run", "killed"]
    job = subprocess.Popen(command, cwd=scene.folder, env=scene.environment, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
    metrics = scene.folder / "killed" / "metrics.jsonl"
    scene.slurm.wait_for("the first line of metrics", lambda: metrics.exists() and metrics.stat().st_size > 0)
    began = time.monotonic()
    os.kill(process_of(3, "killed"), signal.SIGKILL)
    said = job.communicate(timeout=TIMEOUT_S)[0]
    print(f"a killed rank: srun left with {job.returncode} after {time.monotonic() - began:.1f} s")
    assert job.returncode != 0
    assert not any(process_of(rank, "killed") for rank in range(4)), "a process is left"
    assert re.search(r"\[comm\].*rank", said), said


def job_script(page: pathlib.Path) -> str:
    """The script of the guide, for this cluster: its files, no GPUs, a run that is long enough to be signalled."""
    text = re.search(r"^```bash\n(#!.*?)^```", page.read_text(), flags=re.M | re.S).group(1)
    for there, here in (("--ntasks-per-node=4 --gpus-per-node=4", "--ntasks-per-node=2"), ("--time=24:00:00", "--time=10")):
        assert there in text, f"the script lacks {there}"
        text = text.replace(there, here)
    return text


def requeued_job(scene: Scene) -> None:
    scene.run(scene.gradwind, "train", *scene.options(1, 4, LONG), "--run", "whole", "--nproc", "4")
    (scene.folder / "gnn.yaml").write_text((scene.source / "tests/examples/gnn.yaml").read_text())
    (scene.folder / "config.yaml").write_text(CONFIG)
    (scene.folder / "job.sh").write_text(job_script(scene.source / "doc/guide/slurm.md"))
    number = re.search(r"\d+", scene.run("sbatch", "job.sh")).group()
    output = scene.folder / f"slurm-{number}.out"
    metrics = scene.folder / "runs/big/metrics.jsonl"
    scene.slurm.wait_for("training", lambda: metrics.exists() and metrics.stat().st_size > 0)
    scene.run("scancel", "--signal=USR1", number)  # what Slurm does by itself when time is nearly up
    ended = lambda: re.search(r"JobState=(COMPLETED|FAILED|CANCELLED|TIMEOUT)",
                              scene.slurm.ask("scontrol", "show", "job", number))
    scene.slurm.wait_for("the end of the job", ended, TIMEOUT_S + 60)  # a job waits a while before it starts again
    said = output.read_text()
    assert ended().group(1) == "COMPLETED", said
    assert "Restarts=1" in scene.slurm.ask("scontrol", "show", "job", number), said
    assert scene.weights("runs/big", LONG) == scene.weights("whole", LONG), f"other weights\n{said}"
    print("the job of the guide: signalled, queued again, ended with the weights of a run that never stopped")


def main() -> int:
    gradwind, source = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    if not is_installed():
        print("skipped: the Debian packages slurmctld, slurmd and slurm-client are not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="gradwind-slurm-") as name:
        folder = pathlib.Path(name)
        (folder / "daemons").mkdir()
        with PrivateSlurm(folder / "daemons") as slurm:
            scene = Scene(gradwind, source, slurm, folder)
            scene.run(gradwind, "dataset", "create", str(source / "tests/examples/waves.yaml"), "waves.zarr")
            one_node_and_two(scene)
            killed_rank(scene)
            requeued_job(scene)
    return 0


if __name__ == "__main__":
    sys.exit(main())
