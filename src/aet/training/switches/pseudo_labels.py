"""Pseudo-labels (Lee 2013): rows without an answer learn what the model itself is sure of.

After each epoch the model answers the rows of a file. Its confidence is calibrated first, by a temperature fitted on
the m validation rows (Guo et al. 2017, 1706.04599), whose labels are smoothed by 1/(m + 2) (after Platt 1999), since m
rows that are all right do not prove certainty. A row whose confidence max_c p(c) is at least its threshold takes the
answer as its label until the next epoch. The loss gains

    weight · n/N · mean of l over rows drawn from the n chosen among N,    drifted as training rows are

so that, as in FixMatch (Sohn et al. 2020, 2001.07685), rows that were not chosen count as 0. With `balanced` a class c
that is still chosen rarely has a lower threshold, but never below ½ (FlexMatch, Zhang et al. 2021, 2110.08263):

    τ_c = τ · β_c / (2 - β_c),    β_c = n_c / max(max_k n_k, N - Σ_k n_k),    n_c the rows of c above τ

Of several labels a row is as sure as its least sure one. A calibrated confidence holds for rows like the validation
rows, not for those of another world.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.batch import Batch
from aet.drift import drifted
from aet.errors import ConfigError
from aet.outputs import LabelOutput, MultilabelOutput
from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.unlabelled import digest, unlabelled_rows

LOWEST = 0.5
"""Where a threshold that is lowered for a rare class stops."""


@SWITCHES.register("pseudo_labels")
class PseudoLabels(Switch):
    """Settings: `file` of rows without answers; `threshold` of the calibrated confidence; `start`, the share of the
    steps after which they count; `weight` of their loss; `balanced` thresholds.

    >>> PseudoLabels(file="rows.csv", threshold=1.5)
    Traceback (most recent call last):
    aet.errors.ConfigError: The setting threshold of the switch 'pseudo_labels' is a share: expected at least 0 and ...
    """

    name = "pseudo_labels"
    defaults: ClassVar[dict[str, Any]] = {
        "file": "",
        "threshold": 0.95,
        "start": 0.3,
        "weight": 1.0,
        "balanced": False,
    }
    fractions = ("threshold", "start")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.settings["file"]:
            raise ConfigError(
                "The switch 'pseudo_labels' needs the setting file: a table of rows without answers. Got none."
            )
        if self.settings["weight"] == 0:
            raise ConfigError(
                "The setting weight of the switch 'pseudo_labels' is above 0; got 0: nothing would change."
            )
        self.labels, self.chosen = torch.empty(0), torch.empty(0, dtype=torch.long)
        self.seen = torch.zeros(3, dtype=torch.float64)
        """Temperature, and of the chosen rows the mean confidence and the share of the most frequent answer."""

    def begin(self, run: Run) -> None:
        """Read the rows; ConfigError if the file cannot be used or the output has no classes."""
        if run.model.output.kind not in ("label", "multilabel"):
            raise ConfigError(
                "The switch 'pseudo_labels' takes answers whose confidence is a probability: expected the output "
                f"'label' or 'multilabel', got {run.model.output.kind!r}. Use 'pretrain' for rows without an answer."
            )
        self.rows = Batch(unlabelled_rows(self.name, self.settings["file"], run.model).values)
        self.sum = digest(self.rows)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The loss of chosen rows, as many as the batch has."""
        if not len(self.chosen) or run.step < self.settings["start"] * run.steps:
            return None
        pick = self.chosen[torch.randint(len(self.chosen), (len(seen.batch),))]
        draw = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        batch = drifted(run.model, self.rows[pick], run.model.config.train.drift, draw).to(run.model.device)
        logits = seen.forward(*run.model.tokens(batch), run.model.concepts(batch))
        losses = run.model.output.losses(logits, self.labels[pick].to(logits.device))
        self.calls += 1
        return float(self.settings["weight"]) * (len(self.chosen) / len(self.rows)) * losses.mean()

    def epoch(self, run: Run) -> AbstractContextManager[None]:
        """Answer the rows anew, with the weights that are validated."""

        @contextmanager
        def answered() -> Iterator[None]:
            self.choose(run)
            yield

        return answered()

    def choose(self, run: Run) -> None:
        """The labels of all rows, and which rows are chosen."""
        output, valid = run.model.output, run.valid
        assert valid.target is not None
        logits, target, z = run.model.logits(valid), valid.target.cpu(), run.model.logits(self.rows)
        own = copy.deepcopy(output)
        own.calibrate(logits, target)
        assert isinstance(own, LabelOutput | MultilabelOutput)
        p = own.probabilities(z)  # (N, width)
        if isinstance(own, LabelOutput):
            confidence, answer = p.max(-1)
            self.labels = answer
        else:
            confidence, self.labels = torch.maximum(p, 1 - p).amin(-1), (p > 0.5).float()
            answer = torch.unique(self.labels, dim=0, return_inverse=True)[1]
        threshold = thresholds(confidence, answer, float(self.settings["threshold"]), self.settings["balanced"])
        self.chosen = (confidence >= threshold).nonzero()[:, 0]
        if len(self.chosen):
            most = int(answer[self.chosen].bincount().max()) / len(self.chosen)
            self.seen = torch.tensor(
                [float(own.temperature), float(confidence[self.chosen].mean()), most], dtype=torch.float64
            )

    def acted(self) -> str:
        """How many rows have a label now, how sure they are, and in how many batches such rows counted."""
        if not self.calls:
            return ""
        t, sure, most = self.seen.tolist()
        return (
            f"{len(self.chosen):,} of {len(self.labels):,} rows labelled at a mean confidence of {sure:.3f} "
            f"(temperature {t:.2f}, {most:.0%} of them alike), in {self.calls:,} batches"
        )

    def memory(self) -> dict[str, Tensor]:
        """Labels, chosen rows, figures, and the sum of the rows they are of."""
        return {"labels": self.labels, "chosen": self.chosen, "seen": self.seen, "sum": self.sum}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back; ConfigError if the file holds other rows now."""
        if not torch.equal(memory["sum"], self.sum):
            raise ConfigError(
                f"The file {self.settings['file']} of the switch 'pseudo_labels' has changed since the run was "
                "interrupted: expected the same rows. Bring it back, or name another run folder to start anew."
            )
        self.labels, self.chosen, self.seen = memory["labels"], memory["chosen"], memory["seen"]


def thresholds(confidence: Tensor, answer: Tensor, threshold: float, balanced: bool) -> Tensor:
    """The threshold of each row (N,).

    >>> sure, answer = torch.tensor([0.99, 0.97, 0.96, 0.6]), torch.tensor([0, 0, 1, 1])
    >>> thresholds(sure, answer, 0.9, True)
    tensor([0.9000, 0.9000, 0.5000, 0.5000])
    """
    whole = torch.full_like(confidence, threshold)
    if not balanced:
        return whole
    counts = answer[confidence >= threshold].bincount(minlength=int(answer.max()) + 1)
    if not counts.any():
        return whole
    learned = counts / max(int(counts.max()), len(answer) - int(counts.sum()), 1)
    return torch.maximum(whole * (learned / (2 - learned))[answer], whole.clamp(max=LOWEST))
