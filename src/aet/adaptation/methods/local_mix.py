"""Rows that came together share a mix of labels: answers are corrected by the mix around them; no weights move.

Of calibrated probabilities p of rows in their order, π^S the source's mix, h half-lives in rows:

    K_h(i, j) = 2^(-|i - j| / h), 0 for j = i
    π_h(i) = (a π^S + Σ_j K_h(i, j) r_j) / (a + Σ_j K_h(i, j)),   π_∞(i) = π^S
    w_h ∝ Π_i Σ_c p_ic / π^S_c · π_h(i)_c                          how well the mix around rows foretells them
    r_ic ∝ p_ic / π^S_c · Σ_h w_h π_h(i)_c                         starting at r = p, a few rounds

Each row is foretold by the others alone, so that w weighs by evidence: where answers are not alike in time little
changes; where they come class by class or in slots, the mix around a row takes the place of the source's. It harms
where the errors of the answers are alike in time, not the labels: so `auto` serves it only where rehearsals speak for
it. How it was found: docs/lab/auto.md.

The answers come from the rows beside them, `rows` at most at a time: a row alone has the source's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import METHODS, Method
from aet.adaptation.serving import BLOCK, Correction
from aet.model import Model
from aet.outputs.label import LabelOutput

HALF_LIVES = (2.0, 8.0, 32.0)
ROUNDS = 3


@METHODS.register("local_mix")
class LocalMix(Method):
    """Settings: `rows` that are corrected together; `prior` rows a of the source's mix that are counted in."""

    defaults: ClassVar[dict[str, Any]] = {"rows": BLOCK, "prior": 2.0}
    needs: ClassVar[tuple[str, ...]] = ("label",)
    corrects: ClassVar[bool] = True

    @property
    def correction(self) -> Correction:
        """Gives logits whose calibrated softmax is r, (B, C)."""
        return correction(self.model, self.settings["rows"], self.settings["prior"])


def correction(
    model: Model, rows: int = LocalMix.defaults["rows"], prior: float = LocalMix.defaults["prior"], least: int = 2
) -> Correction:
    """What makes of logits (B, C) of rows in their order those whose calibrated softmax is r; garbage stays, and so
    do fewer than `least`.
    """
    output, mix = model.output, model.known_statistics().label_mix
    assert isinstance(output, LabelOutput)
    assert mix is not None

    def corrected(logits: Tensor) -> Tensor:
        answers = logits.clone()
        good = logits.isfinite().all(-1).nonzero().flatten()
        for index in good.split(rows):
            # The last rows of a call look back into the block before them.
            end = int(torch.searchsorted(good, index[-1])) + 1 if len(index) else 0
            around = good[max(0, end - rows) : end]
            if len(around) >= least:
                r = locally_mixed(output.probabilities(logits[around]).cpu(), mix, prior=prior)[-len(index) :]
                answers[index] = output.temperature.to(logits) * r.clamp_min(1e-12).log().to(logits)
        return answers

    return corrected


def locally_mixed(p: Tensor, mix: Tensor, apart: float = 1.0, prior: float = 2.0) -> Tensor:
    """The formulas above: r (N, C) from p (N, C) of rows that came `apart` rows from each other, and π^S (C,).

    >>> p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    >>> locally_mixed(p, torch.tensor([0.5, 0.5]))[2, 0] > 0.6
    tensor(True)
    """
    mix = mix.to(p).clamp_min(1e-6)
    near = kernels(len(p), apart, p.dtype, p.device)
    total, ratio, r = prior + near.sum(-1, keepdim=True), p / mix, p
    for _ in range(ROUNDS):
        local = (prior * mix + near @ r) / total  # (H, N, C)
        foretold = torch.cat([mix.expand(1, *p.shape), local])
        weights = (ratio * foretold).sum(-1).clamp_min(1e-9).log().sum(-1).softmax(0)  # (H + 1,)
        r = ratio * torch.einsum("h,hnc->nc", weights, foretold)
        r = r / r.sum(-1, keepdim=True).clamp_min(1e-12)
    return r


@lru_cache(maxsize=8)
def kernels(rows: int, apart: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """K_h (H, N, N), never written to; a stream asks for the same ones with every batch."""
    places = apart * torch.arange(rows).to(device, dtype)
    distance = (places[:, None] - places).abs()
    near = torch.stack([0.5 ** (distance / half_life) for half_life in HALF_LIVES])
    return near * (1 - torch.eye(rows).to(near))
