"""Gradual unfreezing (ULMFiT, Howard and Ruder 2018, 1801.06146), by step or by the gradient's signal-to-noise ratio.

At first only what follows the blocks trains. Then the blocks are thawed one by one from the output downwards, the
inputs last: the j-th of J parts after j/J · `share` of the steps at the latest, or sooner, when the gradient g of the
part thawed last has become noise,

    ‖μ‖² / σ² < snr,    σ² = (E‖g‖² - ‖E g‖²) / (1 - ρ),    ‖μ‖² = E‖g‖² - σ²

with E a moving average (factor 0.9) over the n steps since, at least 10, and ρ = (0.1/1.9) · (1 + 0.9ⁿ)/(1 - 0.9ⁿ) the
part of the noise that is left in E g. That training turns from drift to diffusion where this ratio falls is from
Shwartz-Ziv and Tishby 2017 (1703.00810); to act on it is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.training.switch import SWITCHES, Run, Switch
from aet.training.switches.layer_decay import layers_of

KEEP = 0.9
LEAST = 10
"""Steps before the ratio is trusted."""


@SWITCHES.register("unfreeze")
class Unfreeze(Switch):
    """Settings: `share` in [0, 1) of the steps until all is thawed; `snr`, where 0 leaves it to the steps."""

    name = "unfreeze"
    defaults: ClassVar[dict[str, Any]] = {"share": 0.5, "snr": 0.1}
    fractions = ("share",)

    def begin(self, run: Run) -> None:
        """Freeze."""
        layers = {p: layer for p, layer in layers_of(run.model).items() if p.requires_grad}
        downwards = sorted(set(layers.values()), reverse=True)
        self.parts = [[p for p, layer in layers.items() if layer == number] for number in downwards]
        self.thawed = self.due(0, run.steps)
        self.newest()
        self.hold()

    def due(self, step: int, steps: int) -> int:
        """How many parts train at a step at least."""
        share = float(self.settings["share"]) * steps
        return len(self.parts) if step >= share else 1 + int(step / share * (len(self.parts) - 1))

    def newest(self) -> None:
        """Watch the part thawed last."""
        self.ratio = Ratio(self.parts[self.thawed - 1])

    def hold(self) -> None:
        """Parts that are thawed take a gradient, the others none."""
        for number, part in enumerate(self.parts):
            for p in part:
                p.requires_grad_(number < self.thawed)

    def gradient(self, run: Run) -> None:
        """Note the gradient."""
        if self.thawed < len(self.parts):
            self.ratio.see([torch.zeros_like(p) if p.grad is None else p.grad for p in self.parts[self.thawed - 1]])

    def stepped(self, run: Run) -> None:
        """Thaw what is due."""
        if self.thawed == len(self.parts):
            return
        self.calls += 1
        noise = self.ratio.count >= LEAST and self.ratio.value() < float(self.settings["snr"])
        thawed = max(self.thawed + noise, self.due(run.step + 1, run.steps))
        if thawed > self.thawed:
            self.thawed = thawed
            self.newest()
            self.hold()

    def end(self, run: Run) -> None:
        """All parts take a gradient again."""
        self.thawed = len(self.parts)
        self.hold()

    def acted(self) -> str:
        """How long something was frozen."""
        return f"kept parts frozen for {self.calls:,} steps" if self.calls else ""

    def memory(self) -> dict[str, Tensor]:
        """What is thawed, and the averages."""
        return {"thawed": torch.tensor(self.thawed), **self.ratio.memory()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back, and freeze the rest."""
        self.thawed = int(memory["thawed"])
        self.newest()
        self.ratio.load_memory(memory)
        self.hold()


class Ratio:
    """‖μ‖² / σ² of gradients seen one by one.

    >>> _ = torch.manual_seed(0)
    >>> ratio = Ratio([torch.zeros(1000)])
    >>> for _ in range(200):
    ...     ratio.see([0.5 + torch.randn(1000)])
    >>> abs(ratio.value() - 0.5**2) < 0.05
    True
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.count = 0
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in parameters]
        self.square = torch.zeros((), device=parameters[0].device)

    @torch.no_grad()
    def see(self, gradients: Sequence[Tensor]) -> None:
        """Move the averages."""
        self.count += 1
        self.mean = list(torch._foreach_lerp(self.mean, list(gradients), 1 - KEEP))
        self.square = torch.lerp(self.square, squared(gradients), 1 - KEEP)

    def value(self) -> float:
        """The ratio; at least 0, and infinite without noise."""
        weight = 1 - KEEP**self.count
        rho = (1 - KEEP) / (1 + KEEP) * (2 - weight) / weight
        whole, mean = float(self.square) / weight, float(squared(self.mean)) / weight**2
        noise = (whole - mean) / (1 - rho)
        return max(0.0, whole - noise) / noise if noise > 0 else float("inf")

    def memory(self) -> dict[str, Tensor]:
        """All of it."""
        means = {f"mean{number}": t for number, t in enumerate(self.mean)}
        return {"count": torch.tensor(self.count), "square": self.square, **means}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        self.count = int(memory["count"])
        self.square = memory["square"].to(self.square)
        self.mean = [memory[f"mean{number}"].to(t) for number, t in enumerate(self.mean)]


def squared(tensors: Sequence[Tensor]) -> Tensor:
    """Σ ‖t‖²."""
    return torch.stack(torch._foreach_norm(list(tensors))).square().sum()
