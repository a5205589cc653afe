# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""A Slurm of two nodes on this machine, for as long as a test runs: its own daemons, ports and folder. The names of its
nodes mean nothing to the resolver of the machine: programs on both need MASTER_ADDR."""
import getpass
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

CONFIG = """
ClusterName=private
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2
ReturnToService=2
KillWait=5
NodeName=node[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scontrol", "scancel", "sinfo", "squeue")


def is_installed() -> bool:
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return all(shutil.which(program, path=path) for program in PROGRAMS)


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


def free_ports() -> list[int]:
    """Three in a row, as Slurm wants those of its nodes."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
        if all(is_free(port + next) for next in range(3)):
            return [port, port + 1, port + 2]


class PrivateSlurm:
    """Use with `with`; `variables` are what a command needs in its environment to reach it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.daemons = []
        (folder / "state").mkdir()
        config = folder / "slurm.conf"
        config.write_text(CONFIG.format(user=getpass.getuser(), folder=folder, ports=free_ports()))
        self.variables = {"SLURM_CONF": str(config), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
                          "MASTER_ADDR": "127.0.0.1"}

    def start(self, *command: str) -> None:
        output = open(self.folder / f"{command[-1]}.out", "w")
        self.daemons.append(subprocess.Popen([*command], env={**os.environ, **self.variables}, stdout=output,
                                             stderr=subprocess.STDOUT))

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env={**os.environ, **self.variables}, text=True, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.strip()

    def wait_for(self, what: str, is_true, seconds: float = 150) -> None:
        until = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > until:
                logs = "\n".join(f"{log}:\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log"))
                raise TimeoutError(f"{what} did not happen within {seconds} s\n{self.ask('squeue')}\n{logs}")
            time.sleep(0.2)

    def __enter__(self) -> "PrivateSlurm":
        try:
            self.start("slurmctld", "-D", "-c", "-f", self.variables["SLURM_CONF"])
            for node in ("node1", "node2"):
                self.start("slurmd", "-D", "-f", self.variables["SLURM_CONF"], "-N", node)
            self.wait_for("two idle nodes", lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D") == "2")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        # Programs of a job outlive the daemons.
        self.ask("scancel", "--full", "--signal=KILL", "--user", getpass.getuser())
        until = time.monotonic() + 30
        while re.match(r"\d", self.ask("squeue", "-h", "-o", "%i")) and time.monotonic() < until:
            time.sleep(0.5)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
