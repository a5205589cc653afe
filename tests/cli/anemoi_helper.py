#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""What anemoi_bridge_test.py and anemoi_checkpoints_test.py let Anemoi's own packages do.
usage: anemoi_helper.py train SECTIONS.yaml OUTPUT.ckpt [key=value ...] [go-on]
       anemoi_helper.py predict INFERENCE_CHECKPOINT STORE DATE OUTPUT.json [MEMBERS]
       anemoi_helper.py case INFERENCE_CHECKPOINT RUN_FOLDER OUTPUT
       anemoi_helper.py matrices STORE FOLDER
       anemoi_helper.py gaps STORE VARIABLE ...
       anemoi_helper.py train-module CHECKPOINT
       anemoi_helper.py make-old CHECKPOINT OUTPUT"""
import importlib.util
import json
import pathlib
import shutil
import sys

import torch

# For its import of packages that need plotting libraries.
BRIDGE = pathlib.Path(__file__).parents[2] / "tools" / "anemoi_bridge.py"
sys.path.insert(0, str(BRIDGE.parent))
spec = importlib.util.spec_from_file_location("anemoi_bridge", BRIDGE)
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)


def load(path):
    bridge.require("anemoi.models.interface")
    bridge.require("anemoi.training.train.methods")
    return torch.load(path, weights_only=False, map_location="cpu")


def merged(base, change):
    """Sections over sections, anything else in place of what was there; DELETE takes a key away."""
    result = dict(base)
    for key, value in change.items():
        if isinstance(value, dict):
            result[key] = merged(base[key] if isinstance(base.get(key), dict) else {}, value)
        else:
            result[key] = value
        if value == "DELETE":
            del result[key]
    return result


def train(sections, output, *words):
    """anemoi-training's own trainer. The first section names packaged groups; the others change what they say, and may
    DELETE keys of theirs."""
    trainer = bridge.require("anemoi.training.train.train")
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    first, *others = pathlib.Path(sections).read_text().split("\n---\n")
    folder = pathlib.Path("composed").absolute()
    folder.mkdir(exist_ok=True)
    (folder / "first.yaml").write_text(first)
    with initialize_config_dir(version_base=None, config_dir=str(folder)):
        config = compose(config_name="first")
    content = OmegaConf.to_container(config, resolve=False)
    changes = [OmegaConf.create(text) for text in others] + [OmegaConf.from_dotlist([word for word in words if "=" in word])]
    for change in changes:
        content = merged(content, OmegaConf.to_container(change, resolve=False))
    config = OmegaConf.create(content)
    if "go-on" in words:
        config.training.run_id = next((pathlib.Path(config.system.output.root) / "checkpoint").iterdir()).name
    run = trainer.AnemoiTrainer(config)
    run.train()
    last = pathlib.Path(run.config.system.output.checkpoints.root) / "last.ckpt"
    shutil.copyfile(last, output)
    shutil.copyfile(last.with_name("inference-last.ckpt"), "inference-" + output)


def forecast_noise(date, member, shape):
    """The numbers that `gradwind forecast` draws for a member: Philox with ten rounds, then Box and Muller."""
    import numpy
    def word(part):
        return int(numpy.random.SeedSequence(42, spawn_key=(1000, 2, part)).generate_state(1)[0])
    hour = int(numpy.datetime64(date, "s").astype(numpy.int64)) // 3600
    _, _, nodes, channels = shape
    node, block = (grid.ravel().astype(numpy.uint64) for grid in
                   numpy.meshgrid(numpy.arange(nodes), numpy.arange(-(-channels // 4)), indexing="ij"))
    low32 = numpy.uint64(0xFFFFFFFF)
    counter = [node, numpy.zeros_like(node), numpy.uint64(member << 20) | block, numpy.full_like(node, hour)]
    low, high = word(0), word(1)
    for _ in range(10):
        a, b = numpy.uint64(0xD2511F53) * counter[0], numpy.uint64(0xCD9E8D57) * counter[2]
        counter = [(b >> numpy.uint64(32)) ^ counter[1] ^ numpy.uint64(low), b & low32,
                   (a >> numpy.uint64(32)) ^ counter[3] ^ numpy.uint64(high), a & low32]
        low, high = (low + 0x9E3779B9) & 0xFFFFFFFF, (high + 0xBB67AE85) & 0xFFFFFFFF
    numbers = []
    for pair in range(2):
        radius = numpy.sqrt(-2 * numpy.log((counter[2 * pair].astype(float) + 0.5) * 2.0**-32))
        angle = 2 * numpy.pi * counter[2 * pair + 1].astype(float) * 2.0**-32
        numbers += [radius * numpy.cos(angle), radius * numpy.sin(angle)]
    values = numpy.stack(numbers, 1).reshape(nodes, -1)[:, :channels].astype(numpy.float32)
    return torch.from_numpy(values.copy()).reshape(shape)


def case(checkpoint, run, output):
    """A stored case of several data sets: configuration, graph and weights of an import, fields by anemoi-models."""
    from omegaconf import OmegaConf
    run, output = pathlib.Path(run), pathlib.Path(output)
    model = load(checkpoint)
    network = model.model.double().eval()
    description, own = (json.loads((run / "anemoi" / f"{name}.json").read_text()) for name in ("exchange", "config"))
    output.mkdir()
    shutil.copyfile(run / "graph.safetensors", output / "graph.safetensors")
    shutil.copyfile(run / "checkpoints" / "last" / "weights.safetensors", output / "weights.safetensors")
    torch.manual_seed(3)
    inputs, roles = {}, {}
    for name, variables in description["variables"].items():
        section = own["data"]["datasets"][name]
        role = {key: part for part in ("forcing", "diagnostic", "target") for key in section.get(part) or []}
        roles[name] = [{"name": key, "role": role.get(key, "prognostic"), "dataset_index": i} for i, key in enumerate(variables)]
        indices, cells = model.data_indices[name].model, model.graph_data[name].num_nodes
        inputs[f"x.{name}"] = torch.randn(2, model.n_step_input, 1, cells, len(indices.input.full))
        inputs[f"weight.{name}"] = torch.randn(2, model.n_step_output, 1, cells, len(indices.output.full))
    with torch.no_grad():
        fields = network({name: inputs[f"x.{name}"].double() for name in roles})
    total = sum((fields[name] * inputs[f"weight.{name}"].double()).sum() for name in fields)
    bridge.write_tensors(output / "io.safetensors", inputs)
    bridge.write_tensors(output / "io64.safetensors",
                         {f"output.{name}": value for name, value in fields.items()} | {"total": total.reshape(1)})
    config = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=True)
    (output / "case.json").write_text(json.dumps({
        "kind": "datasets", "case": "imported", "config": {"model": config["model"]}, "datasets": roles,
        "dims": {"batch_size": 2, "n_step_input": model.n_step_input, "n_step_output": model.n_step_output}}))


def matrices(store, folder):
    """Any matrices from the cells of a store to 20 points and back, whose rows add up to one, and points for a grid o2."""
    import numpy
    from anemoi.datasets import open_dataset
    from scipy import sparse
    cells, points, generator = len(open_dataset(store).latitudes), 20, numpy.random.default_rng(4)
    pathlib.Path(folder).mkdir()
    numpy.savez("grid-o2.npz", latitudes=numpy.degrees(numpy.arcsin(generator.uniform(-1, 1, points))),
                longitudes=generator.uniform(0, 360, points))
    for name, rows, columns in (("down", points, cells), ("up", cells, points)):
        dense = generator.random((rows, columns)) * (generator.random((rows, columns)) < 0.2)
        dense[:, 0] += 0.1
        sparse.save_npz(f"{folder}/{name}.npz", sparse.csr_matrix((dense / dense.sum(1, keepdims=True)).astype(numpy.float32)))


def gaps(store, *variables):
    """Takes the values of some cells away, the same at all dates."""
    import zarr
    root = zarr.open(store, mode="r+")
    for i, name in enumerate(variables):
        position = list(root.attrs["variables"]).index(name)
        for cell in (3 + i, 57, 120 + i):
            root["data"][:, position, :, cell] = float("nan")


def predict(checkpoint, date, output, members, *stores):
    """One step from the date with anemoi-models, of an ensemble the mean; [cell, variable] in physical units of each store.

    A store is NAME=PATH."""
    import numpy
    from anemoi.datasets import open_dataset
    model = load(checkpoint).eval()
    batch = {}
    for name, store in (given.split("=") for given in stores):
        data = open_dataset(store)
        anchor = list(data.dates).index(numpy.datetime64(date))
        steps = [data[anchor - model.n_step_input + 1 + i] for i in range(model.n_step_input)]  # variable, member, cell
        inputs = model.data_indices[name].data.input.full
        batch[name] = torch.from_numpy(numpy.stack(steps)[:, :, 0]).permute(0, 2, 1).unsqueeze(0).float()[..., inputs]
    fields, own = dict.fromkeys(batch, 0), torch.randn
    with torch.no_grad():
        for member in range(int(members)):
            is_ensemble = hasattr(model.model, "noise_injector")
            torch.randn = lambda size, **_: forecast_noise(date, member, size)  # called within this turn only
            step = model.predict_step(dict(batch), **({"fcstep": 0} if is_ensemble else {}))
            fields = {name: sum_so_far + step[name].double() / int(members) for name, sum_so_far in fields.items()}
    torch.randn = own
    flat = {name: field.reshape(-1, field.shape[-1]).flatten().tolist() for name, field in fields.items()}
    json.dump(flat, open(output, "w"))


def train_module(checkpoint):
    """anemoi-training's own way to open a checkpoint, every name checked."""
    methods = bridge.require("anemoi.training.train.methods")
    module = methods.SingleTraining.load_from_checkpoint(checkpoint, weights_only=False, map_location="cpu", strict=True)
    stored = torch.load(checkpoint, weights_only=False, map_location="cpu")["state_dict"]
    own = module.state_dict()
    assert set(own) == set(stored), set(own) ^ set(stored)
    assert all(torch.equal(own[name], stored[name]) for name in own)


def make_old(checkpoint, output):
    """The same weights as a release before named encoders and sorted trainable rows wrote them."""
    content = load(checkpoint)
    graph, state = content["hyper_parameters"]["graph_data"], {}
    for name, tensor in content["state_dict"].items():
        if name.endswith("trainable_layout_version"):
            continue
        for section in ("encoder", "decoder"):
            name = name.replace(f"model.model.{section}.0.", f"model.model.{section}.data.")
        state[name] = tensor
    for provider, key in (("encoder_graph_provider.data", ("data", "to", "hidden")),
                          ("processor_graph_provider", ("hidden", "to", "hidden")),
                          ("decoder_graph_provider.data", ("hidden", "to", "data"))):
        name = f"model.model.{provider}.trainable.trainable"
        if name not in state:
            continue
        rows = torch.empty_like(state[name])
        rows[torch.argsort(graph[key].edge_index[1], stable=True)] = state[name]
        state[name] = rows
    content["state_dict"] = state
    torch.save(content, output)


if __name__ == "__main__":
    {"train": train, "predict": predict, "case": case, "matrices": matrices, "gaps": gaps, "train-module": train_module,
     "make-old": make_old}[sys.argv[1]](*sys.argv[2:])
