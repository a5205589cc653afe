#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Between checkpoints of anemoi-training and gradwind's files: what `gradwind import` and `gradwind export` run.

Needs an installation of anemoi-models, anemoi-graphs and anemoi-training, because their checkpoints are pickles of their
own objects. Everything else about them is written to an exchange folder, which holds no pickle:

  weights.safetensors     the network, names below `model.model.` of a Lightning checkpoint, as anemoi-models 0.19 spells them
  processors.safetensors  normalisers and other processors, names below `model.`
  graph.safetensors       nodes.<set>.latlon (radians), edges.<source>.<target>.edge_index, their attributes; order kept
  statistics.safetensors  arrays of statistics, of tendencies and supporting arrays
  exchange.json           configuration, variables in dataset order, step, epoch, and where the arrays belong
  metadata.json           what Anemoi tells inference about a checkpoint

usage: anemoi_bridge.py import CHECKPOINT FOLDER [--graph GRAPH.pt]
       anemoi_bridge.py graph GRAPH.pt GRAPH.safetensors
       anemoi_bridge.py export FOLDER CHECKPOINT
"""
import argparse
import datetime
import enum
import importlib
import json
import os
import pathlib
import sys
import types
import uuid

FORMAT = "gradwind-exchange-1"
LAYOUT_VERSION = "trainable_layout_version"


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


# Import -------------------------------------------------------------------------------------------------------------

def load_pickle(path):
    import torch
    require("anemoi.models.interface")
    try:
        require("anemoi.training.train.methods.base")
    except BridgeError as error:
        note(f"note: {error}")
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except FileNotFoundError:
        raise BridgeError(f"there is no file {path}") from None
    except Exception as error:
        raise BridgeError(f"{path} cannot be read by this installation of Anemoi: {type(error).__name__}: {error}") from error


def read_metadata(path):
    try:
        return require("anemoi.utils.checkpoints").load_metadata(str(path), supporting_arrays=True)
    except Exception:  # an old checkpoint, or no zip file
        return {}, {}


def open_checkpoint(path):
    """A training or an inference checkpoint as one dictionary."""
    loaded = load_pickle(path)
    metadata, arrays = read_metadata(path)
    if isinstance(loaded, dict) and "state_dict" in loaded:
        hyper = loaded.get("hyper_parameters", {})
        for key in ("config", "data_indices", "statistics"):
            if key not in hyper:
                raise BridgeError(f"{path} has no hyper_parameters.{key}: it is no checkpoint of anemoi-training")
        source = {key: hyper.get(key) for key in ("config", "graph_data", "statistics", "statistics_tendencies",
                                                  "data_indices", "supporting_arrays")}
        source |= {"kind": "training", "state": dict(loaded["state_dict"]), "step": int(loaded.get("global_step", 0)),
                   "epoch": int(loaded.get("epoch", 0)), "task_state": plain(loaded.get("task_state", {})),
                   "metadata": metadata or plain(hyper.get("metadata", {}))}
        return source
    if hasattr(loaded, "state_dict") and hasattr(loaded, "data_indices"):
        if "config" not in metadata:
            raise BridgeError(f"{path} holds no metadata with a configuration")
        training = metadata.get("training", {}) or {}
        return {"kind": "inference", "state": {"model." + key: value for key, value in loaded.state_dict().items()},
                "config": metadata["config"], "graph_data": loaded.graph_data, "statistics": loaded.statistics,
                "statistics_tendencies": loaded.statistics_tendencies, "data_indices": loaded.data_indices,
                "supporting_arrays": arrays, "step": int(training.get("global_step", 0)),
                "epoch": int(training.get("current_epoch", 0)), "task_state": {}, "metadata": metadata}
    raise BridgeError(f"{path} is neither a training nor an inference checkpoint of Anemoi")


def mapper_keys(config, section, own, dataset):
    """Key in parameter names of the encoder or decoder of a data set."""
    for key, mapper in (config.get("model", {}).get(section) or {}).items():
        if dataset in (mapper.get(own) or [dataset]):
            return str(key)
    return "0"


def newest_name(name, config, datasets):
    """The name that anemoi-models 0.19 gives to a parameter of an older release."""
    parts = name.split(".")
    for section, own in (("encoder", "source_datasets"), ("decoder", "target_datasets")):
        keys = {str(key) for key in (config.get("model", {}).get(section + "s") or {"0": None})}
        if parts[0] == section and len(parts) > 1 and parts[1] in datasets and parts[1] not in keys:
            parts[1] = mapper_keys(config, section + "s", own, parts[1])
    processor = config.get("model", {}).get("processor", {})
    if parts[:2] == ["processor", "proc"] and len(parts) > 4 and parts[3] == "blocks":
        per_chunk = int(processor["num_layers"]) // int(processor.get("num_chunks", 1))
        parts[2:5] = [str(int(parts[2]) * per_chunk + int(parts[4]))]
    return ".".join(parts)


def edge_keys(config, datasets):
    """Parameter prefix of every edge provider and the node sets it joins."""
    hidden = config["model"]["model"].get("hidden_nodes_name", "hidden")
    result = {"processor_graph_provider": (hidden, hidden)}
    for dataset in datasets:
        result[f"encoder_graph_provider.{dataset}"] = (dataset, hidden)
        result[f"decoder_graph_provider.{dataset}"] = (hidden, dataset)
    return result


def sort_trainable_rows(network, graph, config, datasets):
    """Before layout version 1 trainable edge rows were in the order of the graph; now they are sorted by destination."""
    import torch
    for prefix, (source, target) in edge_keys(config, datasets).items():
        version = int(network.get(f"{prefix}.{LAYOUT_VERSION}", torch.tensor(0)))
        edges = graph.get(f"edges.{source}.{target}.edge_index")
        if version >= 1 or edges is None:
            continue
        rows = network.get(f"{prefix}.trainable.trainable")
        if rows is not None:
            if rows.shape[0] != edges.shape[1]:
                raise BridgeError(f"{prefix}.trainable has {rows.shape[0]} rows, the graph {edges.shape[1]} edges from "
                                  f"{source} to {target}: give the graph of the training with --graph")
            network[f"{prefix}.trainable.trainable"] = rows.index_select(0, torch.argsort(edges[1], stable=True))
            note(f"note: {prefix}.trainable is of an older release: its rows were put in order of their destinations")
        network[f"{prefix}.{LAYOUT_VERSION}"] = torch.tensor(1, dtype=torch.int64)


def complete(config):
    """anemoi-training's validation leaves out what only other keys refer to; gradwind wants the width of the network."""
    model = config.get("model", {})
    width = (model.get("processor") or {}).get("num_channels")
    if width is not None:
        model.setdefault("num_channels", width)
    return config


def by_dataset(value):
    return value if isinstance(value, dict) else {"data": value}


def only_graph(loaded, path):
    graph = next(iter(loaded.values())) if isinstance(loaded, dict) and len(loaded) == 1 else loaded
    if not hasattr(graph, "node_types"):
        raise BridgeError(f"{path} holds no graph: give one with --graph")
    return graph


def import_graph(path, output):
    tensors, _ = graph_tensors(only_graph(load_pickle(path), path))
    write_tensors(output, tensors)
    note(f"wrote {output}: {len(tensors)} tensors")


def import_checkpoint(path, folder, graph_file):
    folder.mkdir(parents=True, exist_ok=True)
    source = open_checkpoint(path)
    config = complete(plain(source["config"]))
    indices = by_dataset(source["data_indices"])
    datasets = list(indices)
    graph = source["graph_data"] if graph_file is None else load_pickle(graph_file)
    nodes_and_edges, kinds = graph_tensors(only_graph(graph, graph_file or path))
    network, processors, others = {}, {}, []
    for name, tensor in source["state"].items():
        if name.startswith("model.model."):
            network[newest_name(name[len("model.model."):], config, datasets)] = tensor
        elif name.startswith(("model.pre_processors", "model.post_processors")):
            processors[name[len("model."):]] = tensor
        else:
            others.append(name)
    if others:
        note(f"note: {len(others)} tensors belong neither to the network nor to its processors and stay behind: "
             + ", ".join(others))
    sort_trainable_rows(network, nodes_and_edges, config, datasets)
    arrays = {}
    tree = {key: flatten(source.get(key), key, arrays) for key in ("statistics", "statistics_tendencies", "supporting_arrays")}
    write_tensors(folder / "weights.safetensors", network)
    write_tensors(folder / "processors.safetensors", processors)
    write_tensors(folder / "graph.safetensors", nodes_and_edges)
    write_tensors(folder / "statistics.safetensors", arrays)
    description = {"format": FORMAT, "kind": source["kind"], "config": config, "step": source["step"],
                   "epoch": source["epoch"], "task_state": source["task_state"], "graph": kinds, "arrays": tree,
                   "variables": {name: [key for key, _ in sorted(index.name_to_index.items(), key=lambda item: item[1])]
                                 for name, index in indices.items()},
                   "versions": versions(), "source": str(path)}
    (folder / "exchange.json").write_text(json.dumps(description, indent=1, allow_nan=False) + "\n")
    (folder / "metadata.json").write_text(json.dumps(plain(source["metadata"]), indent=1, default=str) + "\n")
    note(f"read {path}: {len(network)} tensors of the network, {len(processors)} of processors, "
         f"{len(nodes_and_edges)} of the graph, step {source['step']}")


def versions():
    from importlib import metadata
    result = {}
    for name in ("anemoi-models", "anemoi-training", "anemoi-graphs", "torch", "pytorch-lightning"):
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result


# Export -------------------------------------------------------------------------------------------------------------

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


def new_metadata(config, indices, description):
    """What inference needs to know, in the form of anemoi-training's own metadata."""
    inference = {"seed": None, "base_seed": None, "run_id": None, "dataset_names": list(indices), "task": "forecaster"}
    for name, index in indices.items():
        numbers = index.data.input.todict()
        names = {number: key for key, number in numbers["name_to_index"].items()}
        inference[name] = {
            "data_indices": {"input": index.model.input.name_to_index, "output": index.model.output.name_to_index},
            "variable_types": {role: [names[int(i)] for i in numbers[role]]
                               for role in ("forcing", "target", "prognostic", "diagnostic")}}
    dataset = {name: {"variables_metadata": description.get("variables_metadata", {}).get(name, {})} for name in indices}
    return {"version": "2.0", "config": config, "seed": None, "base_seed": None, "run_id": None, "task": None,
            "dataset": dataset, "data_indices": {name: plain(index.name_to_index) for name, index in indices.items()},
            "provenance_training": {}, "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat(),
            "metadata_inference": inference, "uuid": None}


def state_for(interface, folder):
    """The tensors of the folder under the names of the interface; every difference is named."""
    network = {"model." + name: tensor for name, tensor in read_tensors(folder / "weights.safetensors").items()}
    processors = read_tensors(folder / "processors.safetensors")
    own = interface.state_dict()
    given = network | processors
    for name, tensor in own.items():
        twin = name.replace("post_processors", "pre_processors", 1)
        if name not in given and name.startswith("post_processors") and twin in given:
            given[name] = given[twin]
        elif name not in given and name.endswith("_idx"):
            given[name] = tensor  # follows from the order of the variables
    faults = [f"{name} {list(own[name].shape)} is missing" for name in own if name not in given]
    faults += [f"{name} {list(given[name].shape)} is not part of Anemoi's model" for name in given if name not in own]
    for name in own:
        if name in given and own[name].numel() == given[name].numel() == 1:
            given[name] = given[name].reshape(own[name].shape)
        if name in given and own[name].shape != given[name].shape:
            faults.append(f"{name} is {list(given[name].shape)}, Anemoi's model has {list(own[name].shape)}")
    if faults:
        raise BridgeError("Anemoi builds another model from this configuration:\n  " + "\n  ".join(faults))
    return {name: given[name].to(own[name].dtype) for name in own}


def build_interface(folder, description):
    from omegaconf import OmegaConf
    config = OmegaConf.create(with_full_targets(description["config"]))
    arrays = read_tensors(folder / "statistics.safetensors")
    tree = {key: unflatten(value, arrays) for key, value in description["arrays"].items()}
    graph = make_graph(read_tensors(folder / "graph.safetensors"), description["graph"], mask_names(description["config"]))
    collection = require("anemoi.models.data_indices.collection").IndexCollection
    indices = {name: collection(config.data.datasets[name], {key: i for i, key in enumerate(order)})
               for name, order in description["variables"].items()}
    task = require("hydra.utils").instantiate(config.task)
    if description.get("task_state") and hasattr(task, "load_training_runtime_state_dict"):
        task.load_training_runtime_state_dict(description["task_state"])
    metadata_file = folder / "metadata.json"
    metadata = json.loads(metadata_file.read_text()) if metadata_file.exists() else {}
    if not metadata:
        metadata = new_metadata(plain(config), indices, description)
        task.fill_metadata(metadata)
        metadata = plain(metadata)
    metadata["uuid"] = str(uuid.uuid4())
    supporting = tree.get("supporting_arrays") or {name: {} for name in indices}
    parts = {"config": config, "graph_data": graph, "statistics": tree["statistics"],
             "statistics_tendencies": tree.get("statistics_tendencies"), "data_indices": indices, "metadata": metadata,
             "supporting_arrays": supporting}
    interface = require("anemoi.models.interface").AnemoiModelInterface(
        n_step_input=task.num_input_timesteps, n_step_output=task.num_output_timesteps, **parts)
    interface.load_state_dict(state_for(interface, folder))
    return interface, parts, task


def save_checkpoint(content, path, metadata, arrays):
    import torch
    temporary = path.with_name(path.name + ".writing")
    torch.save(content, temporary)
    require("anemoi.utils.checkpoints").save_metadata(str(temporary), metadata, supporting_arrays=arrays)
    os.replace(temporary, path)


def export_checkpoint(folder, path):
    description = json.loads((folder / "exchange.json").read_text())
    if description.get("format") != FORMAT:
        raise BridgeError(f"{folder}/exchange.json is not of the format {FORMAT}")
    require("anemoi.models.interface")
    require("anemoi.training.tasks")
    interface, parts, task = build_interface(folder, description)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata, arrays = plain(parts["metadata"]), parts["supporting_arrays"]
    content = {"epoch": description["epoch"], "global_step": description["step"],
               "pytorch-lightning_version": versions()["pytorch-lightning"],
               "state_dict": {"model." + name: tensor for name, tensor in interface.state_dict().items()},
               "callbacks": {}, "optimizer_states": [], "lr_schedulers": [], "hparams_name": "kwargs",
               "hyper_parameters": parts | {"task": task}, "task_state": task.training_runtime_state_dict()}
    save_checkpoint(content, path, metadata, arrays)
    interface.config = interface.metadata = interface.supporting_arrays = None
    inference = path.with_name("inference-" + path.name)
    save_checkpoint(interface, inference, metadata, arrays)
    note(f"wrote {path} (to train on: system.input.warm_start, training.load_weights_only) and {inference}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("import")
    command.add_argument("checkpoint", type=pathlib.Path)
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--graph", type=pathlib.Path)
    command = commands.add_parser("graph")
    command.add_argument("graph", type=pathlib.Path)
    command.add_argument("output", type=pathlib.Path)
    command = commands.add_parser("export")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("checkpoint", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        require("torch")
        require("omegaconf")
        if arguments.command == "import":
            import_checkpoint(arguments.checkpoint, arguments.folder, arguments.graph)
        elif arguments.command == "graph":
            import_graph(arguments.graph, arguments.output)
        else:
            export_checkpoint(arguments.folder, arguments.checkpoint)
    except BridgeError as error:
        print(f"anemoi_bridge: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
