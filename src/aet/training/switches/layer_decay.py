"""Layer-wise decay of the learning rate (Howard and Ruder 2018, 1801.06146; as in BEiT, Bao et al. 2022, 2106.08254).

    η_l = η · decay^(L + 1 - l)

for the inputs (l = 0), the blocks (l = 1 ... L) and what follows them (l = L + 1): layers near the input, which hold
what is general, move less. The layers of a pretrained network count as the blocks before the trunk's.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from torch import nn

from aet.training.switch import SWITCHES, Run, Switch

BLOCK = re.compile(r"trunk\.blocks\.(\d+)\.")
PRETRAINED = re.compile(r"inputs\.\w+\.backbone\.\D*\.(\d+)\.")
"""A layer of a pretrained network: whatever its authors call the list of them, it is the first number in the path."""


@SWITCHES.register("layer_decay")
class LayerDecay(Switch):
    """Settings: `decay` in [0, 1); at 0 only what follows the blocks moves."""

    name = "layer_decay"
    defaults: ClassVar[dict[str, Any]] = {"decay": 0.75}
    fractions = ("decay",)

    def begin(self, run: Run) -> None:
        """Split the optimiser's groups by layer; the loop multiplies their learning rate by `scale`."""
        layers = layers_of(run.model)
        decay, last = float(self.settings["decay"]), max(layers.values())
        groups = list(run.optimiser.param_groups)
        run.optimiser.param_groups.clear()
        for group in groups:
            for layer in range(last + 1):
                parameters = [p for p in group["params"] if layers[p] == layer]
                if parameters:
                    scale = group.get("scale", 1.0) * decay ** (last - layer)
                    run.optimiser.add_param_group({**group, "params": parameters, "scale": scale})
        self.least = decay**last

    def stepped(self, run: Run) -> None:
        """Count."""
        self.calls += 1

    def acted(self) -> str:
        """The span of the learning rates."""
        return f"moved the inputs {self.least:.3g} times as fast as the output" if self.calls else ""


def layers_of(model: nn.Module) -> dict[nn.Parameter, int]:
    """The layer l of every parameter of a model.

    >>> from aet.trunk import Trunk
    >>> model = nn.ModuleDict({"inputs": nn.Linear(1, 4), "trunk": Trunk(4, 2, 2), "output": nn.Linear(4, 1)})
    >>> sorted(set(layers_of(model).values()))
    [0, 1, 2, 3]
    """
    named = dict(model.named_parameters())

    def count(pattern: re.Pattern[str], name: str) -> int:
        """1 for the first layer, and so on; 0 for what is in none."""
        found = pattern.match(name)
        return 0 if found is None else int(found[1]) + 1

    below = max(count(PRETRAINED, name) for name in named)
    last = 1 + below + max(count(BLOCK, name) for name in named)

    def layer(name: str) -> int:
        if name.startswith("inputs."):
            return below if ".project." in name else count(PRETRAINED, name)  # a projection comes after all layers
        return below + block if (block := count(BLOCK, name)) else last

    return {p: layer(name) for name, p in named.items()}
