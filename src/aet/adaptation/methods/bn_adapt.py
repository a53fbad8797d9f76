"""Batch norms take moments of the stream's rows beside those of training; no gradient (Schneider et al. 2020).

    μ' = N/(N+n) μ + n/(N+n) μ_t,    σ'² = N/(N+n) σ² + n/(N+n) σ_t²

μ_t, σ_t are the moments of a norm's input over the n rows of the batch, N = `rows` of the source. In the dials of the
norm w (x - μ)/σ + b that is

    scale = σ/σ' - 1,    shift = b (1 - σ/σ') + w (μ - μ')/σ'

found norm by norm in one pass. Source: 2006.16971, with N = 16, which the authors find good for small batches. A model
of layer or RMS norms has no such moments: `norm_align` does for it what can be done. Harms where the rows' mix changed
and not their look, and in sorted streams.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from aet.adaptation.base import METHODS
from aet.adaptation.norm_dials import NormPass
from aet.attention.layer import NormDials
from aet.attention.norms import ElasticBatchNorm
from aet.errors import ConfigError
from aet.statistics import Moments


@METHODS.register("bn_adapt")
class BnAdapt(NormPass):
    """Settings: `rows` N of the source, `window`: the last rows of a batch that are looked at."""

    defaults: ClassVar[dict[str, Any]] = {**NormPass.defaults, "rows": 16}

    def reset(self) -> None:
        """Back to the source; the model must have batch norms."""
        super().reset()
        if not any(isinstance(part, ElasticBatchNorm) for part in self.model.modules()):
            kind = self.model.config.model.norm
            raise ConfigError(
                f"{self.name!r} adapts batch norms, and this model has norms of the kind {kind!r}: "
                "they keep no moments of batches. Use 'align' or 'norm_align', or train with model.norm='batch'."
            )

    def dials(self, norm: NormDials, x: Tensor, plain: Tensor, mask: Tensor | None, rows: int) -> tuple[Tensor, Tensor]:
        """The formulas above."""
        assert isinstance(norm, ElasticBatchNorm)
        now, share = Moments.of(x, mask), rows / (self.settings["rows"] + rows)
        mean = norm.running_mean.lerp(now.mean, share)
        ratio = ((norm.running_var + norm.eps) / (norm.running_var.lerp(now.std.square(), share) + norm.eps)).sqrt()
        plain_std = (norm.running_var + norm.eps).sqrt()
        return ratio - 1, norm.bias * (1 - ratio) + norm.weight * (norm.running_mean - mean) * ratio / plain_std
