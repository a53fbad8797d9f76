"""Adversarial training on tokens by one move, the fast gradient method (Miyato, Dai and Goodfellow 2017, 1605.07725).

    L = mean l(x) + weight · mean l(x + r),    r = radius · ‖x‖ · g / ‖g‖,    g = ∇_x l(x)

for each row's tokens x; r itself takes no gradient. Costs two more passes of the rows.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.switches.adversarial import attacked, lengths, real


@SWITCHES.register("fgm")
class FGM(Switch):
    """Settings: `radius`, the move over the length of the row's tokens; `weight` of the moved rows' loss."""

    name = "fgm"
    defaults: ClassVar[dict[str, Any]] = {"radius": 0.1, "weight": 1.0}
    excludes = ("pgd",)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The loss of the moved rows."""
        radius, weight = float(self.settings["radius"]), float(self.settings["weight"])
        if radius == 0 or weight == 0:
            return None
        reach = radius * lengths(real(seen.tokens, seen.mask))
        start = torch.zeros_like(seen.tokens)
        self.calls += 1
        (losses,) = attacked(run, seen, start, reach, reach, steps=1)
        return weight * seen.mean(losses)

    def acted(self) -> str:
        """Batches moved."""
        return f"moved the tokens of {self.calls:,} batches by {self.settings['radius']:g}" if self.calls else ""
