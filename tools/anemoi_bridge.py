#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Between checkpoints of anemoi-training and gradwind's files: what `gradwind import` and `gradwind export` run.

Needs an installation of anemoi-models, anemoi-graphs and anemoi-training, because their checkpoints are pickles of their
own objects. Everything else about them is written to an exchange folder, which holds no pickle:

  weights.safetensors     the network, names below `model.model.` of a Lightning checkpoint, as anemoi-models 0.19 spells them
  optimizer.safetensors   moments of AdamW under the same names, after `exp_avg.` and `exp_avg_sq.`; from trainings only
  processors.safetensors  normalisers and other processors, names below `model.`; what imputers fill in, as `replacement`
  graph.safetensors       nodes.<set>.latlon (radians), edges.<source>.<target>.edge_index, their attributes; order kept
  statistics.safetensors  arrays of statistics, of tendencies and supporting arrays
  matrices/*.npz          matrices that the configuration names or that Anemoi makes of a `grid`
  config.json             configuration as Anemoi has it, in its order: processors work in the order in which they stand
  config.yaml             the same as gradwind runs it, with matrices by their names here
  exchange.json           variables in dataset order, step, epoch, what a training goes on with, where the arrays belong
  metadata.json           what Anemoi tells inference about a checkpoint

usage: anemoi_bridge.py import CHECKPOINT FOLDER [--graph GRAPH.pt] [--matrices FOLDER]
       anemoi_bridge.py graph GRAPH.pt GRAPH.safetensors
       anemoi_bridge.py export FOLDER CHECKPOINT
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import sys
import uuid

from anemoi_bridge_files import (BridgeError, flatten, graph_tensors, make_graph, mask_names, note, only_graph, plain,
                                 read_tensors, require, unflatten, with_full_targets, write_tensors)
from anemoi_bridge_state import Matrices, NotResumable, lightning_state, replacements, training_of, with_matrices

FORMAT = "gradwind-exchange-1"
LAYOUT_VERSION = "trainable_layout_version"

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
                   "metadata": metadata or plain(hyper.get("metadata", {})), "model": None,
                   "progress": {key: loaded.get(key) for key in ("optimizer_states", "lr_schedulers", "loops", "epoch")}}
        return source
    if hasattr(loaded, "state_dict") and hasattr(loaded, "data_indices"):
        if "config" not in metadata:
            raise BridgeError(f"{path} holds no metadata with a configuration")
        training = metadata.get("training", {}) or {}
        return {"kind": "inference", "state": {"model." + key: value for key, value in loaded.state_dict().items()},
                "config": metadata["config"], "graph_data": loaded.graph_data, "statistics": loaded.statistics,
                "statistics_tendencies": loaded.statistics_tendencies, "data_indices": loaded.data_indices,
                "supporting_arrays": arrays, "step": int(training.get("global_step", 0)),
                "epoch": int(training.get("current_epoch", 0)), "task_state": {}, "metadata": metadata,
                "model": loaded.model, "progress": None}
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


def row_orders(network, graph, config, datasets):
    """Before layout version 1 trainable edge rows were in the order of the graph; now they are sorted by destination.
    @return the order in which the rows of each such tensor are to be taken"""
    import torch
    result = {}
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
            result[f"{prefix}.trainable.trainable"] = torch.argsort(edges[1], stable=True)
            note(f"note: {prefix}.trainable is of an older release: its rows were put in order of their destinations")
        network[f"{prefix}.{LAYOUT_VERSION}"] = torch.tensor(1, dtype=torch.int64)
    return result


def in_order(tensors, orders):
    return {name: tensor.index_select(0, orders[name]) if name in orders else tensor for name, tensor in tensors.items()}


def complete(config):
    """anemoi-training's validation leaves out what only other keys refer to; gradwind wants the width of the network."""
    model = config.get("model", {})
    width = (model.get("processor") or {}).get("num_channels")
    if width is not None:
        model.setdefault("num_channels", width)
    return config


def by_dataset(value):
    return value if isinstance(value, dict) else {"data": value}


def import_graph(path, output):
    tensors, _ = graph_tensors(only_graph(load_pickle(path), path))
    write_tensors(output, tensors)
    note(f"wrote {output}: {len(tensors)} tensors")


def import_checkpoint(path, folder, graph_file, matrix_folder):
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
            network[network_name(name, config, datasets)] = tensor
        elif name.startswith(("model.pre_processors", "model.post_processors")):
            processors[name[len("model."):]] = tensor
        else:
            others.append(name)
    if others:
        note(f"note: {len(others)} tensors belong neither to the network nor to its processors and stay behind: "
             + ", ".join(others))
    orders = row_orders(network, nodes_and_edges, config, datasets)
    processors |= replacements(config, source, indices)
    matrices = Matrices(folder / "matrices", matrix_folder)
    runnable = with_matrices(config, datasets, source, matrices)
    training, moments, reason = None, {}, ""
    try:
        by_kind, training = training_of(source, config)
        for kind, tensors in by_kind.items():
            named = in_order({network_name(name, config, datasets): tensor for name, tensor in tensors.items()}, orders)
            moments |= {f"{kind}.{name}": tensor for name, tensor in named.items()}
    except NotResumable as error:
        reason = str(error)
    arrays = {}
    tree = {key: flatten(source.get(key), key, arrays) for key in ("statistics", "statistics_tendencies", "supporting_arrays")}
    write_tensors(folder / "weights.safetensors", in_order(network, orders))
    write_tensors(folder / "optimizer.safetensors", moments)
    write_tensors(folder / "processors.safetensors", processors)
    write_tensors(folder / "graph.safetensors", nodes_and_edges)
    write_tensors(folder / "statistics.safetensors", arrays)
    from omegaconf import OmegaConf
    (folder / "config.json").write_text(json.dumps(config, indent=1, allow_nan=False) + "\n")
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(runnable)))
    description = {"format": FORMAT, "kind": source["kind"], "step": source["step"],
                   "epoch": source["epoch"], "task_state": source["task_state"], "graph": kinds, "arrays": tree,
                   "matrices": matrices.sources, "training": training, "not_resumable": reason,
                   "variables": {name: [key for key, _ in sorted(index.name_to_index.items(), key=lambda item: item[1])]
                                 for name, index in indices.items()},
                   "versions": versions(), "source": str(path)}
    (folder / "exchange.json").write_text(json.dumps(description, indent=1, allow_nan=False) + "\n")
    (folder / "metadata.json").write_text(json.dumps(plain(source["metadata"]), indent=1, default=str) + "\n")
    note(f"read {path}: {len(network)} tensors of the network, {len(processors)} of processors, "
         f"{len(nodes_and_edges)} of the graph, step {source['step']}, "
         + (f"moments of {training['optimizer_steps']} steps" if training else f"no optimiser to go on with: {reason}"))


def network_name(name, config, datasets):
    return newest_name(name[len("model.model."):], config, datasets)


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
    for name in [name for name in processors if name.endswith(".replacement")]:  # no tensor of Anemoi's state
        values = processors.pop(name)
        interface.get_submodule(name.rsplit(".", 1)[0]).replacement = values.tolist()
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


def with_files(value, folder, description, path):
    """Matrices that a configuration names and that are no longer there come along beside the checkpoint."""
    if isinstance(value, dict):
        return {key: with_files(item, folder, description, path) for key, item in value.items()}
    if isinstance(value, list):
        return [with_files(item, folder, description, path) for item in value]
    kept = next((name for name, file in (description.get("matrices") or {}).items() if file == value), None)
    if kept is None or pathlib.Path(value).is_file():
        return value
    own = path.with_name(path.stem + "-matrices").absolute() / pathlib.Path(value).name
    own.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / kept, own)
    note(f"note: {value} is not there; the checkpoint names {own}")
    return str(own)


def with_number_keys(value):
    """Numbers that a constant imputer fills in are keys, which JSON holds as text."""
    if isinstance(value, list):
        return [with_number_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    if str(value.get("_target_", "")).endswith("ConstantImputer"):
        return value | {"config": {number_of(key): item for key, item in (value.get("config") or {}).items()}}
    return {key: with_number_keys(item) for key, item in value.items()}


def number_of(text):
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text


def build_interface(folder, description, path):
    from omegaconf import OmegaConf
    content = with_number_keys(json.loads((folder / "config.json").read_text()))
    config = OmegaConf.create(with_files(with_full_targets(content), folder, description, path))
    arrays = read_tensors(folder / "statistics.safetensors")
    tree = {key: unflatten(value, arrays) for key, value in description["arrays"].items()}
    graph = make_graph(read_tensors(folder / "graph.safetensors"), description["graph"], mask_names(content))
    collection = require("anemoi.models.data_indices.collection").IndexCollection
    indices = {name: collection(config.data.datasets[name], {key: i for i, key in enumerate(order)})
               for name, order in description["variables"].items()}
    task = require("hydra.utils").instantiate(config.task)
    if not description.get("training") and description.get("task_state"):
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
    path.parent.mkdir(parents=True, exist_ok=True)
    interface, parts, task = build_interface(folder, description, path)
    metadata, arrays = plain(parts["metadata"]), parts["supporting_arrays"]
    content = {"epoch": description["epoch"], "global_step": description["step"],
               "pytorch-lightning_version": versions()["pytorch-lightning"],
               "state_dict": {"model." + name: tensor for name, tensor in interface.state_dict().items()},
               "callbacks": {}, "hparams_name": "kwargs"}
    content |= lightning_state(interface, parts["config"], folder, description, task)
    content |= {"hyper_parameters": parts | {"task": task}, "task_state": task.training_runtime_state_dict()}
    save_checkpoint(content, path, metadata, arrays)
    interface.config = interface.metadata = interface.supporting_arrays = None
    inference = path.with_name("inference-" + path.name)
    save_checkpoint(interface, inference, metadata, arrays)
    going_on = "with training.load_weights_only its weights alone" if content["optimizer_states"] else "training.load_weights_only"
    note(f"wrote {path} (to train on: system.input.warm_start, {going_on}) and {inference}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("import")
    command.add_argument("checkpoint", type=pathlib.Path)
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--graph", type=pathlib.Path)
    command.add_argument("--matrices", type=pathlib.Path)
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
            import_checkpoint(arguments.checkpoint, arguments.folder, arguments.graph, arguments.matrices)
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
