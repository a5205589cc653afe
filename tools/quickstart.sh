#!/usr/bin/env bash
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# From a fresh Debian machine to a trained and scored model on real analyses: the blizzard of January 1996.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh
tools/build.sh release gradwind_main
gradwind=build/release/bin/gradwind
store=data/storm.zarr
run=runs/storm-$(date +%Y%m%d-%H%M%S)
mkdir -p data runs
"$gradwind" dataset create examples/storm/dataset.yaml "$store" --overwrite
"$gradwind" train examples/storm/train.yaml system.input.dataset="$store" --nproc 2 --run "$run"
"$gradwind" forecast "$run" --steps 4 --leads 1,2,4 --plots
