#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""What anemoi_bridge_test.py lets Anemoi's own packages do.
usage: anemoi_helper.py predict INFERENCE_CHECKPOINT STORE DATE OUTPUT.json
       anemoi_helper.py train-module CHECKPOINT
       anemoi_helper.py make-old CHECKPOINT OUTPUT"""
import importlib.util
import json
import pathlib
import sys

import torch

# For its import of packages that need plotting libraries.
BRIDGE = pathlib.Path(__file__).parents[2] / "tools" / "anemoi_bridge.py"
spec = importlib.util.spec_from_file_location("anemoi_bridge", BRIDGE)
bridge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bridge)


def load(path):
    bridge.require("anemoi.models.interface")
    bridge.require("anemoi.training.train.methods")
    return torch.load(path, weights_only=False, map_location="cpu")


def predict(checkpoint, store, date, output):
    """One step from the date with anemoi-models; [cell, variable] in physical units."""
    import numpy
    from anemoi.datasets import open_dataset
    model = load(checkpoint).eval()
    data = open_dataset(store)
    anchor = list(data.dates).index(numpy.datetime64(date))
    steps = [data[anchor - model.n_step_input + 1 + i] for i in range(model.n_step_input)]  # variable, member, cell
    batch = torch.from_numpy(numpy.stack(steps)[:, :, 0]).permute(0, 2, 1).unsqueeze(0).float()
    with torch.no_grad():
        fields = model.predict_step({"data": batch})["data"]
    json.dump(fields.reshape(-1, fields.shape[-1]).double().flatten().tolist(), open(output, "w"))


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
    {"predict": predict, "train-module": train_module, "make-old": make_old}[sys.argv[1]](*sys.argv[2:])
