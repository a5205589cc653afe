# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""What tests beside Anemoi's own packages share: a folder in which gradwind and they run, and what is compared."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

SKIPPED = 77
PYTHON = os.environ.get("GRADWIND_PYTHON", "python3")
HELPER = pathlib.Path(__file__).with_name("anemoi_helper.py")


def tensors(path: pathlib.Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Names to types, shapes and bytes: equality of these is identity. Of layout versions only the number counts: a
    network that computes in float32 holds it as one."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    result = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        content = data[begin:end]
        if name.endswith("trainable_layout_version"):
            number = struct.unpack({"I64": "<q", "F32": "<f", "F64": "<d"}[entry["dtype"]], content)[0]
            result[name] = ("number", (), str(int(number)).encode())
        else:
            result[name] = (entry["dtype"], tuple(entry["shape"]), content)
    return result


def floats(tensor: tuple[str, tuple[int, ...], bytes]) -> list[float]:
    return list(struct.unpack(f"<{len(tensor[2]) // 4}f", tensor[2]))


class AnemoiCase:
    """One network in a folder of its own. `check()` is what a case does."""

    def __init__(self, executable: pathlib.Path, folder: pathlib.Path, name: str):
        self.executable, self.folder, self.name, self.failed = executable, folder, name, 0

    def expect(self, fact: bool, what: str) -> None:
        self.failed += not fact
        print(f"{'ok' if fact else 'FAILED':6} {self.name}: {what}", flush=True)

    def environment(self) -> dict[str, str]:
        # Grids that Anemoi would download lie in the folder, and its cache of them must not outlive the test.
        return os.environ | {"OMP_NUM_THREADS": "1", "ANEMOI_BASE_SEED": "42", "HOME": str(self.folder),
                             "GRADWIND_CACHE": str(self.folder / "cache"),
                             "ANEMOI_SETTINGS_UTILS__GRIDS_PATH": str(self.folder)}

    def run(self, *words: str, code: int = 0) -> str:
        result = subprocess.run([str(self.executable), *words], cwd=self.folder, env=self.environment(), text=True,
                                capture_output=True, timeout=600)
        if result.returncode != code:
            print(result.stdout[-2000:] + result.stderr[-4000:])
            raise RuntimeError(f"gradwind {' '.join(words)}: exit code {result.returncode}, expected {code}")
        return result.stdout + result.stderr

    def help(self, *words: str) -> None:
        result = subprocess.run([PYTHON, str(HELPER), *words], cwd=self.folder, timeout=900, text=True, capture_output=True,
                                env=self.environment())
        if result.returncode:
            raise RuntimeError(f"{' '.join(words)}: {result.stdout[-3000:]}{result.stderr[-5000:]}")

    def same(self, a: str, b: str, name: str, folder: str = "checkpoints/last") -> None:
        left, right = tensors(self.folder / a / folder / name), tensors(self.folder / b / folder / name)
        differing = [key for key in left.keys() | right.keys() if left.get(key) != right.get(key)]
        self.expect(not differing, f"{name} of {a} and {b} are identical ({len(left)} tensors) {differing[:4]}")

    def check(self) -> None:
        raise NotImplementedError


def run_cases(case: type[AnemoiCase], packages: tuple[str, ...], names: list[str]) -> int:
    """Each name in a case of its own. @return exit code, that of a skipped test where a package is missing"""
    probe = subprocess.run([PYTHON, "-c", f"import {', '.join(packages)}"], capture_output=True)
    if probe.returncode != 0:
        print(f"skipped: {PYTHON} lacks one of {', '.join(packages)} (GRADWIND_PYTHON names another)")
        return SKIPPED
    failed = 0
    for name in sys.argv[2:] or names:
        with tempfile.TemporaryDirectory(prefix="gradwind-anemoi-") as scratch:
            try:
                one = case(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(scratch), name)
                one.check()
                failed += one.failed
            except RuntimeError as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
    return 1 if failed else 0
