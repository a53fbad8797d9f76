"""How wide and how deep the trunk is where the settings leave it to the inputs."""

from __future__ import annotations

from collections.abc import Sequence

from aet.config import Config
from aet.inputs import INPUTS
from aet.schema import InputSpec

DIM, DEPTH = 64, 3
"""What `auto` stands for, except behind a pretrained network that is the only input."""


def sizes(config: Config, inputs: Sequence[InputSpec]) -> tuple[int, int]:
    """`model.dim` and `model.depth` as numbers.

    Where the only input is a pretrained network, `auto` is its own width, so that nothing is projected, and no block:
    it has blocks of its own, and the mean of its tokens is what it was mostly trained to be summed up by.

    >>> sizes(Config(), [InputSpec("age", "number", ("age",))])
    (64, 3)
    >>> sizes(Config.read({"model": {"depth": 1}}), [InputSpec("age", "number", ("age",))])
    (64, 1)
    """
    dim, depth = config.model.dim, config.model.depth
    own = None
    if len(inputs) == 1 and "auto" in (dim, depth):
        own = INPUTS[inputs[0].kind].own_width(config.inputs.get(inputs[0].kind, {}))
    return (own or DIM) if dim == "auto" else dim, (DEPTH if own is None else 0) if depth == "auto" else depth
