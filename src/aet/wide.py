"""The wide path beside the trunk: a small batch ensemble of MLPs that reads all tokens at once.

    z   = [D_1 t_1, ..., D_T t_T]                        (B, T·inner), D_t a projection of its own for each token
    h_j = (W (r_j ∘ z) + b)(1 + scale) + shift           r_j ∈ {-1, 1} at the start, learned; W, b are shared
    w_j = MLP(relu(h_j)),  j = 1 ... k
    summary = ½ s + ½ mean_j w_j                         s what the trunk pooled

While training, s and each w_j also answer for themselves, through the same head, and the loss of a row is

    ½ l(summary) + ¼ l(s) + ¼ mean_j l(w_j)

so that neither half leans on the other and the members stay different (TabM-mini, Gorishniy et al. 2024, 2410.24210;
an MLP beside another network as in Cheng et al. 2016, 1606.07792). The path sees every value at its own size, which the
norms of the blocks take away.

It reads tokens behind the inputs' dials, so that whatever they undo is undone for it too, and has the dials scale and
shift of its own, so that labels move both halves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from aet.attention.layer import affine
from aet.attention.state import ElasticModule
from aet.config import ModelConfig
from aet.errors import ConfigError
from aet.schema import InputSpec

KINDS = ("number", "category")
AUTO_MEMBERS = 8


class Wide(ElasticModule):
    """A batch ensemble of MLPs over all tokens.

    tokens (B, T, dim), mask (B, T) -> w (B, k, dim)

    Args:
        members: k.
        tokens: T, the same for every row.
        dim: channels of a token; a quarter of them is read of each token, and the MLP is twice as wide.
        dropout: behind each of its two hidden layers.

    >>> Wide(4, tokens=5, dim=16)(torch.randn(3, 5, 16)).shape
    torch.Size([3, 4, 16])
    """

    SHARE: ClassVar[float] = 0.5
    """Of the path in the summary."""

    def __init__(self, members: int, tokens: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        inner, hidden = max(1, dim // 4), 2 * dim
        self.down = nn.Parameter(torch.randn(tokens, dim, inner) / dim**0.5)  # D
        self.scales = nn.Parameter(torch.randint(0, 2, (members, tokens * inner)) * 2.0 - 1.0)  # r
        self.first = nn.Linear(tokens * inner, hidden)  # W, b
        self.mlp = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each member makes of the tokens; one that is not real counts as zero."""
        if mask is not None:
            tokens = tokens * mask[..., None]
        read = torch.einsum("btd,tde->bte", tokens, self.down).flatten(1)
        hidden = self.first(read[:, None] * self.scales)  # (B, k, hidden)
        dials = self.dials()
        if dials:
            hidden = affine(hidden, 1 + dials["scale"], dials["shift"])
        out: Tensor = self.mlp(hidden)
        return out

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(1, hidden) each."""
        return dict.fromkeys(("scale", "shift"), (1, self.first.out_features))

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """W ← (1 + scale)·W, b ← (1 + scale)·b + shift."""
        gain = 1 + dials["scale"].flatten()
        self.first.weight.mul_(gain[:, None])
        self.first.bias.mul_(gain).add_(dials["shift"].flatten())

    def joined(self, summary: Tensor, members: Tensor) -> Tensor:
        """The trunk's summary (B, dim) and the members (B, k, dim) as one summary (B, dim)."""
        return torch.lerp(summary, members.mean(1), self.SHARE)


def single_columns(inputs: Sequence[InputSpec]) -> bool:
    """Whether every input is a single number or category column.

    >>> single_columns([InputSpec("age", "number", ("age",)), InputSpec("city", "category", ("city",))])
    True
    """
    return all(spec.kind in KINDS and len(spec.columns) == 1 for spec in inputs)


def wide_members(settings: ModelConfig, inputs: Sequence[InputSpec]) -> int:
    """How many members `model.wide` means: for `auto` eight where every input is a single column, else none.

    Raises ConfigError for a wide path beside several `members`, whose heads are apart.

    >>> wide_members(ModelConfig(), [InputSpec("age", "number", ("age",))])
    8
    >>> wide_members(ModelConfig(), [InputSpec("s0", "number", ("s0_a", "s0_b"))])
    0
    """
    if settings.wide != "auto":
        if settings.wide and settings.members > 1:
            raise ConfigError(
                f"A wide path has members of its own: expected model.members=1 beside model.wide={settings.wide}, got "
                f"{settings.members}. Set one of the two back."
            )
        return settings.wide
    return AUTO_MEMBERS if single_columns(inputs) and settings.members == 1 else 0
