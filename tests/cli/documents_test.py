#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of the guides: each line that starts with `$ ` in a ```console block, in the order of the pages,
in one scratch folder that holds the examples. usage: documents_test.py GRADWIND_EXECUTABLE SOURCE_FOLDER"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PAGES = ["train-on-your-data.md", "resume.md", "run-folder.md", "several-data-sets.md"]
SKIPPED = 77


def commands_of(page: pathlib.Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def main() -> int:
    executable, source = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    if not pathlib.Path("/usr/share/ncarg/data/cdf/Pstorm.cdf").exists():
        print("skipped: the Debian package libncarg-data is not installed")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="gradwind-documents-") as scratch:
        (pathlib.Path(scratch) / "examples").symlink_to(source / "examples")
        environment = dict(os.environ, PATH=f"{executable.parent}:{os.environ['PATH']}")
        count = 0
        for name in PAGES:
            found = commands_of(source / "doc" / "guide" / name)
            if not found:
                print(f"FAILED {name}: no command found; did the block marker change?")
                return 1
            for command in found:
                result = subprocess.run(["bash", "-c", command], cwd=scratch, env=environment, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
                print(f"{name}: {command}: {result.returncode}", flush=True)
                if result.returncode != 0:
                    print(result.stdout[-4000:])
                    return 1
                count += 1
        print(f"{count} commands ran")
    return 0


sys.exit(main())
