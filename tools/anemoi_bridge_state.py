# SPDX-FileCopyrightText: the gradwind authors
# SPDX-License-Identifier: Apache-2.0
"""What belongs to a checkpoint of anemoi-training beside its weights: optimiser and progress, matrices, imputers."""
import copy
import json
import pathlib
import shutil

from anemoi_bridge_files import BridgeError, note, only_graph, plain, read_tensors, require, with_full_targets


class NotResumable(Exception):
    """Why a training cannot go on from a checkpoint with its optimiser."""


# What a training goes on with ---------------------------------------------------------------------------------------

# Tensors of the network that are no parameters; coordinates come besides.
BUFFERS = ("trainable_layout_version", "norm_min_val", "muzero")


def trained_names(state, config):
    """The parameters that the optimiser of a training holds, in its order: that of registration, which is that of the
    state. A tensor of two names is one parameter; frozen parts are none."""
    frozen = tuple(f"model.model.{part}." for part in (config.get("training") or {}).get("submodules_to_freeze") or [])
    names, seen = [], set()
    for name, tensor in state.items():
        leaf = name.rsplit(".", 1)[-1]
        if not name.startswith("model.model.") or leaf in BUFFERS or leaf.startswith("latlons_"):
            continue
        place = (tensor.data_ptr(), tuple(tensor.shape))
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        if not (frozen and name.startswith(frozen)):
            names.append(name)
    return names


def require_adamw(config):
    section = ((config.get("training") or {}).get("optimization") or {}).get("optimizer") or {}
    target = section.get("_target_", "AdamW")
    if target.endswith("ZeroRedundancyOptimizer"):
        inner = section.get("optimizer_class")
        target = inner if isinstance(inner, str) else (inner or {}).get("_target_") or (inner or {}).get("path", "")
    if target.split(".")[-1] != "AdamW":
        raise NotResumable(f"its optimiser is {target}, gradwind has AdamW")


def settings_of(groups):
    """What the groups of an optimiser agree on."""
    result = {}
    for key in ("betas", "eps", "weight_decay", "initial_lr"):
        values = {json.dumps(plain(group.get(key, group.get("lr") if key == "initial_lr" else None))) for group in groups}
        if len(values) != 1:
            raise NotResumable(f"its groups of parameters have differing {key}: {', '.join(sorted(values))}")
        result[key] = json.loads(values.pop())
    if any(group.get("amsgrad") or group.get("maximize") for group in groups):
        raise NotResumable("its optimiser has amsgrad or maximize, which gradwind's AdamW has not")
    return result


def moments_of(optimizer, names, state):
    """exp_avg and exp_avg_sq by name in the state, and the number of steps that they have seen."""
    ids = [number for group in optimizer["param_groups"] for number in group["params"]]
    if len(ids) != len(names):
        raise NotResumable(f"its optimiser has {len(ids)} parameters, its network {len(names)}")
    moments, steps = {"exp_avg": {}, "exp_avg_sq": {}}, set()
    for number, name in zip(ids, names):
        entry = optimizer["state"].get(number)
        if entry is None:  # it never had a gradient
            continue
        if set(entry) != {"step", "exp_avg", "exp_avg_sq"}:
            raise NotResumable(f"its optimiser keeps {', '.join(sorted(entry))} of {name}, AdamW step, exp_avg, exp_avg_sq")
        for key, tensors in moments.items():
            if entry[key].shape != state[name].shape:
                raise NotResumable(f"{key} of {name} is {list(entry[key].shape)}, the parameter {list(state[name].shape)}")
            tensors[name] = entry[key]
        steps.add(int(entry["step"]))
    if len(steps) > 1:
        raise NotResumable(f"its parameters have been through differing numbers of steps: {sorted(steps)}")
    return moments, steps.pop() if steps else 0


def next_epoch(progress):
    """The epoch that a training goes on with. Anemoi writes checkpoints of a finished epoch before it counts it; an
    epoch that was under way begins again there, and so it does here."""
    batches = ((progress.get("loops") or {}).get("fit_loop") or {}).get("epoch_loop.batch_progress") or {}
    epoch = int(progress.get("epoch") or 0)
    if batches.get("is_last_batch"):
        return epoch + 1
    if (batches.get("current") or {}).get("completed"):
        note(f"note: the checkpoint is of the midst of epoch {epoch}, which begins again, as it does in Anemoi")
    return epoch


def training_of(source, config):
    """Moments by name in the state and what else goes on. @raise NotResumable"""
    progress = source["progress"]
    if progress is None:
        raise NotResumable("an inference checkpoint has no optimiser")
    optimizers = progress.get("optimizer_states") or []
    if len(optimizers) != 1:
        raise NotResumable(f"it holds {len(optimizers) or 'no'} optimiser{'s' * (len(optimizers) > 1)}, expected one")
    require_adamw(config)
    settings = settings_of(optimizers[0]["param_groups"])
    moments, steps = moments_of(optimizers[0], trained_names(source["state"], config), source["state"])
    schedulers = progress.get("lr_schedulers") or []
    rates = (schedulers[0] if schedulers else {}).get("base_values") or [settings["initial_lr"]]
    return moments, {"optimizer_steps": steps, "epoch": next_epoch(progress), "effective_lr": float(rates[0]),
                     "optimizer": {key: settings[key] for key in ("betas", "eps", "weight_decay")},
                     "base_seed": (source["metadata"] or {}).get("base_seed")}


# Matrices -----------------------------------------------------------------------------------------------------------

class Matrices:
    """Matrices of an import: those that are files, and those that Anemoi makes when it builds a network."""

    def __init__(self, folder, given):
        self.folder, self.given, self.sources = folder, given, {}

    def name_of(self, path):
        """What the configuration of a run folder calls the matrix of a file; it is copied there."""
        file = pathlib.Path(path)
        places = [file] + ([self.given / file.name] if self.given else [])
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise BridgeError(f"the network needs the matrix {path}, which is not there: name the folder that has "
                              f"{file.name} with --matrices")
        self.folder.mkdir(exist_ok=True)
        shutil.copyfile(found, self.folder / file.name)
        self.sources[f"{self.folder.name}/{file.name}"] = str(path)
        return f"{self.folder.name}/{file.name}"

    def save(self, name, matrix, path):
        """@param matrix  sparse, of torch @param path  of the file that Anemoi had it from, or None"""
        from scipy import sparse
        self.folder.mkdir(exist_ok=True)
        rows, columns, values = (part.cpu().numpy() for part in (matrix.crow_indices(), matrix.col_indices(), matrix.values()))
        sparse.save_npz(self.folder / name, sparse.csr_matrix((values, columns, rows), shape=tuple(matrix.shape)))
        if path:
            self.sources[f"{self.folder.name}/{name}"] = str(path)
        return f"{self.folder.name}/{name}"


def residual_matrices(residual, dataset, source, matrices):
    """The section of a truncated residual with files for its matrices."""
    kept = {key: value for key, value in residual.items() if not key.startswith("truncation_")}
    inner = residual.get("truncation_config") or {}
    files = {way: inner.get(f"truncation_{way}_file_path") or residual.get(f"truncation_{way}_file_path")
             for way in ("down", "up")}
    if all(files.values()) and source["model"] is None:
        return kept | {"truncation_config": {f"truncation_{way}_file_path": matrices.name_of(path)
                                             for way, path in files.items()}}
    if not inner and not all(files.values()):
        return residual  # edges of the graph, which gradwind reads itself
    module = source["model"].residual[dataset] if source["model"] is not None else require("hydra.utils").instantiate(
        with_full_targets(residual), graph=only_graph(source["graph_data"], "the checkpoint"), data_node_name=dataset)
    if not all(files.values()):
        note(f"note: the matrices of the truncated residual of {dataset} were made by anemoi-graphs from its truncation_config")
    return {"_target_": residual["_target_"], "truncation_config": {
        f"truncation_{way}_file_path": matrices.save(f"truncation.{dataset}.{way}.npz", provider.projection_matrix, files[way])
        for way, provider in (("down", module.provider_down), ("up", module.provider_up))}}


def with_matrices(config, datasets, source, matrices):
    """The configuration as gradwind can use it: every matrix of the network lies in the run folder."""
    config = copy.deepcopy(config)
    section = config["model"].get("residual") or {}
    single = "_target_" in section
    for dataset in datasets:
        residual = section if single else (section.get("datasets") or {}).get(dataset)
        if residual and residual.get("_target_", "").endswith("TruncatedConnection"):
            own = residual_matrices(residual, dataset, source, matrices)
            if single:
                config["model"]["residual"] = own
            else:
                section["datasets"][dataset] = own
    noise = config["model"].get("noise_injector") or {}
    if noise.get("noise_matrix"):
        noise["noise_matrix"] = matrices.name_of(noise["noise_matrix"])
    return config


# Processors ---------------------------------------------------------------------------------------------------------

def replacements(config, source, indices):
    """What imputers fill in, which follows from statistics of the training: by name in the state."""
    import torch
    instantiate = require("hydra.utils").instantiate
    result = {}
    for dataset, index in indices.items():
        sections = (((config.get("data") or {}).get("datasets") or {}).get(dataset) or {}).get("processors") or {}
        for name, section in sections.items():
            if section and str(section.get("_target_", "")).endswith("InputImputer"):
                statistics = by_dataset_of(source["statistics"], dataset)
                imputer = instantiate(with_full_targets(section), data_indices=index, statistics=statistics)
                values = [float(value) for value in imputer.replacement]
                result[f"pre_processors.{dataset}.processors.{name}.replacement"] = torch.tensor(values, dtype=torch.float64)
    return result


def by_dataset_of(value, dataset):
    return value[dataset] if isinstance(value, dict) and dataset in value else value


# The way back -------------------------------------------------------------------------------------------------------

def rewound_loops(step, epoch):
    """Lightning's account of a training that has done so many steps and whole epochs."""
    alone = require("pytorch_lightning.plugins.environments").LightningEnvironment()  # also within a job
    trainer = require("pytorch_lightning").Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
                                                   enable_progress_bar=False, enable_model_summary=False, plugins=[alone])
    fit = trainer.fit_loop.state_dict()
    counters = [(fit["epoch_progress"], epoch), (fit["epoch_loop.batch_progress"], step),
                (fit["epoch_loop.scheduler_progress"], step)]
    counters += [(part, step) for part in fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"].values()]
    for counter, number in counters:
        counter["total"] = dict.fromkeys(counter["total"], number)
    # Counters of the epoch under way are zero; the epoch itself is counted in both.
    fit["epoch_progress"]["current"] = dict.fromkeys(fit["epoch_progress"]["current"], epoch)
    return {"fit_loop": fit, "validate_loop": trainer.validate_loop.state_dict(),
            "test_loop": trainer.test_loop.state_dict(), "predict_loop": trainer.predict_loop.state_dict()}


def lightning_state(interface, config, folder, description, task):
    """What Lightning restores a training from: optimiser, schedule, loops, data module."""
    import torch
    training = description.get("training")
    if not training:
        return {"optimizer_states": [], "lr_schedulers": []}
    moments = read_tensors(folder / "optimizer.safetensors")
    optimization = config.training.optimization
    frozen = tuple(f"model.{part}." for part in config.training.get("submodules_to_freeze") or [])
    named = [(name, value) for name, value in interface.named_parameters() if not (frozen and name.startswith(frozen))]
    settings = {key: value for key, value in plain(optimization.optimizer).items() if key in ("betas", "eps", "weight_decay")}
    optimizer = torch.optim.AdamW([value for _, value in named], lr=training["effective_lr"], **settings)
    schedulers = []
    if optimization.get("lr_scheduler"):
        scheduler = require("hydra.utils").instantiate(optimization.lr_scheduler, optimizer=optimizer)
        scheduler.step_update(description["step"])
        schedulers = [scheduler.state_dict()]
    for name, value in named:
        own = {kind: moments.get(f"{kind}.{name[len('model.'):]}") for kind in ("exp_avg", "exp_avg_sq")}
        if all(tensor is None for tensor in own.values()):  # no part of the computation: AdamW knows nothing of it
            continue
        missing = [kind for kind, tensor in own.items() if tensor is None or tensor.shape != value.shape]
        if missing:
            raise BridgeError(f"the optimiser's {' and '.join(missing)} of {name} {list(value.shape)} are not in the checkpoint")
        optimizer.state[value] = {"step": torch.tensor(float(training["optimizer_steps"]))} | own
    for epoch in range(training["epoch"]):  # the rollout grows as it did
        task.on_train_epoch_end(current_epoch=epoch)
    return {"optimizer_states": [optimizer.state_dict()], "lr_schedulers": schedulers, "epoch": training["epoch"],
            "loops": rewound_loops(description["step"], training["epoch"]),
            "AnemoiDatasetsDataModule": {"epoch": training["epoch"]}}
