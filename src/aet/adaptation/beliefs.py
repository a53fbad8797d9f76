"""What answers say of themselves, as losses without labels: logits (N, C) in, one number a row (N,) out, with a slope.

A row of yes-or-no answers counts as one row of two classes for each of its labels (`beliefs`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.outputs import Output

CLASSES = ("label", "multilabel")
"""Kinds of output that give probabilities of classes."""


def beliefs(output: Output, logits: Tensor) -> Tensor:
    """Logits (B, width) as rows of classes (N, C): of K yes-or-no answers (B·K, 2), those of a row side by side."""
    if output.kind == "label":
        return logits
    return torch.stack([torch.zeros_like(logits), logits], -1).flatten(0, 1)


def entropy(logits: Tensor) -> Tensor:
    """H(softmax(z)).

    >>> entropy(torch.zeros(1, 4)).exp()
    tensor([4.])
    """
    log_p = F.log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


def margin(classes: int, share: float = 0.4) -> float:
    """E₀ = share · ln C: rows of a larger entropy say too little to learn from (Niu et al. 2022, 2204.02610)."""
    return share * math.log(classes)


def opinion_entropy(logits: Tensor) -> Tensor:
    """Entropy of a subjective opinion, which may leave belief unassigned (Zhang et al. 2025, COME).

        b_c = e^{z_c} / (Σ_k e^{z_k} + C),   u = C / (Σ_k e^{z_k} + C),   H = -Σ_c b_c log b_c - u log u

    z is taken at its own length as a constant, ẑ = z / ‖z‖ · sg(‖z‖), so that a slope turns opinions and never makes
    them merely larger.

    >>> opinion_entropy(torch.zeros(1, 2)).exp()  # beliefs 1/4 and 1/4, doubt 1/2
    tensor([2.8284])
    """
    length = logits.norm(dim=-1, keepdim=True)
    turned = logits / length.clamp_min(1e-12) * length.detach()
    doubt = torch.full_like(turned[..., :1], math.log(turned.shape[-1]))
    return entropy(torch.cat([turned, doubt], -1))


def likelihood_ratio(logits: Tensor, cap: float = 0.99) -> Tensor:
    """Soft likelihood ratio -Σ_c p_c log(p_c / (1 - p_c)), p at most `cap` (Marsden et al. 2024, 2306.00650)."""
    p = F.softmax(logits, -1).clamp(1e-7, cap)
    return -(p * (p / (1 - p)).log()).sum(-1)
