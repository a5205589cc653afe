#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Every command prints help with exit code 0 and mentions its arguments. usage: help_test.py GRADWIND_EXECUTABLE"""
import subprocess
import sys

MENTIONS = {
    "": ["train", "forecast", "plan", "tune", "verify", "dataset", "graph", "config", "--version"],
    "train": ["config", "overrides", "--nproc", "--run", "--resume", "--record", "torchrun"],
    "forecast": ["run", "--date", "--steps", "--leads", "--output", "--plots", "--json"],
    "plan": ["config", "--world", "--json"],
    "tune": ["config", "overrides", "--nproc", "--steps", "--allow", "--rank", "--output", "--json"],
    "verify": ["config", "overrides", "--nproc", "--steps", "--precision", "--layouts", "--golden", "--json"],
    "dataset": ["create", "inspect"],
    "dataset create": ["recipe", "output", "--overwrite"],
    "dataset inspect": ["store", "options", "--json", "--checksum"],
    "graph": ["create", "inspect"],
    "graph create": ["config", "output", "--json"],
    "graph inspect": ["graph", "--json"],
    "config": ["check", "show", "keys"],
    "config check": ["config", "overrides"],
    "config show": ["config", "overrides", "--json", "--origin"],
    "config keys": ["--help"],
}


def main() -> int:
    failed = 0
    for command, words in MENTIONS.items():
        result = subprocess.run([sys.argv[1], *command.split(), "--help"], text=True, capture_output=True, timeout=60)
        lacking = [word for word in words if word not in result.stdout]
        if result.returncode != 0 or lacking or result.stderr:
            failed += 1
            print(f"FAILED gradwind {command} --help: exit code {result.returncode}, lacks {lacking} {result.stderr}")
    version = subprocess.run([sys.argv[1], "--version"], text=True, capture_output=True, timeout=60)
    if version.returncode != 0 or not version.stdout.startswith("gradwind "):
        failed += 1
        print(f"FAILED gradwind --version: exit code {version.returncode}, {version.stdout!r}")
    return 1 if failed else 0


sys.exit(main())
