"""Layer-wise decay of the learning rate (Howard and Ruder 2018, 1801.06146; as in BEiT, Bao et al. 2022, 2106.08254).

    η_l = η · decay^(L + 1 - l)

for the inputs (l = 0), the blocks (l = 1 ... L) and what follows them (l = L + 1): layers near the input, which hold
what is general, move less.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from aet.training.switch import SWITCHES, Run, Switch


@SWITCHES.register("layer_decay")
class LayerDecay(Switch):
    """Settings: `decay` in [0, 1); at 0 only what follows the blocks moves."""

    name = "layer_decay"
    defaults: ClassVar[dict[str, Any]] = {"decay": 0.75}
    fractions = ("decay",)

    def begin(self, run: Run) -> None:
        """Split the optimiser's groups by layer; the loop multiplies their learning rate by `scale`."""
        decay, last = float(self.settings["decay"]), len(run.model.trunk.blocks) + 1
        layers = layers_of(run.model)
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
    last = 2 + max(int(name.split(".")[2]) for name in named if name.startswith("trunk.blocks."))

    def layer(name: str) -> int:
        if name.startswith("inputs."):
            return 0
        return int(name.split(".")[2]) + 1 if name.startswith("trunk.blocks.") else last

    return {p: layer(name) for name, p in named.items()}
