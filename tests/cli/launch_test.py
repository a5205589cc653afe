#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes train the same weights, bit for bit, whoever starts them: --nproc, torchrun, mpirun or srun.
torchrun and mpirun are left out where they are not installed or do not run; $GRADWIND_TORCHRUN names another torchrun, of any
PyTorch. Slurm is stood in for by two processes with its variables.
usage: launch_test.py GRADWIND_EXECUTABLE EXAMPLES_FOLDER"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TIMEOUT_S = 120
LAUNCHER_VARIABLES = ("SLURM_", "OMPI_", "PMI_", "PMIX_", "MPI_")


def clean_environment() -> dict[str, str]:
    """Without what a launcher around this test may have set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHER_VARIABLES)}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        kept.pop(name, None)
    return {**kept, "OMP_NUM_THREADS": "1"}


def run(command: list[str], folder: pathlib.Path, **more: str) -> str:
    done = subprocess.run(command, cwd=folder, env={**clean_environment(), **more}, timeout=TIMEOUT_S, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def run_as_slurm(command: list[str], folder: pathlib.Path) -> str:
    """What `srun -n 2` of one node does: a process a task, told who it is by variables alone."""
    tasks = []
    for rank in range(2):
        variables = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_PROCID": str(rank),
                     "SLURM_NTASKS": "2", "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
                     "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": "2"}
        tasks.append(subprocess.Popen(command, cwd=folder, env={**clean_environment(), **variables}, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    outputs = [task.communicate(timeout=TIMEOUT_S)[0] for task in tasks]
    assert all(task.returncode == 0 for task in tasks), "\n".join(outputs)
    return outputs[0]


def can_start(prefix: list[str]) -> bool:
    return shutil.which(prefix[0]) is not None and subprocess.run(
        [*prefix, "true"], env=clean_environment(), capture_output=True, timeout=TIMEOUT_S).returncode == 0


def main() -> int:
    gradwind = str(pathlib.Path(sys.argv[1]).resolve())
    examples = pathlib.Path(sys.argv[2]).resolve()
    train = [gradwind, "train", str(examples / "gnn.yaml"), "system.input.dataset=waves.zarr",
             "system.hardware.num_gpus_per_node=2", "training.max_steps=3"]
    torchrun = [os.environ.get("GRADWIND_TORCHRUN", "torchrun"), "--no_python", "--nproc_per_node", "2", "--master_port", str(20000 + os.getpid() % 10000)]
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2"]
    with tempfile.TemporaryDirectory(prefix="gradwind-launch-") as name:
        folder = pathlib.Path(name)
        run([gradwind, "dataset", "create", str(examples / "waves.yaml"), "waves.zarr"], folder)
        said = {"--nproc": run([*train, "--run", "nproc", "--nproc", "2"], folder),
                "srun": run_as_slurm([*train, "--run", "srun"], folder)}
        for launcher, prefix in (("torchrun", torchrun), ("mpirun", mpirun)):
            if can_start(prefix):
                # A shell, because torchrun takes `--run` for an option of its own.
                said[launcher] = run([*prefix, "sh", "-c", f"exec {' '.join(train)} --run {launcher}"], folder)
            else:
                print(f"{launcher} is not there or does not run: left out")
        expected = (folder / "nproc" / "checkpoints" / "step_000003" / "weights.safetensors").read_bytes()
        for launcher, text in said.items():
            assert f"of 2, started by {launcher}" in text, f"{launcher} is not named:\n{text}"
            own = folder / launcher.lstrip("-") / "checkpoints" / "step_000003" / "weights.safetensors"
            assert own.read_bytes() == expected, f"{launcher} gives other weights"
            print(f"{launcher}: equal weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
