"""What the focus switches share: a loss of the attention weights, L_total = L_par + λ·L_att.

`fixed`: λ is `strength`. `rising`: λ_t = strength · (t + 1) / steps. `learned`: uncertainty weighting (Kendall, Gal and
Cipolla 2018, 1705.07115), in which each loss has a variance σ² of its own. The task's is held at 1, so that its loss
keeps its scale, and that of L_att follows s = log σ²:

    L_total = L_par + e^{-s} L_att + s,    s ← s - rate · (1 - e^{-s} L̄_att),    λ = e^{-s}, at first `strength`

which pulls λ towards 1 / L̄_att; L_att must be positive for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from aet.attention.layer import ElasticAttention
from aet.batch import Batch
from aet.errors import ConfigError, nearest
from aet.training.switch import Pass, Run, Switch
from aet.trunk import Block

WAYS = ("fixed", "rising", "learned")
PLACES = ("pooled", "blocks", "both")
FOCUS: dict[str, Any] = {"strength": 0.1, "weight": "fixed", "rate": 0.01}
"""Settings that all focus switches have."""


class Focus(Switch):
    """A loss of the attention weights of the pooling, of the blocks, or of both.

    It listens to the modules during the forward pass, and costs what `pooled` and `block` cost.
    """

    reads: ClassVar[tuple[str, ...]] = ("summary",)
    figure: ClassVar[str] = "focus loss"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        one_of(self, "weight", WAYS)
        if "where" in self.defaults:
            one_of(self, "where", PLACES)
        self.strength = float(self.settings["strength"])
        if self.settings["weight"] == "learned" and self.strength == 0:
            raise ConfigError(f"The switch {self.name!r} cannot learn a weight from strength 0. Give it more than 0.")
        self.log_variance = torch.tensor(-math.log(self.strength) if self.strength else 0.0)
        self.level = torch.full((2,), math.nan)
        """Mean loss of the first step and of the latest."""
        self.pending: list[Tensor] = []  # (Σ loss · rows, rows) of each piece of the step
        self.handles: list[RemovableHandle] = []
        self.heard: dict[str, Tensor] = {}

    def pooled(self, weights: Tensor, mask: Tensor | None) -> Tensor:
        """Loss of each row (B,) from the pooling's weights (B, T) and mask (B, T)."""
        raise NotImplementedError

    def block(self, layer: ElasticAttention, x: Tensor, mask: Tensor | None) -> Tensor:
        """Loss of each row (B,) from what a block's attention reads, x (B, T, dim), and mask (B, T)."""
        raise NotImplementedError

    def tokens(self, run: Run, tokens: Tensor, batch: Batch) -> Tensor:
        """Listen from here on; the last pass before the losses counts."""
        self.hush()
        where = self.settings.get("where", "pooled")
        trunk = run.model.trunk
        if where != "blocks":
            self.handles.append(trunk.pool.register_forward_hook(self.hear_pool))
        for number, block in enumerate(trunk.blocks if where != "pooled" else ()):
            assert isinstance(block, Block)
            self.handles.append(block.attention.register_forward_pre_hook(self.hear_block(str(number))))
        return tokens

    def hear_pool(self, _: Any, given: tuple[Any, ...], gives: tuple[Tensor, Tensor]) -> None:
        """Of `pool(tokens, mask) -> summary, weights`."""
        self.heard["pool"] = self.pooled(gives[1].float(), given[1] if len(given) > 1 else None)

    def hear_block(self, name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        """Of `attention(x, bias)`, bias (B, 1, 1, T)."""

        def hear(layer: ElasticAttention, given: tuple[Any, ...]) -> None:
            bias = given[1] if len(given) > 1 else None
            self.heard[name] = self.block(layer, given[0], None if bias is None else bias[:, 0, 0])

        return hear

    def hush(self) -> None:
        """Leave the modules as they were."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """The pass is over."""
        self.hush()
        return seen.losses

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """λ · mean(L_att), rows counted by their weights."""
        heard, self.heard = list(self.heard.values()), {}
        if self.strength == 0 or seen.tokens.shape[1] < 2:  # a single token has all the attention anyway
            return None
        focus = torch.stack(heard).mean(0)  # (B,)
        mean = seen.mean(focus)
        self.pending.append(torch.stack([mean.detach() * len(focus), mean.new_tensor(len(focus))]))
        self.calls += 1
        return self.weight_at(run) * mean

    def weight_at(self, run: Run) -> Tensor | float:
        """λ at the current step."""
        if self.settings["weight"] == "learned":
            return (-self.log_variance).exp()
        return self.strength * ((run.step + 1) / run.steps if self.settings["weight"] == "rising" else 1)

    def stepped(self, run: Run) -> None:
        """Note the step's loss; a learned λ follows it."""
        if not self.pending:
            return
        total, rows = torch.stack(self.pending).sum(0)
        loss, self.pending = total / rows, []
        first = self.level[0].to(loss)
        self.level = torch.stack([loss.where(first.isnan(), first), loss])
        if self.settings["weight"] == "learned":
            slope = 1 - (-self.log_variance).exp() * loss
            self.log_variance = self.log_variance - float(self.settings["rate"]) * slope

    def acted(self) -> str:
        """The loss at first and at last."""
        if not self.calls:
            return ""
        learned = self.settings["weight"] == "learned"
        weight = f", weight {float((-self.log_variance).exp()):.3g}" if learned else ""
        return f"{self.figure} from {self.level[0]:.4g} to {self.level[1]:.4g}{weight}"

    def memory(self) -> dict[str, Tensor]:
        """The learned weight and the losses seen."""
        return {"log_variance": self.log_variance, "level": self.level}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        self.log_variance, self.level = memory["log_variance"], memory["level"]


def one_of(switch: Switch, setting: str, choices: tuple[str, ...]) -> None:
    """ConfigError unless the setting is one of the choices."""
    if (given := switch.settings[setting]) not in choices:
        raise ConfigError(
            f"The setting {setting} of the switch {switch.name!r} is {given!r}. {nearest(given, choices)}"
        )


def real_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of values (B, ..., T) over the real tokens and all other axes, (B,); 0 for a row without a real token.

    >>> real_mean(torch.tensor([[[1.0, 3.0, 8.0]]]), torch.tensor([[True, True, False]]))
    tensor([2.])
    """
    if mask is None:
        return values.flatten(1).mean(1)
    real = mask.view(len(mask), *(1,) * (values.ndim - 2), -1).expand_as(values).flatten(1)
    return values.flatten(1).where(real, 0).sum(1) / real.sum(1).clamp(min=1)
