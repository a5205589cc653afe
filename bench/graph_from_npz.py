#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Turns a graph of numpy arrays into a graph file, so that another trainer and train_step_bench run on the same edges.

    bench/graph_from_npz.py n320-l6.npz n320-l6.safetensors

The archive holds `x.<nodes>` [N, 2] (latitude and longitude in radians) and `e.<source>.to.<destination>` [2, E]. Edge
lengths are chords of the unit sphere, directions their first two components; neither is normalised.
"""

import json
import struct
import sys

import numpy


def unit_vectors(latlon):
    lat, lon = latlon[:, 0], latlon[:, 1]
    return numpy.stack([numpy.cos(lat) * numpy.cos(lon), numpy.cos(lat) * numpy.sin(lon), numpy.sin(lat)], axis=1)


def tensors_of(archive):
    nodes = {name[2:]: archive[name] for name in archive.files if name.startswith("x.")}
    tensors = {f"nodes.{name}.latlon": latlon.astype(numpy.float32) for name, latlon in nodes.items()}
    for name in archive.files:
        if not name.startswith("e."):
            continue
        source, _, destination = name[2:].split(".")
        edges = archive[name].astype(numpy.int64)
        vector = unit_vectors(nodes[source])[edges[0]] - unit_vectors(nodes[destination])[edges[1]]
        prefix = f"edges.{source}.{destination}"
        tensors[f"{prefix}.edge_index"] = edges
        tensors[f"{prefix}.edge_length"] = numpy.linalg.norm(vector, axis=1, keepdims=True).astype(numpy.float32)
        tensors[f"{prefix}.edge_dirs"] = vector[:, :2].astype(numpy.float32)
    return tensors


def write_safetensors(path, tensors):
    kinds = {"float32": "F32", "int64": "I64"}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": kinds[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(numpy.ascontiguousarray(tensor).tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_safetensors(sys.argv[2], tensors_of(numpy.load(sys.argv[1])))
