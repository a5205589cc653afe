#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Weights and graphs from and to Anemoi. A small model is trained, exported, run by anemoi-models and imported again.
Needs a Python with anemoi-models, anemoi-graphs, anemoi-training and anemoi-datasets: $GRADWIND_PYTHON, else python3.
usage: anemoi_bridge_test.py GRADWIND_EXECUTABLE [MODEL ...]     MODEL: gnn, graphtransformer, transformer"""
import json
import pathlib
import shutil
import sys

from anemoi_case import AnemoiCase, floats, run_cases, tensors

RECIPE = """
dates: {start: 2000-01-01T00:00:00, end: 2000-01-05T18:00:00, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: o4, level: 500, param: [u, v, z], waves: 2, max_n: 3, seed: 1}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [cos_latitude, insolation]}
"""
CONFIG = """
defaults: [{data: zarr}, {dataloader: native_grid}, {diagnostics: evaluation}, {system: example}, {model: MODEL},
           {task: forecaster}, {training: single}, _self_]
system: {hardware: {accelerator: cpu, num_gpus_per_node: 1, num_nodes: 1, num_gpus_per_model: 1}, input: {dataset: waves.zarr}}
data:
  frequency: 6h
  datasets:
    data:
      forcing: [cos_latitude, insolation]
      diagnostic: []
      processors: {normalizer: {_target_: InputNormalizer, config: {default: mean-std, std: [z_500], max: [], none: [cos_latitude]}}}
dataloader:
  num_workers: {training: 1, validation: 1, test: 1}
  batch_size: {training: 2, validation: 2, test: 2}
  training: {datasets: {data: {start: 2000-01-01, end: 2000-01-03}}}
  validation: {datasets: {data: {start: 2000-01-04, end: 2000-01-05}}}
  test: {datasets: {data: {start: 2000-01-04, end: 2000-01-05}}}
graph:
  overwrite: true
  nodes:
    data: {node_builder: {_target_: AnemoiDatasetNodes, dataset: "${system.input.dataset}"},
           attributes: {area_weight: {_target_: SphericalAreaWeights, norm: unit-max}}}
    hidden: {node_builder: {_target_: TriNodes, resolution: 1}}
  attributes:
    edges: {edge_length: {_target_: EdgeLength, norm: unit-std}, edge_dirs: {_target_: EdgeDirection, norm: unit-std}}
  edges:
  - {source_name: data, target_name: hidden, edge_builders: [{_target_: CutOffEdges, cutoff_factor: 0.9}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: hidden, edge_builders: [{_target_: MultiScaleEdges, x_hops: 1, scale_resolutions: 1}],
     attributes: "${graph.attributes.edges}"}
  - {source_name: hidden, target_name: data, edge_builders: [{_target_: KNNEdges, num_nearest_neighbours: 3}],
     attributes: "${graph.attributes.edges}"}
  post_processors: []
model: {num_channels: 16, processor: {num_layers: 2, num_chunks: 1}, bounding: []}
task: {timestep: 6H}
training:
  precision: 32-true
  max_steps: 3
  max_epochs: null
  metrics: {datasets: {data: [z_500]}}
  optimization: {lr: 1.0e-2, lr_scheduler: {warmup_t: 1}}
"""
# What a model wants otherwise; the original's other attention needs a GPU.
CHANGES = {"transformer": [
    ("  - {source_name: hidden, target_name: hidden, edge_builders: [{_target_: MultiScaleEdges, x_hops: 1, "
     "scale_resolutions: 1}],\n     attributes: \"${graph.attributes.edges}\"}\n", ""),
    ("processor: {num_layers: 2, num_chunks: 1}", "processor: {num_layers: 2, num_chunks: 1, window_size: 9, qk_norm: true, "
     "attention_implementation: scaled_dot_product_attention}")]}
PREDICTION_TOLERANCE = 2e-5  # of the largest value: two libraries in float32, two layers


class Test(AnemoiCase):
    def __init__(self, executable: pathlib.Path, folder: pathlib.Path, name: str):
        super().__init__(executable, folder, name)
        (folder / "recipe.yaml").write_text(RECIPE)
        config = CONFIG.replace("MODEL", name)
        for old, new in CHANGES.get(name, []):
            assert config.count(old) == 1, old
            config = config.replace(old, new)
        (folder / "train.yaml").write_text(config)

    def check(self) -> None:
        self.round_trip()
        self.predictions()
        self.older_releases()
        if self.name == "gnn":
            self.fine_tuning()
            self.bad_input()

    def last(self, run: str) -> pathlib.Path:
        return self.folder / run / "checkpoints" / "last"

    def round_trip(self) -> None:
        self.run("dataset", "create", "recipe.yaml", "waves.zarr")
        self.run("train", "train.yaml", "--run", "native")
        self.run("export", "--checkpoint", "native", "--output", "a.ckpt")
        self.run("import", "--anemoi", "a.ckpt", "--output", "imported")
        self.same("native", "imported", "weights.safetensors")
        self.run("export", "--checkpoint", "imported", "--output", "b.ckpt")
        self.run("import", "--anemoi", "inference-b.ckpt", "--output", "again")
        self.same("imported", "again", "weights.safetensors")
        self.same("imported", "again", "graph.safetensors", ".")
        for name in ("processors.safetensors", "statistics.safetensors"):
            self.same("imported", "again", name, "anemoi")

    def predictions(self) -> None:
        self.run("forecast", "native", "--steps", "1", "--date", "2000-01-04T12:00:00", "--output", "native.safetensors")
        self.run("forecast", "imported", "--steps", "1", "--date", "2000-01-04T12:00:00", "--output", "imported.safetensors")
        own, imported = (tensors(self.folder / f"{name}.safetensors") for name in ("native", "imported"))
        self.expect(own == imported, "an imported folder forecasts bit for bit what the original does")
        self.help("predict", "inference-a.ckpt", "2000-01-04T12:00:00", "anemoi.json", "1", "data=waves.zarr")
        expected = json.loads((self.folder / "anemoi.json").read_text())["data"]
        found = floats(next(iter(own.values())))
        for variable in range(3):
            a, b = found[variable::3], expected[variable::3]
            error = max(abs(x - y) for x, y in zip(a, b)) / max(abs(y) for y in b)
            self.expect(len(a) == len(b) and error < PREDICTION_TOLERANCE,
                        f"anemoi-models predicts variable {variable} as gradwind does, error {error:.1e}")
        self.help("train-module", "a.ckpt")
        self.expect(True, "anemoi-training loads the exported checkpoint")

    def older_releases(self) -> None:
        self.help("make-old", "a.ckpt", "old.ckpt")
        said = self.run("import", "--anemoi", "old.ckpt", "--output", "old")
        self.same("imported", "old", "weights.safetensors")
        self.expect("order of their destinations" in said, "rows of an older release are put in order, and it is said")

    def fine_tuning(self) -> None:
        start = ["train", "train.yaml", "system.input.warm_start=imported", "training.load_weights_only=true"]
        said = self.run(*start, "--run", "tuned", "training.max_steps=1")
        self.expect("begins with the weights of" in said, "a training begins with imported weights")
        self.same("imported", "tuned", "graph.safetensors", ".")
        a, b = (tensors(self.last(run) / "weights.safetensors") for run in ("imported", "tuned"))
        self.expect(a == b, "and a first step, at a learning rate of 0, leaves them as they are")
        said = self.run("train", "--resume", "again", code=5)
        self.expect("was imported from Anemoi without" in said, "what came from an inference checkpoint is no run to go on with")
        said = self.run(*start, "--run", "x1", "model.processor.num_layers=1", code=5)
        self.expect("processor.proc.1." in said and "not part of this model" in said, "weights that differ are named")
        said = self.run(*start, "--run", "x2", "data.datasets.data.forcing=[cos_latitude]",
                        "data.datasets.data.diagnostic=[z_500]", code=5)
        self.expect("`insolation` was forcing, is prognostic" in said and "`z_500` was prognostic, is diagnostic" in said,
                    "variables that differ are named")
        said = self.run(*start, "--run", "x3", "model.processor.num_layers=3", "training.transfer_learning=true",
                        "training.max_steps=1")
        self.expect("processor.proc.2." in said and "keep their initial values" in said,
                    "transfer learning takes what fits and says what does not")

    def bad_input(self) -> None:
        (self.folder / "no.ckpt").write_bytes(b"nothing of a checkpoint")
        said = self.run("import", "--anemoi", "no.ckpt", "--output", "x4", code=3)
        self.expect("cannot be read" in said, "a file that is no checkpoint is refused")
        said = self.run("import", "--anemoi", "a.ckpt", "--output", "imported", code=2)
        self.expect("found files in" in said, "an import does not write over a run")
        said = self.run("import", "--anemoi", "a.ckpt", "--output", "x5", "--python", "no-such-python", code=3)
        self.expect("there is no Python `no-such-python`" in said, "a Python that is not there is named")
        weights = self.last("again") / "weights.safetensors"
        shutil.copy(self.last("native") / "optimizer.safetensors", weights)
        said = self.run("export", "--checkpoint", "again", "--output", "c.ckpt", code=3)
        self.expect("is missing" in said and "is not part of Anemoi's model" in said, "an export names what does not fit")


if __name__ == "__main__":
    sys.exit(run_cases(Test, ("anemoi.models.interface", "anemoi.datasets"), ["gnn"]))
