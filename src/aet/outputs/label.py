"""One class a row: cross-entropy, calibrated probabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from aet.config import Section
from aet.errors import ConfigError, DataError, FeedbackError, nearest
from aet.members import MemberHeads
from aet.outputs.base import OUTPUTS, Output, doubted_temperature, expected_calibration_error


class LabelSettings(Section):
    """`output` for one class a row."""

    class_weight: Literal["balanced"] | None = Field(
        None, description="balanced: each class weighs N / (C·N_c), as in scikit-learn."
    )


@OUTPUTS.register("label")
class LabelOutput(Output):
    """Two or more classes. Targets: (B,) class numbers."""

    kind = "label"
    metric = score_name = "accuracy"
    temperature: Tensor
    class_weight: Tensor

    classes: list[Any]

    @property
    def width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """The classes, sorted, and their weights."""
        chosen = LabelSettings.checked("output", settings)
        counts = Counter(plain(value) for value in frame[self.targets[0]])
        self.classes = sorted(counts, key=lambda v: (str(type(v)), v))
        if len(self.classes) < 2:
            raise DataError(
                f"The target {self.targets[0]!r} has one class, {self.classes}: expected at least two. "
                "Add rows of another class, or name another target."
            )
        self.reserve()
        if chosen.class_weight == "balanced":
            number = torch.tensor([counts[c] for c in self.classes], dtype=torch.float32)
            self.class_weight.copy_(number.sum() / (len(number) * number))

    def reserve(self) -> None:
        """Buffers whose size is known with the classes."""
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("class_weight", torch.ones(self.width))

    def grow(self, frame: pd.DataFrame) -> list[Any]:
        """Classes of these rows that are new come last, in order; their logits start at 0 for every row.

        Under balanced class weights a new class weighs N / (C·N_c) of these rows.
        """
        counts = Counter(plain(value) for value in frame[self.targets[0]])
        known = {*self.classes, *map(str, self.classes)}
        new = [value for value in counts if value not in known and str(value) not in known]
        new.sort(key=lambda v: (str(type(v)), v))
        if not new:
            return []
        balanced = bool((self.class_weight != 1).any())
        old, before = self.head, len(self.classes)
        self.classes = [*self.classes, *new]
        self.grown += len(new)
        weights = [len(frame) / (len(counts) * counts[value]) if balanced else 1.0 for value in new]
        self.class_weight = torch.cat([self.class_weight, self.class_weight.new_tensor(weights)])
        self.build(len(old.bias) if isinstance(old, MemberHeads) else 1)
        self.head.to(old.weight)
        with torch.no_grad():
            self.head.weight.zero_()[..., :before, :] = old.weight
            self.head.bias.zero_()[..., :before] = old.bias
        return new

    def settings(self) -> dict[str, Any]:
        """The classes."""
        return {"classes": self.classes}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back the classes."""
        self.classes = list(settings["classes"])
        self.reserve()

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Class numbers (B,)."""
        place = {value: number for number, value in enumerate(self.classes)}
        # Labels come back from files and people as text: 3, 3.0 and "3" are the same class if only one is known.
        for value, number in list(place.items()):
            place.setdefault(str(value), number)
        codes = []
        for value in frame[self.targets[0]]:
            value = plain(value)
            code = place.get(value, place.get(str(value)))
            if code is None:
                raise FeedbackError(
                    f"{value!r} is no class of the target {self.targets[0]!r}. "
                    f"{nearest(str(value), map(str, self.classes))} A new class needs new training."
                )
            codes.append(code)
        return torch.tensor(codes, dtype=torch.long)

    def row_losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """w_y · (-log softmax(z)_y)."""
        losses = F.cross_entropy(logits, target, reduction="none")
        return losses * self.class_weight[target]

    def joined(self, logits: Tensor) -> Tensor:
        """Log of the members' mean probability."""
        return F.log_softmax(logits, -1).logsumexp(1) - math.log(logits.shape[1])

    def probabilities(self, logits: Tensor) -> Tensor:
        """softmax(z / T), (B, C)."""
        return F.softmax(logits / self.temperature.to(logits.device), dim=-1)

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """T minimises the validation loss, as far as `doubt` allows."""

        def loss(smoothing: float) -> Callable[[float], Tensor]:
            return lambda t: F.cross_entropy(logits / t, target, label_smoothing=smoothing)

        self.temperature.fill_(doubted_temperature(loss, len(target)))

    def translated(self, other: Output, logits: Tensor) -> Tensor:
        """Logits over T in the order of the own classes; ConfigError if the other has others."""
        self.of_my_kind(other)
        assert isinstance(other, LabelOutput)
        own, theirs = ([str(value) for value in output.classes] for output in (self, other))
        if set(own) != set(theirs):
            lacks, more = sorted(set(own) - set(theirs))[:5], sorted(set(theirs) - set(own))[:5]
            raise ConfigError(
                f"The other model knows other classes of {self.targets[0]!r}: it lacks {lacks or 'none'} and has "
                f"besides {more or 'none'}. Train it on rows of the same {len(own)} classes."
            )
        return (logits / other.temperature.to(logits.device))[:, [theirs.index(value) for value in own]]

    def pooled(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean probability."""
        return F.log_softmax(logits, -1).logsumexp(0) - math.log(len(logits))

    def distance(self, logits: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
        """τ² KL(softmax(taught / τ) ‖ softmax(z / τ)): τ² keeps the size of the gradient."""
        return tempered_divergence(logits, taught, temperature)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`, `confidence`; with proba one column `p_{class}` a class."""
        p = self.probabilities(logits).cpu()
        named, confidence = self.named(p)
        out = pd.DataFrame({"prediction": pd.Series(named, dtype=object), "confidence": confidence})
        if proba:
            columns = [f"p_{value}" for value in self.classes]
            out = pd.concat([out, pd.DataFrame(p.numpy(), columns=columns)], axis=1)
        return out

    def columns(self, logits: Tensor, frame: pd.DataFrame, proba: bool = False) -> dict[str, Any]:
        """The same as arrays (B,)."""
        p = self.probabilities(logits).cpu()
        named, confidence = self.named(p)
        shares = {f"p_{value}": p[:, number].numpy() for number, value in enumerate(self.classes)} if proba else {}
        return {"prediction": named, "confidence": confidence, **shares}

    def named(self, probabilities: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The likeliest class (B,) and its probability (B,)."""
        confidence, place = probabilities.max(-1)
        classes = np.empty(len(self.classes), dtype=object)
        classes[:] = self.classes
        return classes[place.numpy()], confidence.numpy()

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 where the class is right."""
        return (logits.argmax(-1) == target).float()

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """1 where they name another class."""
        return (one.argmax(-1) != other.argmax(-1)).float()

    def belief(self, logits: Tensor, target: Tensor) -> Tensor:
        """Probability of the class."""
        return self.probabilities(logits).gather(-1, target[:, None]).squeeze(-1)

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Entropy over log C."""
        entropy: Tensor = torch.special.entr(self.probabilities(logits)).sum(-1)
        return entropy / math.log(self.width)

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """Accuracy, balanced accuracy and macro F1 (over the classes that occur), log loss, calibration error."""
        guess = logits.argmax(-1)
        p = self.probabilities(logits)
        joint = (
            torch.bincount(target * self.width + guess, minlength=self.width**2).view(self.width, self.width).double()
        )
        truths, guesses, hits = joint.sum(1), joint.sum(0), joint.diagonal()  # (C,) each
        present = truths > 0
        return {
            "accuracy": float((target == guess).double().mean()),
            "balanced_accuracy": float((hits / truths)[present].mean()),
            "macro_f1": float((2 * hits / (truths + guesses))[present].mean()),
            "log_loss": float(F.nll_loss(p.clamp_min(1e-12).log(), target)),
            "ece": expected_calibration_error(p.max(-1).values.cpu(), self.scores(logits, target).cpu()),
        }


def plain(value: Any) -> Any:
    """NumPy scalars as Python's, whole floats as integers, dates and the like as text: classes survive JSON.

    >>> plain(3.0), plain("3"), plain(pd.Timestamp("2024-05-01"))
    (3, '3', '2024-05-01 00:00:00')
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def tempered_divergence(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """τ² KL(softmax(taught / τ) ‖ softmax(z / τ)) of each row (B,)."""
    logs, wanted = (F.log_softmax(z / temperature, -1) for z in (logits, taught))
    return temperature**2 * (wanted.exp() * (wanted - logs)).sum(-1)
