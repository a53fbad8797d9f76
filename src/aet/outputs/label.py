"""One class a row: cross-entropy, calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from aet.errors import DataError, FeedbackError, nearest
from aet.outputs.base import OUTPUTS, Output, expected_calibration_error, fit_temperature


@OUTPUTS.register("label")
class LabelOutput(Output):
    """Two or more classes. Targets: (B,) class numbers.

    Settings: `class_weight` ("balanced" weighs each class by N / (C·N_c), as scikit-learn does).
    """

    kind = "label"
    metric = "accuracy"
    temperature: Tensor
    class_weight: Tensor

    classes: list[Any]

    @property
    def width(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any]) -> None:
        """The classes, sorted, and their weights."""
        column = frame[self.targets[0]]
        counts = column.value_counts()
        self.classes = sorted((plain(value) for value in counts.index), key=lambda v: (str(type(v)), v))
        if len(self.classes) < 2:
            raise DataError(
                f"The target {self.targets[0]!r} has one class, {self.classes}: expected at least two. "
                "Add rows of another class, or name another target."
            )
        self.reserve()
        if settings.get("class_weight") == "balanced":
            number = torch.tensor([counts[c] for c in self.classes], dtype=torch.float32)
            self.class_weight.copy_(number.sum() / (len(number) * number))

    def reserve(self) -> None:
        """Buffers whose size is known with the classes."""
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("class_weight", torch.ones(self.width))

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
        place.update({str(value): number for value, number in list(place.items())})
        codes = []
        for value in frame[self.targets[0]]:
            value = plain(value)
            code = place.get(value, place.get(str(value)))
            if code is None:
                raise FeedbackError(
                    f"{value!r} is no class of the target {self.targets[0]!r}. {nearest(str(value), map(str, self.classes))} "
                    "A new class needs new training."
                )
            codes.append(code)
        return torch.tensor(codes, dtype=torch.long)

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """w_y · (-log softmax(z)_y)."""
        losses = F.cross_entropy(logits, target, reduction="none")
        return losses * self.class_weight[target]

    def probabilities(self, logits: Tensor) -> Tensor:
        """softmax(z / T), (B, C)."""
        return F.softmax(logits / self.temperature, dim=-1)

    def calibrate(self, logits: Tensor, target: Tensor) -> None:
        """T minimises the validation loss."""
        found = fit_temperature(lambda log_t: F.cross_entropy(logits / log_t.exp(), target))
        self.temperature.fill_(found)

    def answers(self, logits: Tensor, proba: bool = False) -> pd.DataFrame:
        """`prediction`, `confidence`; with proba one column `p_{class}` a class."""
        p = self.probabilities(logits).cpu()
        confidence, place = p.max(-1)
        named = np.empty(len(self.classes), dtype=object)
        named[:] = self.classes
        out = pd.DataFrame({"prediction": named[place.numpy()], "confidence": confidence.numpy()})
        if proba:
            columns = [f"p_{value}" for value in self.classes]
            out = pd.concat([out, pd.DataFrame(p.numpy(), columns=columns)], axis=1)
        return out

    def scores(self, logits: Tensor, target: Tensor) -> Tensor:
        """1 where the class is right."""
        return (logits.argmax(-1) == target).float()

    def uncertainty(self, logits: Tensor) -> Tensor:
        """Entropy over log C."""
        p = self.probabilities(logits)
        return torch.special.entr(p).sum(-1) / float(np.log(self.width))

    def metrics(self, logits: Tensor, target: Tensor) -> dict[str, float]:
        """Accuracy, balanced accuracy, macro F1, log loss, calibration error."""
        from sklearn.metrics import balanced_accuracy_score, f1_score

        truth, guess = target.cpu().numpy(), logits.argmax(-1).cpu().numpy()
        p = self.probabilities(logits)
        confidence = p.max(-1).values
        present = np.unique(truth)
        return {
            "accuracy": float((truth == guess).mean()),
            "balanced_accuracy": float(np.mean([(guess[truth == c] == c).mean() for c in present]))
            if len(present) < 2
            else float(balanced_accuracy_score(truth, guess)),
            "macro_f1": float(f1_score(truth, guess, average="macro", labels=present, zero_division=0.0)),
            "log_loss": float(F.nll_loss(p.clamp_min(1e-12).log(), target)),
            "ece": expected_calibration_error(confidence.cpu(), self.scores(logits, target).cpu()),
        }


def plain(value: Any) -> Any:
    """NumPy scalars as Python's, whole floats as integers, so that classes survive JSON and compare."""
    if hasattr(value, "item"):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value
