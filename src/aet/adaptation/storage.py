"""A stream on disk: stream.json and safetensors. No pickle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aet.adaptation.kept import KeptRows, alone
from aet.adaptation.stream import Stream
from aet.attention.state import ElasticState, load_tensors, under
from aet.batch import Batch
from aet.errors import RunError

if TYPE_CHECKING:
    from aet.model import Model

FORMAT, METHODS_SINCE = 4, 3
"""Before the second, methods kept other things: their adaptation starts afresh, the guard goes on. Before the first,
rows that were asked were to be compared as they are answered when their labels come: those teach alone."""
ANSWERED, SEALED, BESIDE, ROWS = "answered.", "sealed.", "beside.", "rows.safetensors"
RECORD = "record.json"
"""What is known of a replayed stream, where a command left it beside the stream."""


def save_stream(stream: Stream, folder: Path, rows: bool, mark: str | None = None) -> Path:
    """Write everything but, unless asked, the rows; `mark` is the model's fingerprint, where it is at hand."""
    files = files_of(stream, rows, mark)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)  # of the stream as it was when it was saved here before
        (folder / ROWS).unlink(missing_ok=True)  # an earlier save may have left rows there
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise RunError(
            f"The stream cannot be saved in {folder} ({error.strerror}). Name a folder that can be written, not a file."
        ) from error
    return folder


def files_of(stream: Stream, rows: bool, mark: str | None = None) -> dict[str, bytes]:
    """What `save_stream` writes, by the name of the file."""
    from safetensors.torch import save

    sealed, said = stream.sealed.to_tensors(stream.model.output.width) if rows else ([], {})
    described: dict[str, Any] = {
        "format": FORMAT,
        "model": mark or fingerprint(stream.model),
        "adapt": stream.adapt,
        "settings": stream.method.settings,
        "keep": stream.kept.keep,
        "compare": stream.compare,
        "transductive": stream.transductive,
        "unlabelled": stream.unlabelled,
        "rows": stream.rows,
        "labels": stream.labels,
        "asked": stream.asked,
        "draws": stream._rng.bit_generator.state,
        "guard": stream.guard.to_dict(),
        "undone": list(stream._undone),
        "trace": stream.trace.to_dict(),
        "answered": stream.answered.to_dict(),
        "ids": {**ids_of(stream.kept, rows), "sealed": sealed},
    }
    try:
        text = json.dumps(described)
    except TypeError as error:
        raise RunError(
            f"The stream cannot be written as JSON: {error}. Ids of rows must be texts or numbers; turn the id column "
            "into texts before it is served."
        ) from error
    # Copies: parts of a method may share a tensor, which safetensors does not write twice.
    memory = {name: t.detach().cpu().clone().contiguous() for name, t in stream.method.memory().items()}
    state = {name: t.detach().cpu().contiguous() for name, t in stream.state.items()}
    files = {"stream.json": text.encode(), "state.safetensors": save(state), "memory.safetensors": save(memory)}
    if rows and len(stream.kept):
        values = {name: t.contiguous() for name, t in stream.kept.batch.values.items()}
        values |= {f"{ANSWERED}{name}": t for name, t in stream.answered.tensors(stream.kept.ids).items()}
        values |= {f"{SEALED}{name}": t.contiguous() for name, t in said.items()}
        values[f"{BESIDE}said"] = stream.kept.beside[0].contiguous()
        files[ROWS] = save(values)
    return files


def fingerprint(model: Model) -> str:
    """SHA-256 of the weights, by name: only the model that a stream was saved from has it."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def ids_of(kept: KeptRows, rows: bool) -> dict[str, Any]:
    """Ids by what became of their rows; rows that are not written are gone."""
    return {
        "kept": kept.ids if rows else [],
        "weights": np.nan_to_num(kept.weights, nan=-1.0).tolist() if rows else [],
        "looked": np.flatnonzero(kept.looked).tolist() if rows else [],
        "came": kept.came.tolist() if rows else [],
        "beside": kept.beside[1].tolist() if rows else [],
        "gone": [*kept.gone, *([] if rows else kept.ids)],
        "labelled": list(kept.labelled),
    }


def load_stream(model: Model, folder: Path, mark: str | None = None) -> Stream:
    """Read what `save_stream` wrote; raises RunError if it is damaged or of another model. `mark` as there."""
    path = folder / "stream.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = int(described["format"])
        if version <= FORMAT:
            return read_stream(model, folder, described, mark or fingerprint(model))
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} is missing, damaged or foreign ({error!r}). Name a folder that Stream.save wrote."
        ) from error
    raise RunError(f"{path} has format {version}, this version reads up to {FORMAT}. Install a newer aet.")


def read_stream(model: Model, folder: Path, described: dict[str, Any], mark: str) -> Stream:
    """The stream, from stream.json as read and from the tensors beside it."""
    if described["model"] != mark:
        raise RunError(
            f"{folder / 'stream.json'} is of a stream of another model: the weights that it was saved with are not "
            "these. Load the stream with its own model, or start a new one with model.stream()."
        )
    names = ("adapt", "keep", "compare", "transductive")
    # Late labels train by another formula now, for which the old settings were not meant.
    older = described["format"] < METHODS_SINCE and described["adapt"] == "feedback"
    settings = {} if older else described["settings"]
    unlabelled = described.get("unlabelled", "never")  # streams of earlier versions served nothing without labels
    stream = Stream(
        model,
        unlabelled=unlabelled,
        guard=described["guard"]["name"],
        **{n: described[n] for n in names},
        **settings,
    )
    state = ElasticState.load(folder / "state.safetensors")
    expected = {name: tuple(t.shape) for name, t in stream.state.items()}
    if {name: tuple(t.shape) for name, t in state.items()} != expected:
        raise RunError(
            f"{folder / 'state.safetensors'} is the state of another model: its dials differ. Copy the folder again as "
            "a whole."
        )
    # In the model's order, which files do not keep: sums over all dials depend on it in the last bits.
    if described["format"] >= METHODS_SINCE:
        stream.method.state = stream.state.map(lambda name, t: state[name].to(t))
        stream.method.load_memory(load_tensors(folder / "memory.safetensors"))
    stream.guard.load_dict(described["guard"])
    stream.trace.load_dict(described["trace"])
    stream._undone.update(described.get("undone", []))
    stream.rows, stream.labels, stream.asked = (int(described[n]) for n in ("rows", "labels", "asked"))
    stream._follows = stream.method.follows
    if described["format"] < METHODS_SINCE:
        stream.trace.event(stream.rows, "reset", "saved by an earlier version: adaptation starts from the source")
    stream._rng.bit_generator.state = described["draws"]
    if "answered" in described:
        stream.answered.load_dict(described["answered"])
    stream._by = stream.choice.by
    ids = described["ids"]
    if ids["kept"]:
        weights = np.array(ids["weights"], dtype=float)
        values = load_tensors(folder / ROWS)
        given = under(ANSWERED, values)
        rows = {name: t for name, t in values.items() if not name.startswith((ANSWERED, SEALED, BESIDE))}
        came = np.array(ids.get("came", alone(len(ids["kept"]))), dtype=np.int64)
        stream.kept.add(Batch(values=rows), ids["kept"], came)
        if ids.get("beside"):
            stream.kept.leave_beside(values[f"{BESIDE}said"], np.array(ids["beside"], dtype=np.int64))
        if given:
            stream.answered.load_tensors(ids["kept"], given)
        stream.sealed.load_tensors(ids.get("sealed", []), under(SEALED, values))
        if described["format"] < FORMAT:
            weights = np.minimum(weights, 0.0)
        stream.kept.mark_asked(np.flatnonzero(weights >= 0), weights[weights >= 0])
        stream.kept.looked[ids.get("looked", [])] = True
    stream.kept.gone.update(ids["gone"])
    stream.kept.labelled.update(ids["labelled"])
    return stream
