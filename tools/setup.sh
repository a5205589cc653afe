#!/usr/bin/env bash
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
# Installs what gradwind needs from Debian's packages: only what is missing, so a second run needs no network.
set -euo pipefail

packages=(ca-certificates g++ cmake ninja-build ccache lld git python3
  libtorch-dev libgloo-dev libopenblas0-pthread libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libfmt-dev libspdlog-dev
  libblosc-dev libzstd-dev zlib1g-dev libssl-dev libeccodes-dev libnetcdf-dev libnanoflann-dev libqhull-dev libgtest-dev
  gnuplot-nox libncarg-data)
if [ "${1:-}" = --tests ]; then packages+=(python3-torch python3-numpy python3-zarr python3-xarray clang-format); fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "setup: this machine has no apt-get; install by hand: ${missing[*]}" >&2
  exit 2
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: needs root or sudo to install: ${missing[*]}" >&2; exit 2; }
  as_root=(sudo)
fi
echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
