#!/usr/bin/env bash
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Sets up this machine and passes every test: layers, formatting, build with warnings as errors, unit, golden and
# multi-process tests, the command line itself, and a project that uses the installed library.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh --tests
tools/check_layers.py
git ls-files '*.cpp' '*.h' | xargs -r clang-format --dry-run --Werror
tools/build.sh dev
ctest --preset dev -j "$(nproc)"
