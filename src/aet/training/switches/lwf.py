"""Learning without forgetting (Li and Hoiem 2016, 1606.09282): answers as the model gave them at the start.

    L + α · D(z⁰, z)

with z⁰ the logits of the model as it was at the start, on the same rows. D is T² · KL(softmax(z⁰/T) ‖ softmax(z/T)) for
a label, over the classes that were known at the start; for several labels the mean over their yes-or-no distributions;
for numbers ½ · mean (z⁰ - z)², the same between Gaussians of variance 1. Costs one more forward pass of the rows. On
replayed rows it is dark experience replay (Buzzega et al. 2020, 2004.07211) with answers made when they are needed.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.errors import ConfigError
from aet.members import for_each_member
from aet.outputs import Output, label, multilabel
from aet.training.switch import SWITCHES, Pass, Run, Switch


@SWITCHES.register("lwf")
class Lwf(Switch):
    """Settings: `alpha`, the weight of the old answers; `temperature` T above 0, which softens them."""

    name = "lwf"
    searched = False
    defaults: ClassVar[dict[str, Any]] = {"alpha": 1.0, "temperature": 2.0}
    excludes = ("mixup", "cutmix")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings["temperature"] == 0:
            raise ConfigError("The setting temperature of the switch 'lwf' is above 0; got 0. The default is 2.")

    def begin(self, run: Run) -> None:
        """Keep the model as it is; a run that is taken up begins with the same weights and then gets its own."""
        self.teacher = copy.deepcopy(run.model).eval().requires_grad_(False)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The formula above."""
        alpha = float(self.settings["alpha"])
        if alpha == 0:
            return None
        self.calls += 1
        with torch.no_grad():
            old = self.teacher(seen.batch)
        return alpha * seen.mean(apart(run.model.output, old, seen.logits, float(self.settings["temperature"])))


def apart(output: Output, old: Tensor, new: Tensor, temperature: float = 1.0) -> Tensor:
    """`distance` under an output's kind; of tags the output's own, whose words it knows."""
    if output.reads != "summary":
        return output.distance(new, old, temperature)
    return distance(output.kind, old, new, temperature, output.grown)


def distance(kind: str, old: Tensor, new: Tensor, temperature: float = 1.0, grown: int = 0) -> Tensor:
    """D of each row (B,) for old and new logits (B, width), the last `grown` of them left out.

    New logits of an ensemble's members (B, k, width) give the mean over the members.

    >>> import torch
    >>> distance("number", torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[3.0, 0.0, 0.0]]))
    tensor([1.5000])
    """
    if new.ndim == 3:
        return for_each_member(lambda z, was: distance(kind, was, z, temperature, grown), new, old)
    if kind == "label":
        known = old.shape[1] - grown
        return label.tempered_divergence(new[:, :known], old[:, :known], temperature)
    if kind == "multilabel":
        return multilabel.tempered_divergence(new, old, temperature)
    return 0.5 * (old - new).square().mean(-1)
