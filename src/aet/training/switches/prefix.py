"""Prefixes (Li and Liang 2021, 2101.00190), gated from zero (LLaMA-Adapter, Zhang et al. 2023, 2303.16199).

    out = softmax(q·kᵀ / √D) · v + tanh(g) · softmax(q·Kᵀ / √D) · V,    g = 0 at first

with `length` learned keys K and values V of each head in every block: 2·dim·length + heads weights; the trunk's own
stand still. Prefixes are no part of any plain layer: they stay in the model, whose setting `model.prefix` becomes the
length, and are saved and loaded with it. They take no part in `focus`, which tells how much comes from each token.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from aet.grown import Prefix
from aet.model import Model
from aet.training.switch import SWITCHES
from aet.training.tuner import Tuner, grow_once


@SWITCHES.register("prefix")
class Prefixes(Tuner):
    """Settings: `length`, unless the model has prefixes, which then train; whether `head` and `inputs` train too."""

    name = "prefix"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"length": 8, **Tuner.own}

    def insert(self, model: Model) -> list[nn.Parameter]:
        """New prefixes, or those that are there."""
        grow_once(model, "prefix", int(self.settings["length"]))
        return [p for part in model.trunk.modules() if isinstance(part, Prefix) for p in part.parameters()]
