"""Stochastic depth (Huang et al. 2016, 1603.09382): in training, rows skip some of the trunk's branches.

    x ← x + b / (1 - p_l) · branch(x),    b ~ Bernoulli(1 - p_l) a row,    p_l = rate · l / L

for the attention and the MLP of block l = 1 ... L, each drawn by itself. The division keeps the mean, so that nothing
changes when the model answers; the paper draws for a whole batch and scales the answers instead.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from aet.training.switch import SWITCHES, Run, Switch, need_blocks


@SWITCHES.register("stochastic_depth")
class StochasticDepth(Switch):
    """Settings: `rate` in [0, 1), the last block's chance to be skipped."""

    name = "stochastic_depth"
    defaults: ClassVar[dict[str, Any]] = {"rate": 0.1}
    fractions = ("rate",)

    def begin(self, run: Run) -> None:
        """Hook the branches."""
        need_blocks(self.name, run.model)
        blocks = run.model.trunk.blocks
        self.hooks: list[RemovableHandle] = []
        for number, block in enumerate(blocks, start=1):
            skip = partial(skipped, rate=float(self.settings["rate"]) * number / len(blocks))
            for branch in (block.attention, block.mlp):
                assert isinstance(branch, nn.Module)
                self.hooks.append(branch.register_forward_hook(skip))

    def stepped(self, run: Run) -> None:
        """Count."""
        self.calls += self.settings["rate"] > 0

    def end(self, run: Run) -> None:
        """Unhook them."""
        for hook in self.hooks:
            hook.remove()

    def acted(self) -> str:
        """Steps with skipped branches."""
        return (
            f"skipped branches, the last with {self.settings['rate']:g}, in {self.calls:,} steps" if self.calls else ""
        )


def skipped(module: nn.Module, given: tuple[Any, ...], branch: Tensor, rate: float) -> Tensor:
    """The branch's output (B, T, dim), 0 for rows that skip it; untouched unless the module trains.

    >>> skipped(nn.Identity().eval(), (), torch.ones(1, 1, 1), rate=0.9)
    tensor([[[1.]]])
    """
    if not module.training or rate == 0:
        return branch
    stays = torch.rand(len(branch), 1, 1, device=branch.device) >= rate
    return branch * (stays / (1 - rate)).to(branch.dtype)
