#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""`gradwind verify --golden` passes on one case, from $GRADWIND_GOLDEN or the folder given.
usage: golden_test.py GRADWIND_EXECUTABLE DEFAULT_FOLDER CASE"""
import os
import pathlib
import subprocess
import sys

SKIPPED = 77
folder = pathlib.Path(os.environ.get("GRADWIND_GOLDEN", sys.argv[2])) / sys.argv[3]
if not (folder / "case.json").exists():
    print(f"skipped: no reference vectors at {folder}; set GRADWIND_GOLDEN")
    sys.exit(SKIPPED)
sys.exit(subprocess.run([sys.argv[1], "verify", "--golden", str(folder)]).returncode)
