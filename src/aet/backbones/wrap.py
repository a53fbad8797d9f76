"""`aet.wrap`: streams, guard, late labels and reports for a model that was trained elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from aet.attention.state import elastic_modules, name_elastic
from aet.backbones.answers import ANSWERS, Answer, Call, Reader
from aet.backbones.given import Given, WrappedModel
from aet.config import Config
from aet.errors import ConfigError
from aet.rows import check_rows
from aet.schema import infer
from aet.tables import read_table
from aet.training.gather import gather

if TYPE_CHECKING:
    from aet.model import Model


def wrap(
    module: nn.Module,
    inputs: Any,
    outputs: Sequence[Any] | Mapping[int, Any] | None,
    statistics_from: Any,
    target: str,
    kinds: Mapping[str, str] | None = None,
    id: str | None = None,
    call: Call | None = None,
    rows: int = 64,
    pieces: int | None = None,
    seed: int = 0,
    output: str = "label",
) -> Model:
    """A trained classifier, regression or tagger as an `aet.Model`, made elastic; its answers stay as they are.

    Args:
        module: gives logits (B, C), numbers (B,) or (B, 1) in the target's unit, or logits of pieces (B, P, C), or an
            object that has them as `logits`. It is made elastic in place (`aet.elasticize`) unless it is so already,
            and put into evaluation mode.
        inputs: checked rows (a pandas frame) -> tensor (B, ...), or a Hugging Face tokenizer for the one column of
            texts, or of words. For tags (B, P, 2 or more), whose second channel is the number of the word that a place
            starts, from 1 on (`aet.backbones.answers.tags`).
        outputs: the C classes or BIO tags in the order of the logits, `model.config.id2label` will do; None for
            numbers.
        statistics_from: labelled rows of the source, at best ones that the module was not trained on: its
            calibration, confusion and moments are taken from them, none is kept. A table as `aet.train` takes it.
        target: column of the true answers in it.
        kinds: of columns that are to be read otherwise than `aet.train` would; "ignore" leaves one out.
        id: column of the rows' ids.
        call: how to ask the module for some rows, given it and what `inputs` made of them.
        rows: that pass through the module at once.
        pieces: of a row that a tokenizer reads, its marks among them; None: 128, for tags 256. The rest of a longer
            text is cut off, so that its answer is not the module's to the whole text; of words only pieces that
            continue one are. Each row kept for late labels takes so many places.
        seed: of the draws among the rows.
        output: "label", "number" or "tags".

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

    answer = ANSWERS[output](outputs)
    if not any(True for _ in elastic_modules(module)):
        elasticize(module)
    frame = read_table(statistics_from)
    schema = infer(frame, target, output=output, kinds=kinds, id=id)
    columns = [column for spec in schema.inputs for column in spec.columns]
    read, own = readable(inputs, columns, answer, answer.pieces if pieces is None else pieces)
    config = Config.read({"model": {"dim": answer.width, "heads": 1}, "seed": seed})
    given = Given(schema.inputs, module, read, call or own, answer)
    checked = check_rows(frame, schema, need_target=True)
    model = name_elastic(WrappedModel(schema, config, given, checked.frame, rows)).eval()
    known = model.encode(checked.frame, target=True)
    assert known.target is not None
    logits = model.logits(known)
    model.output.calibrate(logits, known.target)
    model.statistics = gather(model, checked.frame, known, known, logits)
    model.report = {"rows": len(known), "quarantined": len(checked.problems), "wrapped": type(module).__name__}
    model.report["valid"] = model.output.metrics(logits, known.target)
    return model


def readable(inputs: Any, columns: Sequence[str], answer: Answer, pieces: int) -> tuple[Reader, Call]:
    """How rows become a tensor, and how the module is asked; a tokenizer reads the only column."""
    if hasattr(inputs, "pad_token_id"):
        return answer.tokenized(inputs, columns, pieces)
    if not callable(inputs):
        raise ConfigError(
            f"`inputs` turns rows into a tensor: expected a function of a frame, or a tokenizer of Hugging Face; "
            f"got {type(inputs).__name__}."
        )
    return inputs, lambda module, values: module(values)
