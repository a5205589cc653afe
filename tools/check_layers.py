#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes point only to lower layers, that torch stays out of torch-free ones, and that only one file
sees CLI11. Prints each offence as file:line and exits 1 if there is one."""
import pathlib
import re
import sys

ORDER = ["core", "ops", "grid", "graph", "parallel", ("data", "model", "loss"), "train", ("verify", "tune"), "cli"]
TORCH_FREE = {"core", "grid", "graph", "data"}
TORCH_SEAM = {"core/torch_version.h", "core/torch_pch.h", "core/torch_pch.cpp"}
CLI11_FILES = {"cli/parse.cpp"}

rank = {}
for position, entry in enumerate(ORDER):
    for layer in entry if isinstance(entry, tuple) else (entry,):
        rank[layer] = position

root = pathlib.Path(__file__).resolve().parent.parent / "src" / "gradwind"
offences = []
for path in sorted(root.rglob("*")):
    if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
        continue
    name = path.relative_to(root).as_posix()
    layer = name.split("/")[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"src/gradwind/{name}:{number}"
        if "TORCH_VERSION_M" in line and name not in TORCH_SEAM:
            offences.append(f"{where}: only core/torch_version.h reads the torch version")
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if not match:
            continue
        header = match.group(1)
        ours = re.match(r"gradwind/(\w+)/", header)
        if ours:
            other = ours.group(1)
            if other not in rank:
                offences.append(f"{where}: unknown layer {other}")
            elif other != layer and rank[other] >= rank[layer]:
                offences.append(f"{where}: {layer} must not include {other}")
        if header.startswith(("ATen/", "c10/", "torch/")) and layer in TORCH_FREE and name not in TORCH_SEAM:
            offences.append(f"{where}: {layer} must not include torch")
        if header.startswith("CLI/") and name not in CLI11_FILES:
            offences.append(f"{where}: only {', '.join(CLI11_FILES)} sees CLI11")
print("\n".join(offences) or f"layers: {sum(1 for _ in root.rglob('*.cpp'))} sources keep the order")
sys.exit(1 if offences else 0)
