"""Several targets of different kinds in one model: one summary, one part of the logits for each, losses in balance.

    l = Σ_k [ e^{-s_k} l_k + log(1 + e^{s_k}) ]   ("uncertainty"),      l = 1/K Σ_k l_k   ("mean")

e^{s_k} is the learned variance of target k: what cannot be learned well weighs less (Kendall, Gal and Cipolla 2018,
1705.07115). log(1 + e^s) in place of their ½s keeps every loss above 0 (Liebel and Körner 2018, 1805.06334), or a
target that is learned perfectly would pull s down for ever. A target that a row lacks adds nothing for that row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from aet.config import ModelConfig, Section
from aet.errors import ConfigError, FeedbackError, nearest
from aet.outputs.base import OUTPUTS, Output
from aet.schema import Schema
from aet.targets import target_kind


class SeveralSettings(Section):
    """`output` for several targets."""

    balance: Literal["uncertainty", "mean"] = Field("uncertainty", description="How the targets' losses are balanced.")
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Settings of each target's kind.")


@OUTPUTS.register("several")
class SeveralOutput(Output):
    """Targets: (B, K) class numbers or standardised numbers, NaN where missing. Logits: of all parts, in order."""

    kind = "several"
    metric = score_name = "score"
    probable = False

    def __init__(self, targets: Sequence[str], dim: int) -> None:
        super().__init__(targets, dim)
        self.kinds: dict[str, str] = {}
        self.balanced = True
        self.parts = nn.ModuleList()

    @classmethod
    def of(cls, schema: Schema, dim: int, trunk: ModelConfig | None = None) -> SeveralOutput:
        """With the kinds that the schema says."""
        made = cls(schema.targets, dim)
        made.take_kinds(dict(zip(schema.targets, schema.target_kinds, strict=True)))
        return made

    @property
    def width(self) -> int:
        """Logits of all parts."""
        return sum(part.width for part in self.each())

    def each(self) -> Iterator[Output]:
        """The parts, one a target."""
        for part in self.parts:
            assert isinstance(part, Output)
            yield part

    def take_kinds(self, kinds: Mapping[str, str]) -> None:
        """Make the parts, each of its kind."""
        self.kinds = dict(kinds)
        self.parts = nn.ModuleList(OUTPUTS[self.kinds[name]]((name,), self.dim) for name in self.targets)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Classes and scales of each target over the rows that have it."""
        chosen = SeveralSettings.checked("output", settings)
        for name in chosen.targets:
            if name not in self.targets:
                raise ConfigError(f"The setting output.targets.{name} is of no target. {nearest(name, self.targets)}")
        self.balanced = chosen.balance == "uncertainty"
        self.take_kinds(self.kinds or {name: target_kind(frame, name) for name in self.targets})
        for name, part in zip(self.targets, self.each(), strict=True):
            part.fit(frame[frame[name].notna()], chosen.targets.get(name, {}))

    def build(self, members: int = 1) -> None:
        """One head for all parts, and s."""
        super().build(members)
        if self.balanced:
            self.log_variance = nn.Parameter(torch.zeros(len(self.targets)))

    def settings(self) -> dict[str, Any]:
        """Kinds, balance, and what each part learned."""
        return {"kinds": self.kinds, "balanced": self.balanced, "parts": [part.settings() for part in self.each()]}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        self.balanced = bool(settings["balanced"])
        self.take_kinds(settings["kinds"])
        for part, given in zip(self.each(), settings["parts"], strict=True):
            part.load_settings(given)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(B, K); raises FeedbackError for a row without any answer, and for one that a part cannot give."""
        known = frame[list(self.targets)].notna().to_numpy()
        if not known.any(1).all():
            raise FeedbackError(f"Each row takes an answer for one of {', '.join(self.targets)} or more; one has none.")
        target = torch.full(known.shape, torch.nan)
        for place, part in enumerate(self.each()):
            rows = known[:, place]
            target[torch.tensor(rows), place] = part.encode(frame[rows]).to(target.dtype)
        return target

    def split(self, logits: Tensor) -> Sequence[Tensor]:
        """The logits of each part."""
        parts: Sequence[Tensor] = logits.split([part.width for part in self.each()], -1)
        return parts

    def of_parts(self, logits: Tensor, target: Tensor) -> Iterator[tuple[Output, Tensor, Tensor, Tensor]]:
        """Part, logits, target with something harmless where it is missing, and which rows have it (B,)."""
        for part, z, y in zip(self.each(), self.split(logits), target.unbind(-1), strict=True):
            filled = y.nan_to_num(0.0)
            yield part, z, filled.long() if part.kind == "label" else filled, ~y.isnan()

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """The formula above."""
        total = torch.zeros_like(logits[:, 0])
        for place, (part, z, y, known) in enumerate(self.of_parts(logits, target)):
            loss = part.losses(z, y)
            if self.balanced:
                s = self.log_variance[place]
                loss = (-s).exp() * loss + F.softplus(s)
            else:
                loss = loss / len(self.targets)
            total = total + torch.where(known, loss, 0.0)
        return total

    def joined(self, logits: Tensor) -> Tensor:
        """Part by part."""
        return torch.cat([part.joined(z) for part, z in zip(self.each(), self.split(logits), strict=True)], -1)

    def shares(self) -> dict[str, float]:
        """The weight of each target's loss."""
        weights = (
            (-self.log_variance.detach()).exp().tolist()
            if self.balanced
            else [1 / len(self.targets)] * len(self.targets)
        )
        return dict(zip(self.targets, weights, strict=True))

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """Each part on the rows that have its target."""
        for part, z, y, known in self.of_parts(logits, target):
            if known.any():
                part.calibrate(z[known], y[known])

    def mine(self, other: Output) -> SeveralOutput:
        """The other output, if it has the same targets; else ConfigError."""
        self.of_my_kind(other)
        assert isinstance(other, SeveralOutput)
        if other.targets != self.targets:
            raise ConfigError(
                f"The other model answers {list(other.targets)}, this one {list(self.targets)}: expected the same "
                "targets in the same order. Train it with them."
            )
        return other

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Part by part."""
        theirs = self.mine(other)
        pairs = zip(self.each(), theirs.each(), theirs.split(logits), strict=True)
        return torch.cat([part.translated(their, z) for part, their, z in pairs], -1)

    def pooled(self, logits: Tensor) -> Tensor:
        """Part by part."""
        return torch.cat([part.pooled(z) for part, z in zip(self.each(), self.split(logits), strict=True)], -1)

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """Mean over the parts."""
        triples = zip(self.each(), self.split(logits), self.split(taught), strict=True)
        return torch.stack([part.distance(z, t, temperature) for part, z, t in triples]).mean(0)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: all answers as text, `confidence`: of the least sure; for each target its own columns.

        Those are `{target}`, `{target}_confidence` and what else its kind gives, as `{target}_{column}`.
        """
        parts = [part.answers(z, proba) for part, z in zip(self.each(), self.split(logits), strict=True)]
        named = [
            part.rename(columns={c: name if c == "prediction" else f"{name}_{c}" for c in part.columns})
            for name, part in zip(self.targets, parts, strict=True)
        ]
        texts = [
            [f"{name}={shown(v)}" for v in part["prediction"]] for name, part in zip(self.targets, parts, strict=True)
        ]
        whole = pd.DataFrame(
            {
                "prediction": pd.Series(["|".join(row) for row in zip(*texts, strict=True)], dtype=object),
                "confidence": np.min([part["confidence"].to_numpy() for part in parts], 0),
            }
        )
        return pd.concat([whole, *named], axis=1)

    def mean_known(self, figures: Sequence[Tensor], target: Tensor) -> Tensor:
        """Mean (B,) of the parts' figures over the targets that a row has."""
        known = ~target.isnan()
        stacked = torch.stack(list(figures), -1)
        return torch.where(known, stacked, 0.0).sum(-1) / known.sum(-1).clamp_min(1)

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean of the parts' scores."""
        return self.mean_known([part.scores(z, y) for part, z, y, _ in self.of_parts(logits, target)], target)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """The largest of the parts: a row may have any of the targets."""
        pairs = zip(self.each(), self.split(one), self.split(other), strict=True)
        return torch.stack([part.apart(a, b) for part, a, b in pairs]).amax(0)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Mean of the parts' uncertainties."""
        return torch.stack([part.uncertainty(z) for part, z in zip(self.each(), self.split(logits), strict=True)]).mean(
            0
        )

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """`score`, the mean of the rows' scores, and each target's figures over the rows that have it."""
        figures = {"score": float(self.scores(logits, target).mean())}
        for (part, z, y, known), name in zip(self.of_parts(logits, target), self.targets, strict=True):
            # A target that no row has is scored on nothing it was asked for: its figures are left as 0.
            found = part.metrics(z[known], y[known]) if known.any() else dict.fromkeys(part.metrics(z[:1], y[:1]), 0.0)
            figures |= {f"{name}_{figure}": value for figure, value in found.items()}
        return figures


def shown(value: Any) -> str:
    """An answer as text: four digits of a number.

    >>> shown(3.14159), shown("cat")
    ('3.142', 'cat')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)
