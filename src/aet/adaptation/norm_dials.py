"""Dials of the norms in closed form, norm by norm in one pass: a later norm sees what the earlier ones were given."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from aet.adaptation.base import RADIUS, Method
from aet.attention.layer import NormDials, watched_norms
from aet.attention.state import ElasticState, applied
from aet.batch import Batch
from aet.errors import ConfigError


class NormPass(Method):
    """Setting that it reads: `window`, the last rows of a batch that are looked at."""

    defaults: ClassVar[dict[str, Any]] = {"window": 512}

    @abstractmethod
    def dials(self, norm: NormDials, x: Tensor, plain: Tensor, mask: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """Scale and shift (dim,) of a norm.

        Args:
            norm: the norm.
            x: what goes in (B, T, dim).
            plain: what comes out without dials (B, T, dim).
            mask: where a token is real (B, T), or None.
            rows: how many rows there are.
        """

    def propose(self, batch: Batch) -> ElasticState:
        """The state from the pass of this batch."""
        if not len(batch):
            return self.state
        batch = batch[torch.arange(len(batch))[-self.settings["window"] :]].to(self.model.device)
        found: dict[str, Tensor] = {}

        def watch(norm: NormDials, x: Tensor, plain: Tensor, mask: Tensor | None) -> Tensor:
            scale, shift = (
                torch.nan_to_num(t.to(plain)).clamp(-RADIUS, RADIUS)[None]
                for t in self.dials(norm, x, plain, mask, len(batch))
            )
            found.update({f"{norm.elastic_name}.scale": scale, f"{norm.elastic_name}.shift": shift})
            return plain * (1 + scale) + shift

        with applied(None), watched_norms(watch), torch.no_grad():
            self.model(batch)
        if not found:
            raise ConfigError(
                f"{self.name!r} looks at norms that aet built, and this model has none of them. Use 'align' or "
                "'feedback'."
            )
        self.passes += len(batch)
        self.state = self.state.updated(found)
        return self.state
