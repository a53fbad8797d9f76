"""The run folder: config.yaml, schema.json, model.safetensors, statistics.safetensors, metrics.jsonl. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from aet.attention.state import load_tensors
from aet.config import Config, read_yaml
from aet.errors import AetError, MissingPackage, RunError
from aet.schema import Schema
from aet.statistics import SourceStatistics

if TYPE_CHECKING:
    from aet.model import Model

FORMAT = 1
CONFIG, WEIGHTS, STATISTICS = "config.yaml", "model.safetensors", "statistics.safetensors"
GRAPH = "graph.json"
"""The edges of a graph, where one was given."""
RESERVOIR, FISHER = "reservoir.safetensors", "fisher.safetensors"
"""Kept for updates, where the user wants it."""
VERSIONS = "versions.jsonl"
"""The log of a folder that holds versions: `aet.serving.versions`."""
MEND = "Copy the folder again as a whole, or train again."


def save_model(model: Model, folder: Path) -> Path:
    """Write a model; what else lies in the folder stays."""
    import yaml
    from safetensors.torch import save_file

    make_folder(folder)
    statistics = model.known_statistics()
    weights = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    save_file(weights, str(folder / WEIGHTS))
    save_file(statistics.tensors(), str(folder / STATISTICS))
    described: dict[str, Any] = {
        "format": FORMAT,
        "schema": model.schema.to_dict(),
        "inputs": {name: part.settings() for name, part in model.parts()},
        "output": model.output.settings(),
        "statistics": {"columns": statistics.columns, "attention": statistics.attention},
        "report": model.report,
    }
    settings = model.config.model_dump()
    if model.config.graph is None:
        (folder / GRAPH).unlink(missing_ok=True)
    else:
        (folder / GRAPH).write_text(json.dumps(settings["graph"]["edges"], indent=0), encoding="utf-8")
        settings["graph"]["edges"] = GRAPH
    (folder / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    kept = kept_for_updates(model)
    for name in (RESERVOIR, FISHER):
        (folder / name).unlink(missing_ok=True)  # of a model that was saved here before
        if name in kept:
            save_file(kept[name], str(folder / name))
    graph = [GRAPH] if model.config.graph is not None else []
    described["sha256"] = {name: sha256(folder / name) for name in (CONFIG, WEIGHTS, STATISTICS, *graph, *kept)}
    described["sha256"]["schema.json"] = own_sum(described)
    # Last, because it holds the sums of the others: an interrupted save does not pass for a whole one.
    (folder / "schema.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    return folder


def kept_for_updates(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by file."""
    files = {}
    if model.reservoir:
        files[RESERVOIR] = model.reservoir.tensors()
    if model.fisher:
        files[FISHER] = {name: t.detach().cpu().contiguous() for name, t in model.fisher.items()}
    return files


def make_folder(folder: Path) -> None:
    """A folder to write a model to; RunError if it cannot be made, or holds versions that rest on the model there."""
    if (folder / VERSIONS).is_file():
        raise RunError(
            f"{folder} holds versions of a model: another one in its place would be called version 1 of them. Name "
            "another folder; new rows become a new version with `aet retrain`."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"The run folder {folder} cannot be made ({error.strerror}). Name a folder that can be written, not a file."
        ) from error


def sha256(path: Path) -> str:
    """Sum of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """metrics.jsonl: a line an epoch."""
    lines = "".join(json.dumps(record) + "\n" for record in history)
    (folder / "metrics.jsonl").write_text(lines, encoding="utf-8")


def verify(path: Path, expected: str | None) -> None:
    """RunError unless the file is there with the bytes that schema.json was written with."""
    if not path.is_file():
        raise RunError(f"{path} is missing: expected a file of the run there. {MEND}")
    if sha256(path) != expected:
        raise RunError(
            f"{path} was changed, is damaged or belongs to another run: its bytes are not those that schema.json was "
            f"written with. {MEND}"
        )


def own_sum(described: dict[str, Any]) -> str:
    """Sum of all but the sums."""
    rest = json.dumps({name: part for name, part in described.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(rest.encode()).hexdigest()


def load(folder: str | Path) -> Model:
    """The model of a run folder, in evaluation mode; raises RunError if a part is missing, damaged or foreign.

    MissingPackage where a pretrained network is part of it and transformers is not installed.
    """
    from aet.model import Model
    from aet.training.reservoir import Reservoir

    folder = Path(folder)
    described = read_description(folder)
    for name in (CONFIG, WEIGHTS, STATISTICS):
        verify(folder / name, described["sha256"].get(name))
    if isinstance(described.get("inputs"), dict) and "given" in described["inputs"]:
        raise RunError(
            f"{folder} holds the weights and statistics of a wrapped module, not its code: make the module, load its "
            "weights and wrap it again with aet.wrap."
        )
    try:
        if GRAPH in described["sha256"]:
            verify(folder / GRAPH, described["sha256"][GRAPH])
        config = read_config(folder / CONFIG)
        model = Model(Schema.from_dict(described["schema"]), config)
        for name, part in model.parts():
            part.load_settings(described["inputs"][name])
        model.output.load_settings(described["output"])
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, only to be replaced
            model.build()
        model.report = described["report"]
        summary = described["statistics"]
    except MissingPackage:
        raise
    except AetError as error:
        raise RunError(f"{folder} is damaged. {error} {MEND}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'schema.json'} does not describe an aet run: {type(error).__name__} {error}. {MEND}"
        ) from error
    weights = load_tensors(folder / WEIGHTS)
    own = model.state_dict()
    wrong = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    if wrong or set(weights) - set(own):
        raise RunError(
            f"{folder / WEIGHTS} belongs to another run: expected {len(own)} tensors of this schema, "
            f"{len(wrong)} are missing or of another shape (first: {wrong[:1]}). {MEND}"
        )
    model.load_state_dict(weights)
    model.statistics = SourceStatistics.load(folder / STATISTICS, summary)
    if RESERVOIR in described["sha256"]:
        verify(folder / RESERVOIR, described["sha256"][RESERVOIR])
        try:
            model.reservoir = Reservoir.of(load_tensors(folder / RESERVOIR))
        except (KeyError, ValueError) as error:
            raise RunError(f"{folder / RESERVOIR} holds no rows of an aet run: {error}. {MEND}") from error
    if FISHER in described["sha256"]:
        verify(folder / FISHER, described["sha256"][FISHER])
        model.fisher = load_tensors(folder / FISHER)
    return model.eval()


def read_config(path: Path) -> Config:
    """The settings of a run; one that does not name the wide path, or the first norm, is from before the choice."""
    given = read_yaml(path)
    if isinstance(given.get("model"), dict):
        given["model"] = {"wide": 0, "first_norm": True, **given["model"]}
    if isinstance(given.get("graph"), dict):
        given["graph"] = {**given["graph"], "edges": path.parent / GRAPH}
    return Config.read(given)


def read_description(folder: Path) -> dict[str, Any]:
    """schema.json, checked for format and damage; `sha256` holds the sums of the other files."""
    path = folder / "schema.json"
    check_one(folder)
    if not path.is_file():
        raise RunError(
            f"{folder} is no run folder: {path.name} is missing. Name the folder that `aet train --out` wrote."
        )
    return checked_description(path)


def check_one(folder: Path) -> None:
    """RunError for the folder of an ensemble."""
    if (folder / "ensemble.json").is_file():
        raise RunError(
            f"{folder} holds an ensemble, not one model: aet.Ensemble.load reads it, and the switch "
            f"'distill' with teacher={folder} brings it into one model, which can then be served as a stream."
        )


def checked_description(path: Path) -> dict[str, Any]:
    """A JSON file that holds the sums of a folder's files and its own; RunError if it is damaged or newer than this."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = described["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged or foreign ({type(error).__name__} {error}). {MEND}") from error
    if not isinstance(version, int) or version > FORMAT:
        raise RunError(f"{path} has format {version!r}, this version of aet reads up to {FORMAT}. Install a newer aet.")
    sums = described.get("sha256")
    if not isinstance(sums, dict) or sums.get(path.name) != own_sum(described):
        raise RunError(f"{path} was changed or damaged after it was written: its sum does not fit. {MEND}")
    return dict(described)
