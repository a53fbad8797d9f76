"""Each modality answers by itself too, while training (Wang et al. 2020, 1905.12681, "Gradient-Blend").

    loss + weight · mean over the modalities m of  l(answer from the tokens of m alone)

over the rows that have m. Trained together, the modality that is learned first leaves the others little to explain, and
they stay behind what they would have learned alone (Du et al. 2023, 2305.01233). So each is learned as if there was no
other, and a row that lacks one is answered as well as by a model that never had it. The trunk passes once more for each
modality; making tokens, most of the work for sounds and pretrained networks, is not done again. An image, a text and
the like are modalities by themselves, numbers and categories are one together.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Pass, Run, Switch
from aet.training.switches.modality_dropout import several


@SWITCHES.register("each_modality")
class EachModality(Switch):
    """Settings: `weight` of the answers from one modality beside those from all."""

    name = "each_modality"
    defaults: ClassVar[dict[str, Any]] = {"weight": 1.0}
    reads = ("summary",)
    searched = False

    def begin(self, run: Run) -> None:
        """ConfigError for a model of one modality."""
        self.places = several(run, f"The switch {self.name!r} lets each of several modalities answer alone")

    def term(self, run: Run, seen: Pass) -> Tensor:
        """The mean loss of the answers from one modality each."""
        mask = seen.tokens.new_ones(seen.tokens.shape[:2], dtype=torch.bool) if seen.mask is None else seen.mask
        found = []
        for places in self.places.values():
            only = torch.zeros_like(mask)
            only[:, places] = mask[:, places]
            there = only.any(1, keepdim=True)  # (B, 1)
            losses = seen.again(run, seen.forward(seen.tokens, torch.where(there, only, mask)))
            found.append(seen.mean(losses * there[:, 0]))
            self.calls += int(there.sum())
        loss: Tensor = float(self.settings["weight"]) * torch.stack(found).mean()
        return loss

    def acted(self) -> str:
        """Answers from one modality."""
        return f"{self.calls:,} rows answered from one modality" if self.calls else ""
