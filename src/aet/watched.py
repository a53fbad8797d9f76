"""A model's stream under watch: what `aet.monitoring.watching` reads of rows, and of the source when it was trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from aet.attention.state import applied
from aet.batch import Batch
from aet.model import Model
from aet.monitoring.advice import Facts
from aet.monitoring.performance import ESTIMATORS, UNKNOWN
from aet.monitoring.reference import Reference
from aet.monitoring.watching import Signal, Watch
from aet.outputs.label import LabelOutput
from aet.statistics import measured
from aet.summaries import summaries

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream

Floats = npt.NDArray[np.float64]

VIEWED, HELD = 512, 1024
"""Training rows to which the view of features is fitted, and held-out rows that are the reference, at most."""


def watch(model: Model, **settings: Any) -> Watch:
    """A watch against the model's own statistics; arguments as in `Watch`.

    What the run folder does not keep, because an earlier version or `aet.update` wrote it, is learned from the stream's
    first rows, and the watch's report says so.

    >>> import pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(300, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame[:200], target="sign", config={"train": {"epochs": 3}})
    >>> own = watch(model)
    >>> see(own, model, frame[200:])
    []
    >>> see(own, model, frame[200:].assign(a=9.0))[0].text
    "Input drift: column 'a' has left the training data since about row 100 (... above all training rows; ..."
    """
    known = model.statistics
    if known is None:
        return Watch(**settings)
    return Watch(replace(known.watch or Reference(), held_out=known.held_out), **settings)


def see(own: Watch, model: Model, frame: pd.DataFrame, features: bool = True) -> list[Signal]:
    """Show a watch the good rows of a frame, as the source answers them: a pass; gives the alarms that they raise."""
    return own.see(**shows(model, frame, features))


def shows(model: Model, frame: pd.DataFrame, features: bool = True) -> dict[str, Any]:
    """The arguments of `Watch.see` for the good rows of a frame, as the source answers them: a pass."""
    checked = model.check(frame)
    cells = measured(checked.frame, model.schema)
    with applied(None):
        vectors, probabilities = read(model, model.encode(checked.frame), features)
    return {"columns": arrays(cells), "features": vectors, "probabilities": probabilities}


def facts(stream: Stream, own: Watch | None = None) -> Facts:
    """What is known of a stream, for `aet.monitoring.advice.advise`: of its source's answers, its guard, and a watch.

    Raises ConfigError for answers that are near rather than right (numbers), DataError for a run without the figures.

    >>> import pandas as pd, aet
    >>> from aet.monitoring.advice import advise
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> stream = aet.train(frame, target="sign", config={"train": {"epochs": 5}}).stream()
    >>> advise(facts(stream)).act
    'hold'
    """
    held = stream.answered.held_out
    seen = stream.answered.seen("source")
    estimator = ESTIMATORS["delayed" if seen.labelled is not None and len(seen.labelled) else "doc"](held)
    evidence, truth = stream.guard.evidence(), seen.labelled.truth() if seen.labelled is not None else UNKNOWN
    gain = None if evidence["gain"] is None else (evidence["gain"], *evidence["gain_interval"])
    seconds = 1000 * stream.trace.seconds["adapting"] / stream.rows if stream.rows else np.nan
    return Facts(
        source_accuracy=held.accuracy,
        signals=sorted({signal.kind for signal in own.signals}) if own is not None else (),
        estimate=estimator.estimate(seen) if len(seen.confidence) else None,
        measured=truth if truth.rows else None,
        gain=None if gain is None else (float(np.clip(gain[0], *gain[1:])), *gain[1:]),
        guard_serves=stream.guard.serving,
        classes=stream.model.output.width,
        train_seconds=float(stream.model.report.get("seconds", np.nan)),
        adapt_seconds=seconds,
    )


def read(model: Model, batch: Batch, features: bool = True) -> tuple[Floats | None, Floats]:
    """Features (N, D), None for a tagger or if not wanted, and what is watched of the answers."""
    if not features or model.output.reads != "summary":
        return None, shown(model, model.logits(batch))
    with torch.no_grad():
        summary, logits = summaries(model, batch, model.rows_at_once())
    return summary.double().numpy(), shown(model, logits)


def shown(model: Model, logits: Tensor) -> Floats:
    """What a watch reads of answers: probabilities (N, C) of classes, numbers (N,), else the confidence (N,)."""
    if isinstance(model.output, LabelOutput):
        return np.asarray(model.output.probabilities(logits).double().numpy())
    answers = model.output.answers(logits)
    named = "prediction" if model.output.kind == "number" else "confidence"
    return answers[named].to_numpy(np.float64)


def errors(model: Model, logits: Tensor, target: Tensor) -> Floats:
    """Errors (N,) of answers: 0 right, 1 wrong; for numbers their distance in spreads of the target, at most 1."""
    right = model.output.hits if model.output.probable else model.output.scores
    return np.asarray(1 - right(logits, target).double().numpy()).clip(0, 1)


@torch.no_grad()
def compared(model: Model, cells: pd.DataFrame | None, train: Batch, valid: Batch, logits: Tensor) -> Reference | None:
    """What drift will be measured against; None where no row was held out.

    cells: what `aet.statistics.measured` gives of training rows; logits (B, width): answers to the held-out rows.
    """
    if not len(valid) or not len(train):
        return None
    held = valid[torch.arange(min(len(valid), HELD))]
    features, _ = read(model, held)
    known, _ = read(model, train[torch.arange(min(len(train), VIEWED))], features is not None)
    assert held.target is not None
    return Reference.of(
        columns=None if cells is None else arrays(cells),
        features=features,
        probabilities=shown(model, logits[: len(held)]),
        errors=errors(model, logits[: len(held)], held.target),
        known_features=known,
        seed=model.config.seed,
    )


def arrays(cells: pd.DataFrame) -> dict[str, Any]:
    """Measured cells (`aet.statistics.measured`), an array a column."""
    return {str(name): cells[name].to_numpy() for name in cells}
