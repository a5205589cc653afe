#!/usr/bin/env bash
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Configures and builds one preset: tools/build.sh PRESET [-D... options] [targets ...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
options=()
while [ $# -gt 0 ] && [[ $1 == -D* ]]; do options+=("$1"); shift; done
mkdir -p build
log=build/$preset.configure.log
cmake --preset "$preset" "${options[@]}" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
cmake --build --preset "$preset" ${1:+--target "$@"}
