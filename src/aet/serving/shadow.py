"""A version that answers the same rows unseen: how often it agrees with what was answered, and who is right."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from aet.errors import AetError, ConfigError
from aet.model import Model
from aet.outputs.label import LabelOutput
from aet.serving.cells import plain_cell
from aet.training.worth import paired

log = logging.getLogger(__name__)
MOST = 10_000
"""Rows that wait for their labels, and labels that are counted: the newest."""


class Shadow:
    """Counts since it was made; thread-safe.

    Args:
        version: that answers unseen.
        model: of it.
        beside: the version that serves; streams of others are not compared.

    Raises ConfigError for a model whose answers are not one class a row.
    """

    def __init__(self, version: str, model: Model, beside: str) -> None:
        if not isinstance(model.output, LabelOutput):
            raise ConfigError(
                f"Version {version} cannot answer unseen: shadows are of models whose answers are one class a row, and "
                f"these are of the kind {model.output.kind!r}. Compare versions with `aet retrain`."
            )
        self.version, self.model, self.beside = version, model, beside
        self.rows = self.agreed = self.failed = self.passed_over = 0
        self._waits: OrderedDict[tuple[int, Hashable], tuple[Any, Any]] = OrderedDict()
        self._right: deque[tuple[bool, bool]] = deque(maxlen=MOST)
        self._lock = threading.Lock()

    def answer(self, stream: int, frame: pd.DataFrame, given: Sequence[Mapping[str, Any]]) -> None:
        """Answer rows, each beside the answer that was given."""
        try:
            own = [plain_cell(value) for value in self.model.predict(frame)["prediction"].tolist()]
        except AetError as error:
            log.error("Version %s could not answer unseen: %s", self.version, error)
            with self._lock:
                self.failed += len(given)
            return
        with self._lock:
            for answer, unseen in zip(given, own, strict=True):
                self.rows += 1
                self.agreed += answer["prediction"] == unseen
                self._waits[stream, answer["id"]] = answer["prediction"], unseen
            while len(self._waits) > MOST:
                self._waits.popitem(last=False)

    def label(self, stream: int, truth: Mapping[Hashable, Any]) -> None:
        """True answers by row; those of rows that both have answered count, each once."""
        with self._lock:
            for known, true in truth.items():
                pair = self._waits.pop((stream, known), None)
                if pair is not None:
                    self._right.append((pair[0] == true, pair[1] == true))

    def record(self) -> dict[str, Any]:
        """Rows and how many agreed; labels and both accuracies, the difference in points with its 95 % interval."""
        with self._lock:
            right = torch.tensor(list(self._right), dtype=torch.float64).reshape(-1, 2)  # (N, 2): serving, shadow
            found: dict[str, Any] = {
                "version": self.version,
                "beside": self.beside,
                "rows": self.rows,
                "agreement": self.agreed / self.rows if self.rows else None,
                "failed": self.failed,
                "passed_over": self.passed_over,
                "labels": len(right),
            }
        if not len(right):
            return found
        mean, half = paired(right[:, 1] - right[:, 0])
        low, high = mean - min(half, 1.0), mean + min(half, 1.0)
        both = {"accuracy": float(right[:, 1].mean()), "serving_accuracy": float(right[:, 0].mean())}
        return {**found, **both, "difference": 100 * mean, "low": 100 * low, "high": 100 * high}
