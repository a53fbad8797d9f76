"""Adapters (Houlsby et al. 2019, 1902.00751): a small bottleneck behind the attention and the MLP of every block.

    y + U·gelu(D y + d) + u,    D (width, dim), U (dim, width), U and u zero at first

2·(2·dim·width + width + dim) weights a block; the trunk's own stand still. Adapters are no part of any plain layer:
they stay in the model, whose setting `model.adapter` becomes the width, and are saved and loaded with it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from aet.grown import Adapted
from aet.model import Model
from aet.training.switch import SWITCHES
from aet.training.tuner import Tuner, grow_once


@SWITCHES.register("adapters")
class Adapters(Tuner):
    """Settings: `width`, unless the model has adapters, which then train; whether `head` and `inputs` train too."""

    name = "adapters"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"width": 8, **Tuner.own}

    def insert(self, model: Model) -> list[nn.Parameter]:
        """New adapters, or those that are there."""
        grow_once(model, "adapter", int(self.settings["width"]))
        adapted = [part for part in model.trunk.modules() if isinstance(part, Adapted)]
        return [p for part in adapted for p in (*part.down.parameters(), *part.up.parameters())]
