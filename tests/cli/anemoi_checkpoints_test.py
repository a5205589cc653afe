#!/usr/bin/env python3
# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that anemoi-training wrote, one for each shape of network that users have: imported, forecast with, given back.
Needs a Python with anemoi-models, anemoi-graphs, anemoi-training and anemoi-datasets: $GRADWIND_PYTHON, else python3.
usage: anemoi_checkpoints_test.py GRADWIND_EXECUTABLE [SHAPE ...]"""
import json
import pathlib
import shutil
import sys

from anemoi_case import AnemoiCase, floats, run_cases, tensors

START = "2000-01-04T12:00:00"
PREDICTION_TOLERANCE = 2e-5  # of the largest value: two libraries in float32
CONTINUATION_TOLERANCE = 1e-5  # of the norm of all weights, after five steps of either
RECIPE = """
dates: {start: 2000-01-01T00:00:00, end: 2000-01-05T18:00:00, frequency: 6h}
input:
  join:
    - planetary_waves: {grid: GRID, level: 500, param: [PARAMS], waves: 2, max_n: 3, seed: 1}
    - forcings: {template: "${input.join.0.planetary_waves}", param: [cos_latitude, insolation]}
"""
# What all have in common; a shape adds to it, and later sections win.
COMMON = """
system: {hardware: {accelerator: cpu, num_gpus_per_node: 1, num_nodes: 1, num_gpus_per_model: 1},
         input: {dataset: waves.zarr, graph: null}, output: {root: out}}
diagnostics: {log: {interval: 1, mlflow: {enabled: False, tracking_uri: null}}, plot: {callbacks: []}, callbacks: [],
              enable_progress_bar: False}
task: {timestep: 6H}
training:
  precision: 32-true
  max_steps: 10
  max_epochs: 1
  num_sanity_val_steps: 0
  optimization: {lr: 1.0e-2, lr_scheduler: {warmup_t: 1}}
model: {num_channels: 16, processor: {num_layers: 2, num_chunks: 1}}
"""
ONE = """
data:
  frequency: 6h
  datasets:
    data:
      forcing: [cos_latitude, insolation]
      diagnostic: []
      processors: {normalizer: {_target_: anemoi.models.preprocessing.normalizer.InputNormalizer,
                                config: {default: mean-std, std: [z_500], max: [], none: [cos_latitude]}}}
dataloader:
  pin_memory: False
  num_workers: {training: 1, validation: 1, test: 1}
  batch_size: {training: 2, validation: 2, test: 2}
  training: {datasets: {data: {start: 2000-01-01, end: 2000-01-03}}}
  validation: {datasets: {data: {start: 2000-01-04, end: 2000-01-05}}}
  test: {datasets: {data: {start: 2000-01-04, end: 2000-01-05}}}
training: {metrics: {datasets: {data: [z_500]}}}
model: {bounding: {datasets: {data: []}}, node_trainable_parameters: {data: 2, hidden: 2}}
"""
MESH = "graph: {nodes: {hidden: {node_builder: {resolution: 1}}}}\n"
HEADS = "num_heads: 4, num_chunks: 1, graph_attention_backend: pyg"
GT_MAPPERS = "\n---\n".join(f'model: {{{part}: {{"0": {{mapper: {{{HEADS}, num_channels: 16}}}}}}, compile: []}}'
                             for part in ("encoders", "decoders"))
SDPA = "attention_implementation: scaled_dot_product_attention"
# A mesh for a Transformer, which works along no edges.
TOKENS = "graph: {nodes: {hidden: {node_builder: {_target_: anemoi.graphs.nodes.TriNodes, resolution: 1, grid: DELETE}}}}\n"
AGGREGATOR = "model: {latent_aggregator: {_target_: anemoi.models.layers.aggregator.SumAggregator}}\n"
# Cells by day at the first date are the limited area; the others are its boundary.
AREA = """
graph:
  nodes:
    hidden: {node_builder: {_target_: anemoi.graphs.nodes.LimitedAreaTriNodes, resolution: 2, reference_node_name: data,
                            mask_attr_name: cutout_mask, margin_radius_km: 300}}
  attributes:
    nodes:
      cutout_mask: {_target_: anemoi.graphs.nodes.attributes.NonzeroAnemoiDatasetVariable, variable: insolation}
      boundary_mask: {_target_: anemoi.graphs.nodes.attributes.BooleanNot,
                      masks: {_target_: anemoi.graphs.nodes.attributes.NonzeroAnemoiDatasetVariable, variable: insolation}}
      area_weight: {_target_: anemoi.graphs.nodes.attributes.MaskedPlanarAreaWeights, mask_node_attr_name: cutout_mask,
                    norm: unit-max}
model: {output_mask: {datasets: {data: {_target_: anemoi.training.utils.masks.Boolean1DMask, attribute_name: cutout_mask}}}}
data:
  datasets:
    data:
      processors:
        normalizer: DELETE
        imputer: {_target_: anemoi.models.preprocessing.imputer.InputImputer, config: {default: none, maximum: [z_500]}}
        filler: {_target_: anemoi.models.preprocessing.imputer.ConstantImputer, config: {default: none, 0.25: [u_500]}}
        mapper: {_target_: anemoi.models.preprocessing.remapper.Remapper, config: {default: none, asinh: [v_500]}}
        last: {_target_: anemoi.models.preprocessing.normalizer.InputNormalizer,
               config: {default: mean-std, std: [z_500], none: [cos_latitude]}}
"""
TWO = """
system: {input: {dataset: waves.zarr, dataset_b: fine.zarr}}
data:
  frequency: 6h
  datasets:
    era5: {forcing: [cos_latitude, insolation], diagnostic: []}
    cerra: {forcing: [cos_latitude], diagnostic: [insolation]}
dataloader:
  pin_memory: False
  training: {datasets: {era5: {start: 2000-01-01, end: 2000-01-03}, cerra: {start: 2000-01-01, end: 2000-01-03}}}
  validation: {datasets: {era5: {start: 2000-01-04, end: 2000-01-05}, cerra: {start: 2000-01-04, end: 2000-01-05}}}
  test: {datasets: {era5: {start: 2000-01-04, end: 2000-01-05}, cerra: {start: 2000-01-04, end: 2000-01-05}}}
training: {metrics: {datasets: {era5: [z_500], cerra: [z_500]}}}
graph: {nodes: {hidden: {node_builder: {resolution: 1}}},
        attributes: {nodes: {cutout_mask: DELETE, boundary_mask: DELETE, lam_area_weight: DELETE}}}
model: {bounding: {datasets: {era5: [], cerra: []}}, node_trainable_parameters: {era5: 2, cerra: 3, hidden: 2}, compile: []}
"""
TWO_MAPPERS = "\n---\n".join(f"model: {{{part}: {{{key}: {{mapper: {{{HEADS}}}}}}}}}"
                              for part in ("encoders", "decoders") for key in ("global", "regional"))
NORMALISER = "{config: {std: [z_500], max: [], none: [cos_latitude]}}"
TWO_NORMALISERS = f"""data: {{datasets: {{era5: {{processors: {{normalizer: {NORMALISER}}}}},
                 cerra: {{processors: {{normalizer: {NORMALISER}}}}}}}}}"""


def defaults(graph: str, model: str, training: str = "single", data: str = "zarr", loader: str = "native_grid",
             diagnostics: str = "evaluation") -> str:
    return (f"defaults: [{{data: {data}}}, {{dataloader: {loader}}}, {{diagnostics: {diagnostics}}}, {{system: example}}, "
            f"{{graph: {graph}}}, {{model: {model}}}, {{task: forecaster}}, {{training: {training}}}, _self_]\n"
            "config_validation: VALIDATED\n")


# A step takes all samples: their order, which Lightning draws anew when it goes on, is of no account then.
ONE_STEP_AN_EPOCH = """
dataloader: {batch_size: {training: 10}}
training: {max_epochs: 5}
diagnostics: {check_val_every_n_epoch: 5, checkpoint: {every_n_epochs: {save_frequency: 5, num_models_saved: 1}}}
"""
ENSEMBLE = """
system: {hardware: {num_gpus_per_ensemble: 1}}
training: {ensemble_size_per_device: 2}
model: {noise_injector: {noise_channels_dim: 6, noise_mlp_hidden_dim: 8}}
"""
POINTS = """
model:
  encoders: {"0": {source_datasets: [data], mapper: {num_channels: 16}}}
  decoders: {"0": {target_datasets: [data], mapper: {num_channels: 16}}}
  processor: {num_channels: 16}
"""
MATRICES = """
model: {residual: {datasets: {data: {_target_: anemoi.models.layers.residual.TruncatedConnection, step: DELETE,
  truncation_config: {truncation_down_file_path: MATRIX/down.npz, truncation_up_file_path: MATRIX/up.npz}}}}}
"""
ON_THE_FLY = """
model: {residual: {datasets: {data: {_target_: anemoi.models.layers.residual.TruncatedConnection, step: DELETE,
  truncation_config: {grid: o2, num_nearest_neighbours: 4, sigma: 0.5}}}}}
"""
SHAPES = {
    "gnn": [defaults("multi_scale", "gnn"), ONE, MESH, ONE_STEP_AN_EPOCH],
    "ens-graphtransformer": [defaults("multi_scale", "graphtransformer_ens", "ensemble"), ONE, MESH, ENSEMBLE, GT_MAPPERS,
                             f"model: {{processor: {{{HEADS}}}}}\n"],
    "ens-transformer": [defaults("encoder_decoder_only", "transformer_ens", "ensemble"), ONE, TOKENS, ENSEMBLE, GT_MAPPERS,
                        f"model: {{processor: {{num_heads: 4, window_size: 9, {SDPA}}}}}\n"],
    "limited-area": [defaults("limited_area", "graphtransformer", "lam"), ONE, AREA, GT_MAPPERS, ONE_STEP_AN_EPOCH,
                     f"model: {{processor: {{{HEADS}}}}}\n"],
    "truncated": [defaults("multi_scale", "gnn"), ONE, MESH, MATRICES],
    "truncated-on-the-fly": [defaults("multi_scale", "gnn"), ONE, MESH, ON_THE_FLY],
    "two-data-sets": [defaults("multi", "graphtransformer_multi", "multi", "multi", "multi", "evaluation_multi"), TWO,
                      TWO_MAPPERS, TWO_NORMALISERS, ONE_STEP_AN_EPOCH, f"model: {{processor: {{{HEADS}}}}}\n"],
    "point-wise": [defaults("point_wise", "point_wise"), ONE, POINTS],
    "transformer-mappers": [defaults("encoder_decoder_only", "transformer_transformermapper"), ONE, TOKENS, AGGREGATOR,
                            "graph: {edges: []}",
                            "model: {output_mask: {datasets: {data: {_target_: anemoi.training.utils.masks.NoOutputMask}}}}\n",
                            f"model: {{processor: {{num_heads: 4, window_size: 9, {SDPA}}}}}\n"]
    + [f'model: {{{part}: {{"0": {{mapper: {{num_heads: 4, num_chunks: 1, num_channels: 16, {SDPA}}}}}}}}}\n'
       for part in ("encoders", "decoders")],
}
# What anemoi-training's own validation refuses: packaged groups, and masks that are fields of the data set.
UNVALIDATED = {"limited-area", "point-wise", "transformer-mappers"}
LAST = "checkpoints/last/weights.safetensors"
GO_ON = ["dataloader.sample_order=anemoi", "training.max_epochs=10"]
MEMBERS = {"ens-graphtransformer": 2, "ens-transformer": 2}


class Shape(AnemoiCase):
    def __init__(self, executable: pathlib.Path, folder: pathlib.Path, name: str):
        super().__init__(executable, folder, name)
        for store, grid, params in (("waves", "o4", "u, v, z"), ("fine", "12x24", "u, z")):
            (folder / f"{store}.yaml").write_text(RECIPE.replace("GRID", grid).replace("PARAMS", params))
            self.run("dataset", "create", f"{store}.yaml", f"{store}.zarr")
        sections = "\n---\n".join([SHAPES[name][0], COMMON, *SHAPES[name][1:]])
        sections = sections.replace("VALIDATED", str(name not in UNVALIDATED)).replace("MATRIX", str(folder / "given"))
        (folder / "sections.yaml").write_text(sections.replace("waves.zarr", str(folder / "waves.zarr"))
                                              .replace("fine.zarr", str(folder / "fine.zarr")))

    def check(self) -> None:
        if self.name.startswith("truncated"):
            self.help("matrices", "waves.zarr", "given")
        if self.name == "limited-area":
            self.help("gaps", "waves.zarr", "z_500", "u_500")
        self.help("train", "sections.yaml", "genuine.ckpt")
        said = self.run("import", "--anemoi", "genuine.ckpt", "--output", "imported")
        self.expect("cannot run" not in said, "gradwind can run the network" + self.noted(said))
        self.travels()
        if self.name == "two-data-sets":
            self.same_fields()
        self.same_forecast()
        self.goes_back()
        if self.name in ("gnn", "two-data-sets", "limited-area"):
            self.goes_on()
        if self.name == "gnn":
            self.begins_otherwise()

    @staticmethod
    def noted(said: str) -> str:
        return "".join(f"\n       {line}" for line in said.splitlines() if "note:" in line)

    def travels(self) -> None:
        """What lay outside the checkpoint is in the run folder now."""
        if self.name.startswith("truncated"):
            shutil.rmtree(self.folder / "given")
            found = sorted(path.name for path in (self.folder / "imported" / "matrices").iterdir())
            self.expect(len(found) == 2, f"matrices are in the run folder: {found}")
        if self.name == "truncated":
            said = self.run("import", "--anemoi", "genuine.ckpt", "--output", "without", code=3)
            self.expect("down.npz" in said and "--matrices" in said, "a matrix that is gone is named")
            self.run("import", "--anemoi", "inference-genuine.ckpt", "--output", "inference")
            found = sorted(path.name for path in (self.folder / "inference" / "matrices").iterdir())
            self.expect(len(found) == 2, f"an inference checkpoint holds them: {found}")
        if self.name == "limited-area":
            nodes = tensors(self.folder / "imported" / "graph.safetensors")
            masks = [nodes["nodes.data.cutout_mask"], nodes["nodes.data.boundary_mask"]]
            inside = sum(masks[0][2])
            self.expect(all(mask[0] == "BOOL" for mask in masks) and 0 < inside < len(masks[0][2])
                        and inside + sum(masks[1][2]) == len(masks[0][2]), f"masks are there, {inside} cells inside")

    def same_forecast(self) -> None:
        self.run("forecast", "imported", "--steps", "1", "--date", START, "--output", "imported.safetensors")
        fields = {name.split(".")[1] if len(self.stores()) > 1 else "data": floats(values)
                  for name, values in tensors(self.folder / "imported.safetensors").items()}
        for name, expected in json.loads(self.predicted("inference-genuine.ckpt")).items():
            self.compare(fields[name], expected, f"gradwind forecasts of {name}:")

    def stores(self) -> list[str]:
        return ["era5=waves.zarr", "cerra=fine.zarr"] if self.name == "two-data-sets" else ["data=waves.zarr"]

    def predicted(self, checkpoint: str) -> str:
        """What anemoi-models predicts with a checkpoint."""
        self.help("predict", checkpoint, START, "predicted.json", str(MEMBERS.get(self.name, 1)), *self.stores())
        return (self.folder / "predicted.json").read_text()

    def compare(self, found: list[float], expected: list[float], who: str) -> None:
        for variable in range(3):
            a, b = found[variable::3], expected[variable::3]
            gaps = [x for x in range(len(b)) if b[x] != b[x]]
            pairs = [(x, y) for x, y in zip(a, b) if y == y]
            error = max(abs(x - y) for x, y in pairs) / max(abs(y) for _, y in pairs)
            self.expect(len(a) == len(b) and error < PREDICTION_TOLERANCE and all(a[i] != a[i] for i in gaps),
                        f"{who} variable {variable} as anemoi-models does, error {error:.1e}")

    def same_fields(self) -> None:
        """Also before processors and in double precision."""
        self.help("case", "inference-genuine.ckpt", "imported", "case")
        said = self.run("verify", "--golden", "case")
        self.expect("1 of 1 cases passed" in said, "gradwind computes the same fields")

    def goes_back(self) -> None:
        said = self.run("export", "--checkpoint", "imported", "--output", "back.ckpt")
        if self.name == "truncated":
            self.expect("back-matrices" in said, "matrices that are gone come along beside the checkpoint")
        self.run("import", "--anemoi", "back.ckpt", "--output", "again")
        self.same("imported", "again", "weights.safetensors", "checkpoints/last")
        self.same("imported", "again", "graph.safetensors", ".")
        for name in ("processors.safetensors", "statistics.safetensors"):
            self.same("imported", "again", name, "anemoi")
        if self.name == "two-data-sets":
            self.help("case", "inference-back.ckpt", "imported", "case-back")
            self.same("case", "case-back", "io64.safetensors", ".")
        genuine, back = self.predicted("inference-genuine.ckpt"), self.predicted("inference-back.ckpt")
        self.expect(genuine == back, "the exported checkpoint gives in anemoi-models what the original gave, bit for bit")

    def weights(self, path: str) -> dict[str, list[float]]:
        return {name: floats(tensor) for name, tensor in tensors(self.folder / path).items() if tensor[0] == "F32"}

    def distance(self, a: dict[str, list[float]], b: dict[str, list[float]]) -> float:
        squares = sum((x - y) ** 2 for name in b for x, y in zip(a[name], b[name]))
        return (squares / sum(y * y for values in b.values() for y in values)) ** 0.5

    def goes_on(self) -> None:
        """A training that anemoi-training began goes on in gradwind as it does there."""
        self.help("train", "sections.yaml", "later.ckpt", "training.max_epochs=10", "go-on")
        self.run("import", "--anemoi", "later.ckpt", "--output", "later")
        shutil.copytree(self.folder / "imported", self.folder / "resumed", symlinks=True)
        said = self.run("train", "--resume", "resumed", *GO_ON)
        self.expect("going on from" in said, "a training goes on in the folder of the import")
        error = self.distance(self.weights(f"resumed/{LAST}"), self.weights(f"later/{LAST}"))
        self.expect(error < CONTINUATION_TOLERANCE,
                    f"five steps later the weights are those of anemoi-training, error {error:.1e}")

    def begins_otherwise(self) -> None:
        """As a fork, without the optimiser, in anemoi-training again, and from what has no optimiser."""
        config = str(self.folder / "imported" / "config.yaml")
        said = self.run("train", config, "--run", "forked", "training.fork_run_id=imported", *GO_ON)
        self.expect("a fork of" in said, "a new run forks from it")
        self.run("train", config, "--run", "anew", "system.input.warm_start=imported", "training.load_weights_only=true",
                 "training.max_steps=5", "dataloader.sample_order=anemoi")
        expected, resumed, forked, anew = (self.weights(f"{run}/{LAST}") for run in ("later", "resumed", "forked", "anew"))
        self.expect(resumed == forked, "bit for bit the same")
        without = self.distance(anew, expected)
        self.expect(without > 100 * CONTINUATION_TOLERANCE, f"which those of a fresh optimiser are not: {without:.1e}")
        state = json.loads((self.folder / "imported/checkpoints/last/state.json").read_text())
        self.expect((state["step"], state["optimizer_steps"], state["sampler"]["epoch"]) == (5, 5, 5),
                    "step, steps of the optimiser and epoch are those of the checkpoint")
        self.same("imported", "again", "optimizer.safetensors", "checkpoints/last")
        self.help("train", "sections.yaml", "returned.ckpt", "training.max_epochs=10", "system.input.warm_start=back.ckpt")
        self.run("import", "--anemoi", "returned.ckpt", "--output", "returned")
        error = self.distance(self.weights(f"returned/{LAST}"), expected)
        self.expect(error < CONTINUATION_TOLERANCE, f"anemoi-training goes on from the exported checkpoint as from its own, error {error:.1e}")
        said = self.run("import", "--anemoi", "inference-genuine.ckpt", "--output", "inference")
        self.expect("an inference checkpoint has no optimiser" in said, "an inference checkpoint has no training to go on with")
        said = self.run("train", "--resume", "inference", code=5)
        self.expect("was imported from Anemoi without" in said and "inference checkpoint" in said, "and a resume says so")


if __name__ == "__main__":
    sys.exit(run_cases(Shape, ("anemoi.training", "anemoi.datasets"), list(SHAPES)))
