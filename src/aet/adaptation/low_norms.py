"""Which norms entropy may move: those below the top, whose answers the head was trained to read.

Of B blocks the last ⌊B / 4⌋ stay, and every norm after the blocks (Niu et al. 2023, 2302.12400, who hold blocks 9 to 11
of 12 and the last norm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

from aet.adaptation.base import is_norm
from aet.adaptation.gradual import Gradual


def block_of(name: str) -> int | None:
    """Number of the block that a dial is in; None outside the blocks.

    >>> block_of("trunk.blocks.3.norm_mlp.scale"), block_of("trunk.norm.scale")
    (3, None)
    """
    return next((int(part) for part in name.split(".") if part.isdigit()), None)


def low_norms(names: Iterable[str]) -> Callable[[str], bool]:
    """Says of a dial of the model with these dials whether it is a norm's below the top.

    >>> dials = [f"trunk.blocks.{block}.norm_mlp.scale" for block in range(4)] + ["trunk.norm.scale"]
    >>> [name for name in dials if low_norms(dials)(name)][-1]
    'trunk.blocks.2.norm_mlp.scale'
    """
    blocks = sorted({block for name in names if is_norm(name) and (block := block_of(name)) is not None})
    low = set(blocks[: len(blocks) - len(blocks) // 4])
    return lambda name: is_norm(name) and block_of(name) in low


class LowNorms(Gradual):
    """Moves the norms below the top, by SGD with momentum 0.9."""

    rule: ClassVar[Literal["adam", "sgd"]] = "sgd"

    def reset(self) -> None:
        """Back to the source."""
        super().reset()
        self.low = low_norms(self.state)

    def moves(self, name: str) -> bool:
        """The norms below the top."""
        return self.low(name)
