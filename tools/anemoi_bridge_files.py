# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""What tools/anemoi_bridge.py stands on: Anemoi's packages, safetensors, trees of arrays and graphs as plain files."""
import datetime
import enum
import importlib
import json
import pathlib
import sys
import types


class BridgeError(Exception):
    """Something a user can put right; the message says what."""


def note(text):
    print(text, flush=True)


# Packages of Anemoi -------------------------------------------------------------------------------------------------

class Placeholder(types.ModuleType):
    """Stands for a plotting package that is not installed: no plot is made here."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def require(module):
    """Imports a module; plotting packages that anemoi-training imports on the way may be absent."""
    for _ in range(20):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if not missing or missing.split(".")[0] in ("anemoi", "torch", "numpy", "omegaconf", "hydra"):
                raise BridgeError(f"{sys.executable} has no {missing or module}: name a Python that has anemoi-models, "
                                  "anemoi-graphs and anemoi-training with --python or GRADWIND_PYTHON") from error
            placeholder = Placeholder(missing)
            placeholder.__path__ = []
            sys.modules[missing] = placeholder
            for loaded in [name for name in sys.modules if name.startswith("anemoi.training")]:
                del sys.modules[loaded]
    raise BridgeError(f"{module} cannot be imported")


# Safetensors --------------------------------------------------------------------------------------------------------

def dtypes():
    import torch
    return {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
            torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
            torch.bool: "BOOL"}


def write_tensors(path, tensors):
    import torch
    names, header, offset, chunks = dtypes(), {}, 0, []
    for name, tensor in sorted(tensors.items()):
        tensor = tensor.detach().cpu().contiguous()
        chunk = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(chunk)]}
        offset += len(chunk)
        chunks.append(chunk)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for chunk in chunks:
            file.write(chunk)


def read_tensors(path):
    import torch
    types_by_name = {name: dtype for dtype, name in dtypes().items()}
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    result = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = bytearray(data[8 + size + begin:8 + size + end])
        dtype = types_by_name[entry["dtype"]]
        flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
        result[name] = flat.reshape(entry["shape"])
    return result


# Trees of arrays ----------------------------------------------------------------------------------------------------

def flatten(value, name, tensors):
    """Arrays of a tree go to `tensors`; the tree keeps their names."""
    import numpy
    import torch
    if isinstance(value, dict):
        return {str(key): flatten(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [flatten(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, (numpy.ndarray, torch.Tensor)):
        tensors[name] = torch.from_numpy(numpy.array(value)) if isinstance(value, numpy.ndarray) else value
        return {"$array": name}
    return plain(value)


def unflatten(tree, tensors):
    if isinstance(tree, dict):
        if set(tree) == {"$array"}:
            return tensors[tree["$array"]].numpy()
        return {key: unflatten(item, tensors) for key, item in tree.items()}
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    return tree


def plain(value):
    """A configuration or metadata as JSON has it."""
    from omegaconf import DictConfig, ListConfig, OmegaConf
    if isinstance(value, (DictConfig, ListConfig)):
        return plain(OmegaConf.to_container(value, resolve=True))
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(by_alias=True))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        hours = value.total_seconds() / 3600
        return f"{hours:g}h"
    if isinstance(value, float) and value != value:
        return None
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


# Graphs -------------------------------------------------------------------------------------------------------------

def graph_tensors(graph):
    """HeteroData as tensors by name, and the names of its node and edge types."""
    import torch
    tensors, kinds = {}, {"nodes": {}, "edges": []}
    for name in graph.node_types:
        store = graph[name]
        tensors[f"nodes.{name}.latlon"] = store["x"].to(torch.float32)
        kinds["nodes"][name] = store.get("node_type", "")
        for key, value in store.items():
            if key != "x" and isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == store["x"].shape[0]:
                tensors[f"nodes.{name}.{key}"] = value
    for source, relation, target in graph.edge_types:
        store = graph[(source, relation, target)]
        kinds["edges"].append({"type": [source, relation, target], "made_by": plain(store.get("edge_type", ""))})
        for key, value in store.items():
            if isinstance(value, torch.Tensor):
                tensors[f"edges.{source}.{target}.{key}"] = value
    return tensors, kinds


def mask_names(config):
    """Tensor names of the node attributes that a configuration makes as masks; safetensors of gradwind hold them as 0 and 1."""
    result = set()
    for nodes, section in ((config.get("graph") or {}).get("nodes") or {}).items():
        for name, attribute in (section.get("attributes") or {}).items():
            kind = str(attribute.get("_target_", "")).split(".")[-1]
            if kind.endswith("Mask") or kind.startswith(("Boolean", "Nonmissing", "Nonzero")):
                result.add(f"nodes.{nodes}.{name}")
    return result


def make_graph(tensors, kinds, masks):
    import torch
    data = require("torch_geometric.data").HeteroData()
    for name, tensor in tensors.items():
        parts = name.split(".", 2)
        if parts[0] != "nodes":
            continue
        key = "x" if parts[2] == "latlon" else parts[2]
        data[parts[1]][key] = tensor.to(torch.bool) if name in masks else tensor
    for name, made_by in kinds.get("nodes", {}).items():
        if made_by:
            data[name]["node_type"] = made_by
    relations = {(e["type"][0], e["type"][2]): e for e in kinds.get("edges", [])}
    for name, tensor in tensors.items():
        parts = name.split(".", 3)
        if parts[0] != "edges":
            continue
        entry = relations.get((parts[1], parts[2]), {"type": [parts[1], "to", parts[2]], "made_by": ""})
        data[tuple(entry["type"])][parts[3]] = tensor
        if entry["made_by"]:
            data[tuple(entry["type"])]["edge_type"] = entry["made_by"]
    return data


def only_graph(loaded, path):
    graph = next(iter(loaded.values())) if isinstance(loaded, dict) and len(loaded) == 1 else loaded
    if not hasattr(graph, "node_types"):
        raise BridgeError(f"{path} holds no graph: give one with --graph")
    return graph


# Classes by name ----------------------------------------------------------------------------------------------------

# Where a `_target_` that is only a class name may live.
HOMES = ["anemoi.models.models", "anemoi.models.layers.processor", "anemoi.models.layers.mapper",
         "anemoi.models.layers.normalization", "anemoi.models.layers.activations", "anemoi.models.layers.residual",
         "anemoi.models.layers.bounding", "anemoi.models.layers.aggregator", "anemoi.models.layers.ensemble",
         "anemoi.models.preprocessing.normalizer", "anemoi.models.preprocessing.imputer",
         "anemoi.models.preprocessing.remapper", "anemoi.models.preprocessing.postprocessor", "torch.nn",
         "anemoi.training.tasks", "anemoi.training.train.methods", "anemoi.training.losses",
         "anemoi.training.losses.scalers", "anemoi.training.utils.masks", "anemoi.graphs.nodes",
         "anemoi.graphs.nodes.attributes", "anemoi.graphs.edges", "anemoi.graphs.edges.attributes",
         "anemoi.graphs.processors"]


def full_target(name):
    if "." in name:
        return name
    for home in HOMES:
        try:
            module = importlib.import_module(home)
        except ImportError:
            continue
        if hasattr(module, name):
            return f"{home}.{name}"
    return name


def with_full_targets(value):
    if isinstance(value, dict):
        return {key: full_target(item) if key == "_target_" and isinstance(item, str) else with_full_targets(item)
                for key, item in value.items()}
    return [with_full_targets(item) for item in value] if isinstance(value, list) else value
