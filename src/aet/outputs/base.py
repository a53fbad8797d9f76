"""What an output kind is: summary in; answer, loss, score and metric out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from aet.attention.state import ElasticModule
from aet.config import ModelConfig
from aet.errors import ConfigError, FeedbackError
from aet.members import MemberHeads, for_each_member
from aet.registry import Registry
from aet.schema import Schema

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from aet.inputs.base import Input

OUTPUTS: Registry[type[Output]] = Registry("output kind")


class Output(ElasticModule):
    """A linear head on the summary, with the head's bias as its dial.

    summary (B, dim) -> logits (B, width)
    """

    kind: str
    metric: str
    """The figure people read first; higher is better."""
    score_name: str
    """What the mean of `scores` is; `metrics` has it under this name."""
    probable: ClassVar[bool] = True
    """Whether `confidence` is a probability of being right."""
    rival: ClassVar[str] = ""
    """What an answer that needs no model is called, which a proposal must beat as well; empty where there is none."""
    reads: ClassVar[str] = "summary"
    """What `forward` takes: the trunk's "summary" (B, dim), or its tokens with their marks (`aet.places`). With
    "tokens" there is an answer for each, with "steps" one that is written step by step, knowing its beginning
    (`aet.outputs.told`); with "last" it is the last token of an input, in training those of all its places
    (`aet.last_place`).
    """
    head: nn.Linear | MemberHeads

    def __init__(self, targets: Sequence[str], dim: int) -> None:
        super().__init__()
        self.targets, self.dim = tuple(targets), dim

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> Output:
        """The output of a schema; `trunk` are the model's settings, for an output with blocks of its own."""
        return cls(schema.targets, dim)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The pieces that the answers are written in, once fitted: inputs may read the same (`Input.share`)."""
        return None

    @property
    def embeddings(self) -> Tensor | None:
        """Of these pieces, (V, dim), once built."""
        return None

    @property
    @abstractmethod
    def width(self) -> int:
        """How many logits."""

    @abstractmethod
    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Learn classes or scale from the training rows; `settings` are checked here (ConfigError)."""

    def build(self, members: int = 1) -> None:
        """Make the head, or one for each of several members, once the width is known."""
        self.head = nn.Linear(self.dim, self.width) if members == 1 else MemberHeads(members, self.dim, self.width)

    def meet(self, parts: Mapping[str, Input]) -> None:
        """See the model's inputs by name, before any weights are made, for an output that shares some with one of them;
        nothing to do by default.
        """

    grown: int = 0
    """How many of the logits, the last ones, `grow` has added since the output was made or loaded."""

    def grow(self, frame: pd.DataFrame) -> list[Any]:
        """Learn answers that these rows have and the output lacks, the old logits unchanged; gives the new answers.

        Nothing to do where the answers are fixed by the columns.
        """
        return []

    def begin(self, values: Mapping[str, Tensor], target: Tensor) -> None:
        """Weights to start from, once they are made, from encoded training rows; as they are drawn by default."""

    def settings(self) -> dict[str, Any]:
        """JSON-able part of what `fit` learned."""
        return {}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back what `settings` gave."""

    @abstractmethod
    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Targets as a tensor; raises FeedbackError for an answer the model cannot give."""

    def encode_known(self, frame: pd.DataFrame) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Targets of the rows whose answer the model can give, and which of all rows (N,) those are."""
        try:
            return self.encode(frame), np.ones(len(frame), dtype=bool)
        except FeedbackError:
            known, pieces = np.ones(len(frame), dtype=bool), []
        for position in range(len(frame)):
            try:
                pieces.append(self.encode(frame.iloc[[position]]))
            except FeedbackError:
                known[position] = False
        return (torch.cat(pieces) if pieces else torch.empty(0)), known

    def matches(self, values: Mapping[str, Tensor], target: Tensor) -> None:
        """FeedbackError for targets that are not of these encoded rows; they always are where a row has one answer."""

    def pooling(self, tokens: int) -> nn.Module | None:
        """What sums up so many tokens, (B, T, dim) -> (B, dim) and weights (B, T); None for the trunk's attention."""
        return None

    def beside(self, logits: Tensor, values: Mapping[str, Tensor]) -> Tensor:
        """Logits (B, width) with what the encoded rows say of them beside the summary; as they are by default.

        For answers that are measured by their row, as forecasts are by the window that they continue.
        """
        return logits

    def unlearned(self, logits: Tensor) -> Tensor:
        """The logits (B, width) of the rival's answers to the same rows; as they are where there is none."""
        return logits

    def forward(self, summary: Tensor) -> Tensor:
        """Summary (B, dim) -> logits (B, width).

        Of an ensemble (B·k, dim) -> (B, k, width) in training, and in evaluation the members' joint answer (B, width).
        """
        logits = self.headed(summary)
        return logits if self.training or isinstance(self.head, nn.Linear) else self.joined(logits)

    def headed(self, read: Tensor) -> Tensor:
        """The head's logits (B, ..., width) under the dial."""
        logits: Tensor = self.head(read)
        dials = self.dials()
        if not dials:
            return logits
        bias = dials["bias"]
        if bias.shape[-1] < logits.shape[-1]:  # a state from before the output learned of more answers
            bias = nn.functional.pad(bias, (0, logits.shape[-1] - bias.shape[-1]))
        # A batched state has one bias a row.
        return logits + (bias[:, None] if bias.ndim > 1 and logits.ndim > 2 else bias)

    def joined(self, logits: Tensor) -> Tensor:
        """Members' logits (B, k, width) -> (B, width): those of their mean answer."""
        return logits.mean(1)

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of each row (B,); of members' logits (B, k, width) the mean over the members."""
        return for_each_member(self.row_losses, logits, target)

    @abstractmethod
    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of each row (B,) for logits (B, width)."""

    def loss(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Mean loss; rows count by their weight, so that weight 2 is the row given twice."""
        losses = self.losses(logits, target)
        return losses.mean() if weight is None else (losses * weight).sum() / weight.sum().clamp_min(1e-12)

    @abstractmethod
    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """What people get: `prediction`, `confidence` and, by kind or if asked, more columns."""

    def finished(self, answers: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
        """The answers with what is told in terms of the checked rows; as they are by default."""
        return answers

    def columns(self, logits: Tensor, frame: pd.DataFrame, proba: bool = False) -> dict[str, Any]:
        """`answers`, finished, by column (B,): a server has no use for the table, which takes long to make."""
        table = self.finished(self.answers(logits, proba), frame)
        return {str(name): table[name] for name in table}

    @abstractmethod
    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """How right each row is, (B,) in 0..1: what guards compare and streams report."""

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The largest difference of `scores` that any target could make between two answers to a row, (B,) in 0..1."""
        return (one != other).flatten(1).any(-1).float()

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Whether what `confidence` speaks of is right, (B,) in 0..1."""
        return self.scores(logits, target)

    def belief(self, logits: Tensor, target: Tensor) -> Tensor | None:
        """Probability that is given to each row's answer (B,); None for a kind that gives answers none."""
        return None

    @abstractmethod
    def uncertainty(self, logits: Tensor) -> Tensor:
        """How unsure each row is, (B,) in 0..1."""

    @abstractmethod
    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """All figures of the kind, `self.metric` among them."""

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """Fit the calibration on rows not trained on."""

    @abstractmethod
    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Calibrated logits (B, width) of another model's output in the terms of this one.

        Raises ConfigError if the other answers something else.
        """

    def of_my_kind(self, other: Output) -> None:
        """ConfigError unless the other output is of the same kind."""
        if other.kind != self.kind:
            raise ConfigError(
                f"The other model answers with {other.kind!r}, this one with {self.kind!r}: expected the same kind of "
                "output. Name a model with the same target, or say output=... for one of them."
            )

    @abstractmethod
    def pooled(self, logits: Tensor) -> Tensor:
        """One answer (B, width) from those of several models (M, B, width), each calibrated: their even mixture."""

    @abstractmethod
    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """How far logits (B, width) are from those of a teacher, (B,) from 0 on; 0 where they say the same."""

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """The head's bias, (width,); none for a part of an output that has one head for all."""
        return {"bias": (self.width,)} if "head" in self._modules else {}

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """B ← b + bias."""
        self.head.bias.add_(dials["bias"])


def doubt(rows: int) -> float:
    """How much the labels of so many validation rows are smoothed, 1 / (rows + 2) (after Platt 1999).

    >>> doubt(8), doubt(998)
    (0.1, 0.001)
    """
    return 1 / (rows + 2)


def doubted_temperature(loss: Callable[[float], Callable[[float], Tensor]], rows: int) -> float:
    """T that minimises the loss, but below 1 only as far as with labels smoothed by `doubt`.

    Rows that are all right do not prove certainty: their plain loss falls until T is at its bound. The loss has one
    minimum, so a T between that and 1 never raises it.

    Args:
        loss: smoothing -> T -> loss.
        rows: how many the loss is of.
    """
    return max(fit_temperature(loss(0.0)), min(1.0, fit_temperature(loss(doubt(rows)))))


def fit_temperature(losses: Callable[[float], Tensor]) -> float:
    """The temperature T between 1/20 and 20 that minimises `losses(T)`; 1 if none is better.

    The loss has one minimum (Guo et al. 2017, 1706.04599).

    >>> import torch
    >>> round(fit_temperature(lambda t: torch.tensor((t - 2.0) ** 2)), 2)
    2.0
    """
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(lambda log_t: float(losses(math.exp(log_t))), bounds=(-3.0, 3.0), method="bounded")
    return math.exp(best.x) if best.fun < float(losses(1.0)) else 1.0


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = 15) -> float:
    """Σ_b |B_b|/N · |accuracy(B_b) - confidence(B_b)| over equally wide bins (Naeini et al. 2015).

    >>> import torch
    >>> expected_calibration_error(torch.tensor([0.8, 0.8]), torch.tensor([1.0, 0.0]))
    0.3
    """
    place = (confidence * bins).long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, (correct - confidence).double())
    return round(float(gap.abs().sum() / max(len(confidence), 1)), 6)
