"""Estimates of a stream's accuracy that cost passes: answers under dropout, and answers of other models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from aet.adaptation.answered import line
from aet.attention.state import ElasticState, applied, merge
from aet.batch import Batch
from aet.ensemble import Ensemble
from aet.errors import ConfigError
from aet.model import Model
from aet.monitoring.disagreement import agreement
from aet.monitoring.line import agreements, on_the_line
from aet.monitoring.performance import ESTIMATORS, Seen

if TYPE_CHECKING:
    from aet.adaptation.stream import Stream

RATE = 0.3
"""Share of activations left out."""


def estimate(stream: Stream, dropout: int, beside: Model | Ensemble | None, newest: int) -> pd.DataFrame:
    """`Stream.estimate`: what is known without passes, then what the newest rows kept add."""
    if dropout < 0 or newest < 1:
        raise ConfigError(f"dropout is 0 passes or more, newest 1 row or more: got {dropout} and {newest}.")
    if (dropout or beside is not None) and stream.model.output.reads != "summary":
        raise ConfigError(
            "dropout and beside compare whole answers, and an answer of many words is hardly ever the same as another: "
            f"expected neither for {stream.model.output.kind!r}. Leave both out."
        )
    others = members(stream.model, beside) if beside is not None else []
    table = stream.answered.estimates()
    if not (dropout or others) or not len(stream.kept):
        return table
    rows = stream.kept.batch[torch.arange(len(stream.kept))[-newest:]]
    answers = [predictions(stream.model, other, rows) for other in others]
    apart = [own for own, other in zip(answers, others, strict=True) if other is not stream.model]
    made = []
    # Corrected answers depend on the rows that came with them, which are not all at hand.
    for side in ("source",) if stream.choice.correct else ("served", "source"):
        state = stream.served_state if side == "served" else None
        made += [
            {**shown, **truth_of(table, side)} for shown in disagreements(stream, side, state, rows, dropout, apart)
        ]
    if isinstance(beside, Ensemble) and "agreement" in beside.report:
        kept = stream.answered.held_out
        found = on_the_line(kept.accuracy, beside.report["agreement"], agreements(codes(answers)), kept.rows, len(rows))
        made.append({**line("source", "line", found), **truth_of(table, "source")})
    passes = len(rows) * (len(others) + 2 * (1 + dropout))
    stream.trace.passes["estimating"] = stream.trace.passes.get("estimating", 0.0) + passes
    return pd.concat([table, pd.DataFrame(made)], ignore_index=True)


def truth_of(table: pd.DataFrame, side: str) -> dict[str, Any]:
    """The truth beside a side's estimates."""
    first = table[table["answers"] == side].iloc[0]
    return {name: first[name] for name in ("truth", "truth_low", "truth_high", "labels")}


def disagreements(
    stream: Stream, side: str, state: ElasticState | None, rows: Batch, dropout: int, apart: list[Any]
) -> list[dict[str, Any]]:
    """Estimates of one side on these rows, under its present state: with dropout passes, and with others' answers."""
    output, kept, made = stream.model.output, stream.answered.held_out, []
    with applied(state):
        logits = stream.model.logits(rows)
    sure, own = stream.answered.confidence(logits), output.answers(logits)["prediction"].to_numpy()
    if dropout:
        again = [output.answers(z)["prediction"].to_numpy() for z in under_dropout(stream.model, state, rows, dropout)]
        mix = output.answers(logits, proba=True).filter(regex="^p_").to_numpy(np.float64).mean(0)
        seen = Seen(sure, agreement=agreement(own, again), mix=mix / mix.sum())
        made.append(line(side, "dropout", ESTIMATORS["dropout"](kept).estimate(seen)))
    if apart:
        seen = Seen(sure, agreement=agreement(own, apart))
        made.append(line(side, "seeds", ESTIMATORS["seeds"](kept).estimate(seen)))
    return made


def members(model: Model, beside: Model | Ensemble) -> list[Model]:
    """The other models, which must read encoded rows as this one does; ConfigError if one does not or there is none."""
    others = beside.members if isinstance(beside, Ensemble) else [beside]
    if not all(reads_alike(model, other) for other in others):
        raise ConfigError(
            "The other model reads rows otherwise than this one: expected the same inputs with the same scales and "
            "vocabularies. Train both on the same rows, as aet.train_ensemble does, and stream one of its members."
        )
    if all(other is model for other in others):
        raise ConfigError("A model always agrees with itself: expected another one beside it, of another seed.")
    return list(others)


def reads_alike(model: Model, other: Model) -> bool:
    """Whether both encode a row to the same tensors: the same inputs, settings, and scales."""
    own, theirs = dict(model.parts()), dict(other.parts())
    if {name: part.settings() for name, part in own.items()} != {name: p.settings() for name, p in theirs.items()}:
        return False
    buffers = [{f"{n}.{b}": t for n, part in parts.items() for b, t in part.named_buffers()} for parts in (own, theirs)]
    return buffers[0].keys() == buffers[1].keys() and all(t.equal(buffers[1][n]) for n, t in buffers[0].items())


def predictions(model: Model, other: Model, rows: Batch) -> Any:
    """What another model answers (N,), in this one's classes."""
    with applied(None):
        logits = model.output.translated(other.output, other.logits(rows))
    return model.output.answers(logits)["prediction"].to_numpy()


def codes(answers: list[Any]) -> np.ndarray:
    """Answers of several models (M, N) as numbers."""
    return pd.factorize(np.concatenate(answers))[0].reshape(len(answers), -1)


@torch.no_grad()
def under_dropout(
    model: Model, state: ElasticState | None, rows: Batch, passes: int, rate: float = RATE, seed: int = 0
) -> list[Tensor]:
    """Logits (N, width) of passes of a copy with a share `rate` of its activations left out."""
    loose = merge(model, ElasticState.zeros(model) if state is None else state).eval()
    for module in loose.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
            module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [
            torch.cat([loose(rows[index].to(model.device)).cpu() for index in torch.arange(len(rows)).split(256)])
            for _ in range(passes)
        ]
