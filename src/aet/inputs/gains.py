"""Inputs whose dials are a gain and an offset of what was encoded: they undo another sensor, camera or microphone.

    x ← x · gain + offset           gain = 1, offset = 0 at the start
    under the dials `scale` and `shift`:   x ← (x · gain + offset) · (1 + scale) + shift

A state that is folded lives in the buffers: rows stay encoded in the source's units, so that they fit the merged model
too.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aet.inputs.base import Input


class GainedInput(Input):
    """A kind with the buffers `gain` and `offset`, and dials of their shape (`dial_shapes`)."""

    gain: Tensor
    offset: Tensor

    def gains(self) -> tuple[Tensor, Tensor]:
        """Gain and offset under the active state."""
        dials = self.dials()
        return self.composed(dials) if dials else (self.gain, self.offset)

    def composed(self, dials: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Gain and offset after the dials."""
        factor = 1 + dials["scale"]
        return self.gain * factor, self.offset * factor + dials["shift"]

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Keep the composed gain and offset."""
        gain, offset = self.composed(dials)
        self.gain.copy_(gain)
        self.offset.copy_(offset)
