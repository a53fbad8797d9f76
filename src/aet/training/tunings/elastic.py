"""The elastic state of a network as all that trains of it: some numbers a head and a norm, folded at the end."""

from __future__ import annotations

from torch import nn

from aet.attention.state import ElasticState, fold, merge
from aet.errors import ConfigError
from aet.inputs.backbone import Dials
from aet.training.tunings.base import TUNED, Tuned

TRIED = 0.01
"""What every dial is moved by to see whether the network has a place for it."""


@TUNED.register("elastic")
class Elastic(Tuned):
    """Dials of every attention layer and norm (`aet.elasticize`), at first zero: the network as it was."""

    def insert(self) -> list[nn.Parameter]:
        """One parameter a dial."""
        zero = ElasticState.zeros(self.backbone.module)
        self.check(zero)
        self.backbone.dials = Dials(zero)
        return list(self.backbone.dials.parameters())

    def check(self, zero: ElasticState) -> None:
        """ConfigError where a state cannot be folded without changing which weights there are."""
        module = self.backbone.module
        shapes = {name: t.shape for name, t in module.state_dict().items()}
        why = "its layers would need weights that its configuration does not have, a bias for instance"
        try:
            merged = merge(module, zero.map(lambda _, t: t + TRIED))
            if {name: t.shape for name, t in merged.state_dict().items()} == shapes:
                return
        except ConfigError as error:
            why = str(error)
        raise ConfigError(
            f"inputs.text.tuning='elastic' cannot be folded into {type(module).__name__}: {why.rstrip('.')}. Take "
            "lora or ia3 instead."
        )

    def fold(self) -> None:
        """Into the projections and norms."""
        assert self.backbone.dials is not None
        state = self.backbone.dials.state().copy()
        self.backbone.dials = None
        fold(self.backbone.module, state)
