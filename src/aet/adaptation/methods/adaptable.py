"""AdapTable, for tables: answers follow the mix of classes seen, unsure rows more than sure ones (Kim et al. 2024).

    ε_i = 1 / (p_(1) - p_(2)),    p = softmax(f_i): its largest less its second largest probability
    T_i = T if ε_i >= Q(q_high), 1/T if ε_i <= Q(q_low), else 1,    T = 1.5 · max_c π^S_c / min_c π^S_c
    π   = (1 - α) · mean_i norm(p_i / π^S) + α π̄                     debiased answers, and those of the batches before
    p'_i = ½ (softmax(f_i / T_i) + norm(softmax(f_i / T_i) · π / π^S))
    π̄   ← (1 - α) · mean_i p'_i + α π̄

Source: 2407.10784, with α = 0.1 and the quantiles Q at 0.25 and 0.75 of the batch; norm divides by the sum, π^S is the
source's mix, π̄ is even at first. Here is the label distribution handler with the temperatures by uncertainty. Not here
is the shift-aware calibrator, a graph network over the columns that gives each row a temperature before its uncertainty
is taken: it must be trained on the source's rows after the model was, which no other method needs and a run does not
keep. f are the logits over the one temperature of the source's calibration instead, so that a shift of the columns is
not seen. Where the two quantiles meet, as for a row alone, T_i = 1, which is ours.

No weights move. The answers come from the rows beside them, `batch` at most at a time. It leans to classes that answers
overrate: where p(x|y) moved, these are taken for the new mix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.attention.state import applied
from aet.batch import Batch
from aet.outputs.label import LabelOutput

LEAST = 1e-12


@METHODS.register("adaptable")
class AdapTable(Method):
    """Settings: `smoothing` α, `sure` and `unsure` quantiles, `heat` the factor of T, `batch` rows that are corrected
    together.
    """

    defaults: ClassVar[dict[str, Any]] = {"smoothing": 0.1, "sure": 0.25, "unsure": 0.75, "heat": 1.5, "batch": 64}
    needs: ClassVar[tuple[str, ...]] = ("label",)
    corrects: ClassVar[bool] = True

    def reset(self) -> None:
        """Back to the source, with an even mix seen."""
        super().reset()
        output, mix = self.model.output, self.model.known_statistics().label_mix
        assert isinstance(output, LabelOutput)
        assert mix is not None
        self.output, self.mix = output, mix.cpu()
        self.heat = max(1.0, self.settings["heat"] * float(mix.max() / mix.min()))
        self.seen = torch.full_like(self.mix, 1 / output.width)  # π̄ (C,)

    def answer(self, batch: Batch) -> Tensor:
        """Logits whose calibrated softmax is p', (B, C)."""
        return self.corrected(batch)[0]

    def learn(self, batch: Batch) -> None:
        """π̄ moves on; the logits are made once more for it."""
        if len(batch):
            self.passes += len(batch)
            self.seen = self.corrected(batch)[1]

    def corrected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The answers (B, C), and π̄ after them."""
        with applied(self.state):
            logits = self.model.logits(batch).cpu()
        answers, seen, temperature = logits.clone(), self.seen, self.output.temperature.cpu()
        sure, unsure = (min(1.0, self.settings[name]) for name in ("sure", "unsure"))
        good = logits.isfinite().all(-1).nonzero().flatten()
        for index in good.split(self.settings["batch"]) if len(good) else ():
            calibrated = logits[index] / temperature
            heat = temperatures(calibrated.softmax(-1), sure, unsure, self.heat)
            p, seen = handled(calibrated, heat, self.mix, seen, min(1.0, self.settings["smoothing"]))
            answers[index] = temperature * p.clamp_min(LEAST).log()
        return answers.to(self.model.device), seen

    def memory(self) -> dict[str, Tensor]:
        """π̄."""
        return {"seen": self.seen}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.seen = memory["seen"]


def temperatures(p: Tensor, sure: float, unsure: float, heat: float) -> Tensor:
    """T_i (N,) of probabilities (N, C): `heat` for the rows unsure of all, its inverse for the sure ones, else 1.

    >>> temperatures(torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.55, 0.45]]), 0.25, 0.75, 2.0)
    tensor([0.5000, 1.0000, 2.0000])
    """
    first, second = p.topk(2, -1).values.unbind(-1)
    doubt = 1 / (first - second).clamp_min(LEAST)
    low, high = doubt.quantile(sure), doubt.quantile(unsure)
    one = torch.ones_like(doubt)
    if low >= high:
        return one
    return torch.where(doubt >= high, heat * one, torch.where(doubt <= low, one / heat, one))


def handled(logits: Tensor, heat: Tensor, source: Tensor, seen: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Answers p' (N, C) and the new π̄ (C,), from calibrated logits (N, C), their temperatures (N,), π^S and π̄ (C,).

    >>> even, mix = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    >>> p, _ = handled(torch.zeros(1, 2), torch.ones(1), mix, even, 0.0)  # π = (1/4, 3/4), weights 1/3 and 3
    >>> p
    tensor([[0.3000, 0.7000]])
    """
    debiased = normed(logits.softmax(-1) / source)
    mix = (1 - smoothing) * debiased.mean(0) + smoothing * seen
    p = (logits / heat[:, None]).softmax(-1)
    p = 0.5 * (p + normed(p * mix / source))
    return p, (1 - smoothing) * p.mean(0) + smoothing * seen


def normed(weights: Tensor) -> Tensor:
    """Each row over its sum."""
    return weights / weights.sum(-1, keepdim=True).clamp_min(LEAST)
