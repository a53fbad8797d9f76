"""Supervised focus: the pooled attention is pulled to token importances that somebody knows.

After Liu et al. 2016, 1609.04186:

    L_att = KL(p ‖ a) = Σ_j p_j log(p_j / a_j)

with a the pooling's weights and p the given importances, divided by their sum over the row's real tokens. A row without
an important token counts 0. λ and its ways: `aet.training.focus`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.errors import ConfigError, nearest
from aet.training.focus import FOCUS, Focus
from aet.training.switch import SWITCHES, Run


@SWITCHES.register("focus_target")
class FocusTarget(Focus):
    """Settings: `importances`, {name: number}; `strength` λ; `weight` fixed, rising or learned (at `rate`).

    A name is that of a token (`Model.token_names`) or of a text or image, whose tokens then share its number evenly.
    Tokens that are not named count 0.
    """

    name = "focus_target"
    defaults: ClassVar[dict[str, Any]] = {**FOCUS, "importances": {}}
    figure = "distance from the given importances"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not any(self.settings["importances"].values()):
            raise ConfigError(
                "The switch 'focus_target' needs importances: a mapping of token names to numbers, one of them above "
                f"0; got {self.settings['importances']!r}. Name a column, as in {{'age': 1.0}}."
            )

    def begin(self, run: Run) -> None:
        """The importances in the tokens' order; ConfigError for a name that no token has."""
        names = run.model.token_names()
        given: dict[str, float] = self.settings["importances"]
        self.numbers = torch.tensor(list(given.values()), dtype=torch.float32)  # (N,)
        self.members = torch.zeros(len(given), len(names))  # (N, T), 1 where a name covers a token
        for row, name in enumerate(given):
            covered = [token == name for token in names]
            if not any(covered):
                covered = [token.startswith(f"{name}[") for token in names]
            if not any(covered):
                known = dict.fromkeys([*(token.partition("[")[0] for token in names), *names])
                raise ConfigError(
                    f"importances of the switch 'focus_target': there is no token {name!r}. {nearest(name, known)}"
                )
            self.members[row] = torch.tensor(covered)

    def pooled(self, weights: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T) -> (B,)."""
        members = self.members.to(weights)[None]  # (1, N, T)
        if mask is not None:
            members = members * mask[:, None]  # (B, N, T)
        each = self.numbers.to(weights) / members.sum(-1).clamp(min=1)  # (B, N)
        wanted = (each[:, None] @ members).squeeze(1)  # (B, T)
        return divergence(wanted.expand_as(weights), weights)


def divergence(wanted: Tensor, weights: Tensor) -> Tensor:
    """KL(wanted ‖ weights) over the last axis, `wanted` divided by its sum first; 0 where that is 0.

    >>> divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])).exp()
    tensor(2.)
    """
    wanted = wanted / wanted.sum(-1, keepdim=True).clamp_min(torch.finfo(wanted.dtype).tiny)
    log = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
    out: Tensor = (torch.special.xlogy(wanted, wanted) - wanted * log).sum(-1)
    return out
