"""`aet.wrap`: streams, guard, late labels and reports for a model that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from aet.attention.state import elastic_modules, name_elastic
from aet.backbones.given import Call, Given, Reader, WrappedModel
from aet.config import Config
from aet.errors import ConfigError, SchemaError
from aet.rows import check_rows
from aet.schema import infer
from aet.tables import read_table
from aet.training.gather import gather

if TYPE_CHECKING:
    from aet.model import Model


def wrap(
    module: nn.Module,
    inputs: Any,
    outputs: Sequence[Any] | Mapping[int, Any],
    statistics_from: Any,
    target: str,
    kinds: Mapping[str, str] | None = None,
    id: str | None = None,
    call: Call | None = None,
    rows: int = 64,
    pieces: int = 128,
    seed: int = 0,
) -> Model:
    """A trained classifier as an `aet.Model`, made elastic; its answers stay as they are.

    Args:
        module: gives logits (B, C), or an object that has them as `logits`. It is made elastic in place
            (`aet.elasticize`) unless it is so already, and put into evaluation mode.
        inputs: checked rows (a pandas frame) -> tensor (B, ...), or a Hugging Face tokenizer for the one text column.
        outputs: the C classes in the order of the logits; `model.config.id2label` will do.
        statistics_from: labelled rows of the source, at best ones that the module was not trained on: its
            calibration, confusion and moments are taken from them, none is kept. A table as `aet.train` takes it.
        target: column of the true answers in it.
        kinds: of columns that are to be read otherwise than `aet.train` would; "ignore" leaves one out.
        id: column of the rows' ids.
        call: how to ask the module for some rows, given it and what `inputs` made of them.
        rows: that pass through the module at once.
        pieces: of a text that a tokenizer reads, its marks among them; the rest of a longer one is cut off, so that its
            answer is not the module's to the whole text. Each row kept for late labels takes so many places.
        seed: of the draws among the rows.

    A state that was learned before must be named anew: its dials are now below `inputs.given.module.`.

    Raises ConfigError for classes that the module does not answer with, NotElastic if its attention cannot be reached.

    >>> import pandas as pd, torch
    >>> layer = nn.TransformerEncoderLayer(4, nhead=2, dim_feedforward=8, batch_first=True)
    >>> module = nn.Sequential(nn.Unflatten(1, (2, 4)), layer, nn.Flatten(), nn.Linear(8, 2))
    >>> frame = pd.DataFrame(torch.randn(40, 8).numpy(), columns=list("abcdefgh"))
    >>> read = lambda rows: torch.tensor(rows[list("abcdefgh")].to_numpy("float32"))
    >>> model = wrap(module, read, ["no", "yes"], frame.assign(bought=["no", "yes"] * 20), target="bought")
    >>> stream = model.stream()
    >>> stream.predict(frame)["served_by"].unique().tolist()
    ['source']
    """
    from aet.backbones import elasticize

    classes = [outputs[i] for i in range(len(outputs))] if isinstance(outputs, Mapping) else list(outputs)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ConfigError(f"`outputs` names two or more different classes in the order of the logits: got {classes}.")
    if not any(True for _ in elastic_modules(module)):
        elasticize(module)
    frame = read_table(statistics_from)
    schema = infer(frame, target, output="label", kinds=kinds, id=id)
    read, own = readable(inputs, [column for spec in schema.inputs for column in spec.columns], pieces)
    config = Config.read({"model": {"dim": len(classes), "heads": 1}, "seed": seed})
    given = Given(schema.inputs, module, read, call or own, len(classes))
    model = name_elastic(WrappedModel(schema, config, given, classes, rows)).eval()
    checked = check_rows(frame, schema, need_target=True)
    known = model.encode(checked.frame, target=True)
    assert known.target is not None
    logits = model.logits(known)
    model.output.calibrate(logits, known.target)
    model.statistics = gather(model, checked.frame, known, known, logits)
    model.report = {"rows": len(known), "quarantined": len(checked.problems), "wrapped": type(module).__name__}
    model.report["valid"] = model.output.metrics(logits, known.target)
    return model


def readable(inputs: Any, columns: Sequence[str], pieces: int) -> tuple[Reader, Call]:
    """How rows become a tensor, and how the module is asked; a tokenizer reads the only column."""
    if not hasattr(inputs, "pad_token_id"):
        if not callable(inputs):
            raise ConfigError(
                f"`inputs` turns rows into a tensor: expected a function of a frame, or a tokenizer of Hugging Face; "
                f"got {type(inputs).__name__}."
            )
        return inputs, lambda module, values: module(values)
    if len(columns) != 1:
        raise SchemaError(
            f"A tokenizer reads one column; the rows have {len(columns)}: {list(columns)}. Leave the others out with "
            "kinds={'...': 'ignore'}, or give `inputs` a function of the frame."
        )
    pad = inputs.pad_token_id
    if pad is None:
        raise ConfigError("The tokenizer has no padding token, so texts cannot stand in one tensor. Give it one.")

    def read(frame: Any) -> Tensor:
        texts = [str(text) for text in frame[columns[0]].fillna("")]
        coded: Tensor = inputs(
            texts, padding="max_length", truncation=True, max_length=pieces, return_tensors="pt"
        ).input_ids
        return coded

    def ask(module: nn.Module, values: Tensor) -> Any:
        longest = max(1, int((values != pad).sum(1).max()))
        values = values[:, :longest] if inputs.padding_side == "right" else values[:, -longest:]
        return module(input_ids=values, attention_mask=(values != pad).long())

    return read, ask
