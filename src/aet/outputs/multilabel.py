"""Several yes-or-no answers a row: binary cross-entropy, one calibrated probability a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aet.config import Section
from aet.errors import ConfigError, DataError, FeedbackError
from aet.outputs.base import OUTPUTS, Output, doubted_temperature, expected_calibration_error


class MultilabelSettings(Section):
    """`output` for several yes-or-no answers a row."""

    class_weight: Literal["balanced"] | None = Field(
        None, description="balanced: the ones of a label weigh its zeros / its ones."
    )


@OUTPUTS.register("multilabel")
class MultilabelOutput(Output):
    """Targets: (B, K) zeros and ones."""

    kind = "multilabel"
    metric = score_name = "accuracy"
    temperature: Tensor
    positive_weight: Tensor

    @property
    def width(self) -> int:
        """Number of labels."""
        return len(self.targets)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """Check that every label is sometimes on and sometimes off."""
        chosen = MultilabelSettings.checked("output", settings)
        target = self.encode(frame)
        shares = target.mean(0)
        for name, share in zip(self.targets, shares.tolist(), strict=True):
            if share in (0.0, 1.0):
                raise DataError(
                    f"The label {name!r} is always {int(share)} in the training rows: expected both 0 and 1. "
                    "Drop it from the target, or add rows."
                )
        self.reserve()
        if chosen.class_weight == "balanced":
            self.positive_weight.copy_((1 - shares) / shares)

    def reserve(self) -> None:
        """Buffers."""
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("positive_weight", torch.ones(self.width))

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Nothing but the buffers."""
        self.reserve()

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """(B, K) zeros and ones."""
        try:
            target = frame[list(self.targets)].astype(float).to_numpy(np.float32)
        except (TypeError, ValueError) as error:
            raise FeedbackError(f"Labels of {list(self.targets)} must be 0 or 1: {error}.") from error
        if not np.isin(target, (0.0, 1.0)).all():
            raise FeedbackError(f"Labels of {list(self.targets)} must be 0 or 1; other values were given.")
        return torch.tensor(target)

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean binary cross-entropy over the labels."""
        return F.binary_cross_entropy_with_logits(
            logits, target, pos_weight=self.positive_weight, reduction="none"
        ).mean(-1)

    def joined(self, logits: Tensor) -> Tensor:
        """Logit log p/(1 - p) of the members' mean probability p."""
        return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """σ(z / T), (B, K)."""
        return torch.sigmoid(logits / self.temperature.to(logits.device))

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """T minimises the validation loss, as far as `doubt` allows."""

        def loss(smoothing: float) -> Callable[[float], Tensor]:
            soft = torch.lerp(target, 1 - target, smoothing)
            return lambda t: F.binary_cross_entropy_with_logits(logits / t, soft)

        self.temperature.fill_(doubted_temperature(loss, len(target)))

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Logits over T in the order of the own labels; ConfigError if the other has others."""
        self.of_my_kind(other)
        assert isinstance(other, MultilabelOutput)
        if set(other.targets) != set(self.targets):
            raise ConfigError(
                f"The other model answers {sorted(other.targets)}, this one {sorted(self.targets)}: expected the same "
                "labels. Train it with the same targets."
            )
        return (logits / other.temperature.to(logits.device))[:, [other.targets.index(name) for name in self.targets]]

    def pooled(self, logits: Tensor) -> Tensor:
        """The log-odds of the mean probability."""
        on, off = (F.logsigmoid(z).logsumexp(0) for z in (logits, -logits))
        return on - off

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL between the yes-or-no answers at temperature τ, mean over the labels."""
        return tempered_divergence(logits, taught, temperature)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`: the names of the labels that are on, joined by "|"; `confidence`: of the least sure label."""
        p = self.probabilities(logits).cpu().numpy()
        names = np.array(self.targets)
        out = pd.DataFrame(
            {
                "prediction": pd.Series(["|".join(names[row]) for row in p > 0.5], dtype=object),
                "confidence": np.maximum(p, 1 - p).min(-1),
            }
        )
        if proba:
            out = pd.concat([out, pd.DataFrame(p, columns=[f"p_{name}" for name in self.targets])], axis=1)
        return out

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """Share of labels that are right."""
        return ((logits > 0) == (target > 0.5)).float().mean(-1)

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Share of labels that they answer otherwise."""
        return ((one > 0) != (other > 0)).float().mean(-1)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 where the least sure label is right."""
        right = (logits > 0) == (target > 0.5)
        return right.gather(-1, logits.abs().argmin(-1, keepdim=True)).squeeze(-1).float()

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Mean binary entropy over log 2."""
        p = self.probabilities(logits)
        entropy: Tensor = (torch.special.entr(p) + torch.special.entr(1 - p)).mean(-1)
        return entropy / math.log(2)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """Share of right labels, of wholly right rows, macro F1, log loss, calibration error."""
        right = (logits > 0) == (target > 0.5)
        p = self.probabilities(logits)
        truth, guess = (target > 0.5).double(), (logits > 0).double()
        f1 = 2 * (truth * guess).sum(0) / (truth + guess).sum(0).clamp_min(1)  # (K,), 0 where there is none
        confidence = torch.maximum(p, 1 - p).flatten().cpu()
        return {
            "accuracy": float(right.float().mean()),
            "exact_match": float(right.all(-1).float().mean()),
            "macro_f1": float(f1.mean()),
            "log_loss": float(F.binary_cross_entropy(p.clamp(1e-7, 1 - 1e-7), target)),
            "ece": expected_calibration_error(confidence, right.float().flatten().cpu()),
        }


def tempered_divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """τ² KL between the yes-or-no answers at temperature τ, mean over the labels, of each row (B,)."""
    z, t = logits / temperature, taught / temperature
    on, off = F.logsigmoid(t) - F.logsigmoid(z), F.logsigmoid(-t) - F.logsigmoid(-z)
    p = torch.sigmoid(t)
    return temperature**2 * (p * on + (1 - p) * off).mean(-1)
