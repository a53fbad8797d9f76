"""The run folder: config.yaml, schema.json, model.safetensors, statistics.safetensors, metrics.jsonl. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.attention.state import load_tensors
from aet.config import Config
from aet.errors import RunError
from aet.schema import Schema
from aet.statistics import SourceStatistics

if TYPE_CHECKING:
    from aet.model import Model

FORMAT = 1


def save_model(model: Model, folder: Path) -> Path:
    """Write a model; what else lies in the folder stays."""
    import yaml
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    statistics = model.known_statistics()
    described = {
        "format": FORMAT,
        "schema": model.schema.to_dict(),
        "inputs": {name: part.settings() for name, part in model.parts()},
        "output": model.output.settings(),
        "statistics": {"columns": statistics.columns, "attention": statistics.attention},
        "report": model.report,
    }
    weights = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    (folder / "config.yaml").write_text(yaml.safe_dump(model.config.model_dump(), sort_keys=False), encoding="utf-8")
    (folder / "schema.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    save_file(weights, str(folder / "model.safetensors"))
    save_file(statistics.tensors(), str(folder / "statistics.safetensors"))
    return folder


def load(folder: str | Path) -> Model:
    """The model of a run folder, in evaluation mode; raises RunError if a part is missing, damaged or foreign."""
    from aet.model import Model

    folder = Path(folder)
    described = read_description(folder)
    config = Config.read(folder / "config.yaml")
    try:
        model = Model(Schema.from_dict(described["schema"]), config)
        for name, part in model.parts():
            part.load_settings(described["inputs"][name])
        model.output.load_settings(described["output"])
        model.build()
        model.report = described["report"]
        summary = described["statistics"]
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{folder / 'schema.json'} does not describe an aet run: {error} is missing or of a wrong type. "
            "Copy the folder again as a whole, or train again."
        ) from error
    weights = load_tensors(folder / "model.safetensors")
    own = model.state_dict()
    wrong = [name for name in own if name not in weights or weights[name].shape != own[name].shape]
    if wrong or set(weights) - set(own):
        raise RunError(
            f"{folder / 'model.safetensors'} belongs to another run: expected {len(own)} tensors of this schema, "
            f"{len(wrong)} are missing or of another shape (first: {wrong[:1]}). Copy the folder again as a whole."
        )
    model.load_state_dict(weights)
    model.statistics = SourceStatistics.load(folder / "statistics.safetensors", summary)
    return model.eval()


def read_description(folder: Path) -> dict[str, Any]:
    """schema.json, checked for format and damage."""
    path = folder / "schema.json"
    if not path.is_file():
        raise RunError(
            f"{folder} is no run folder: {path.name} is missing. Name the folder that `aet train --out` wrote."
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = described["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged or foreign ({error}). Restore it from a copy or train again.") from error
    if not isinstance(version, int) or version > FORMAT:
        raise RunError(f"{path} has format {version!r}, this version of aet reads up to {FORMAT}. Install a newer aet.")
    return dict(described)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Records of a JSONL file; an unfinished last line, as an interruption leaves it, is dropped."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
