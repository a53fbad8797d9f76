"""A stream on disk: stream.json and safetensors. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aet.adaptation.stream import Stream
from aet.attention.state import ElasticState, load_tensors
from aet.batch import Batch
from aet.errors import RunError

if TYPE_CHECKING:
    from aet.model import Model

FORMAT = 1


def save_stream(stream: Stream, folder: Path, rows: bool) -> Path:
    """Write everything but, unless asked, the rows."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "format": FORMAT,
        "adapt": stream.adapt,
        "settings": stream.method.settings,
        "keep": stream.kept.keep,
        "compare": stream.compare,
        "transductive": stream.transductive,
        "rows": stream.rows,
        "labels": stream.labels,
        "asked": stream.asked,
        "guard": stream.guard.to_dict(),
        "events": list(stream.trace.events),
        "kept": {"ids": stream.kept.ids, "weights": np.nan_to_num(stream.kept.weights, nan=-1.0).tolist()}
        if rows
        else None,
    }
    (folder / "stream.json").write_text(json.dumps(described, indent=1), encoding="utf-8")
    stream.state.save(folder / "state.safetensors")
    memory = {name: t.cpu().contiguous() for name, t in stream.method.memory().items()}
    save_file(memory, str(folder / "memory.safetensors"))
    if rows and len(stream.kept):
        values = {name: t.contiguous() for name, t in stream.kept.batch.values.items()}
        save_file(values, str(folder / "rows.safetensors"))
    return folder


def load_stream(model: Model, folder: Path) -> Stream:
    """Read what `save_stream` wrote; raises RunError if it is damaged or of another model."""
    path = folder / "stream.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = described["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} is missing, damaged or foreign ({error}). Name a folder that Stream.save wrote."
        ) from error
    if version > FORMAT:
        raise RunError(f"{path} has format {version}, this version reads up to {FORMAT}. Install a newer aet.")
    names = ("adapt", "keep", "compare", "transductive")
    stream = Stream(
        model, guard=described["guard"]["name"], **{n: described[n] for n in names}, **described["settings"]
    )
    state = ElasticState.load(folder / "state.safetensors")
    expected = {name: tuple(t.shape) for name, t in stream.state.items()}
    if {name: tuple(t.shape) for name, t in state.items()} != expected:
        raise RunError(
            f"{folder} holds the state of another model: its dials differ. Load the stream with its own model."
        )
    stream.method.state = state
    stream.method.load_memory(load_tensors(folder / "memory.safetensors"))
    stream.guard.load_dict(described["guard"])
    stream.rows, stream.labels, stream.asked = (described[n] for n in ("rows", "labels", "asked"))
    stream.trace.events.extend(described["events"])
    kept = described["kept"]
    if kept and kept["ids"]:
        stream.kept.add(Batch(values=load_tensors(folder / "rows.safetensors")), kept["ids"])
        weights = np.array(kept["weights"])
        stream.kept.weights = np.where(weights < 0, np.nan, weights)
    return stream
