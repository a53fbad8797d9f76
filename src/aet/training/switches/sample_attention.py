"""Sample attention: a softmax over the rows of a batch. Rows that fit badly, wrong labels among them, count less.

    w_i = n · exp(-l_i / τ) / Σ_j exp(-l_j / τ),    τ = temperature · √(E[l²] - E[l]²)

The moments of the losses run over the steps, E ← E + momentum · (mean of the step - E), so that τ keeps up with losses
that fall. Weights carry no gradient and have mean 1; a row that the data count twice counts twice in the sums. During
the first `warmup` share of the steps nothing is weighed: a network learns the regular rows first (Arpit et al. 2017,
1706.05394), and only then do losses tell rows apart. The softmax is what self-paced weighting with an entropy
regulariser comes to (Kumar, Packer and Koller 2010; Li et al. 2021, 2007.01162: tilted losses with t = -1/τ).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.errors import ConfigError
from aet.training.row_weights import RowWeights, mean_one
from aet.training.switch import SWITCHES, Pass, Run


@SWITCHES.register("sample_attention")
class SampleAttention(RowWeights):
    """Settings: `temperature`, in standard deviations of the losses; `warmup`, a share of the steps; `momentum`."""

    name = "sample_attention"
    defaults: ClassVar[dict[str, Any]] = {"temperature": 1.0, "warmup": 0.2, "momentum": 0.1}
    fractions = ("warmup",)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        temperature, momentum = self.settings["temperature"], self.settings["momentum"]
        for setting, fits, expected in (
            ("temperature", temperature > 0, "above 0"),
            ("momentum", 0 < momentum <= 1, "above 0 and at most 1"),
        ):
            if not fits:
                given = self.settings[setting]
                raise ConfigError(f"The setting {setting} of the switch {self.name!r} is {expected}; got {given}.")
        self.moments = torch.full((2,), torch.nan)
        """Running E[l] and E[l²]."""
        self.pending: list[Tensor] = []  # (Σ c, Σ c·l, Σ c·l²) of each piece of the step
        self.evenness = torch.ones(())

    def weights(self, run: Run, seen: Pass) -> Tensor | None:
        """The softmax, once the warm-up is over and a scale is known."""
        losses = seen.losses.detach().float()
        counts = torch.ones_like(losses) if seen.batch.weight is None else seen.batch.weight.to(losses)
        self.pending.append(torch.stack([counts.sum(), (counts * losses).sum(), (counts * losses.square()).sum()]))
        if run.step < float(self.settings["warmup"]) * run.steps or self.moments[0].isnan():
            return None
        first, second = self.moments.to(losses)
        tau = float(self.settings["temperature"]) * (second - first.square()).clamp_min(1e-12).sqrt()
        weights = mean_one(torch.softmax(-losses / tau, 0), counts)
        self.evenness = counts.sum().square() / (counts.sum() * (counts * weights.square()).sum()).clamp_min(1e-12)
        self.calls += 1
        return weights.to(seen.losses)

    def stepped(self, run: Run) -> None:
        """The moments follow the step's losses."""
        super().stepped(run)
        count, first, second = torch.stack(self.pending).sum(0)
        self.pending = []
        if count > 0:
            fresh = torch.stack([first, second]) / count
            old = self.moments.to(fresh)
            self.moments = torch.where(old.isnan(), fresh, torch.lerp(old, fresh, float(self.settings["momentum"])))

    def acted(self) -> str:
        """Batches weighed, and as how many of their rows, evenly weighed, the last one counts: (Σw)²/Σw²."""
        return f"{self.calls:,} batches weighed, the last worth {self.evenness:.0%} of its rows" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """The running moments."""
        return {"moments": self.moments, "evenness": self.evenness}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.moments, self.evenness = memory["moments"], memory["evenness"]
