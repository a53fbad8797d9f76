"""Another speaker, microphone and room, simulated on log-mel energies x (B, M, T), NaN where there is no sound.

Speaker, microphone, room and noise, and masks; the first from vocal tracts α times as short (VTLP: Jaitly and Hinton,
"Vocal tract length perturbation improves speech recognition", 2013) that speak β times as fast:

    x'(m, t) = x(band at f_m / α, β t)
    x'_m = x_m + g_m, g a smooth curve over the bands
    e^x'_t = e^x_t + a Σ_k d^k e^x_{t-k}, power that dies away;  e^x' = e^x + e^n
    stretches of bands and of time at their mean (SpecAugment: Park et al. 2019, 1904.08779)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.inputs.melbank import edges, mels

ECHO = 16
"""Windows over which a room answers."""


@dataclass(frozen=True)
class Elsewhere:
    """How far a drift of strength 1 goes: standard deviations of logarithms, of natural logarithms of power, and shares
    of the batches. What has `_row` is drawn for each sound, all else for the batch.
    """

    tract: float = 0.08
    tract_row: float = 0.06
    tempo: float = 0.12
    tempo_row: float = 0.12
    microphone: float = 0.7
    room: float = 0.4
    rooms: float = 0.4
    noise: tuple[float, float] = (-12.0, 7.0)
    """Power below the loudest, and how much of that a draw takes away at most."""
    noises: float = 0.5

    def __call__(self, x: Tensor, rate: int, strength: float, generator: torch.Generator) -> Tensor:
        """Energies (B, M, T) as they would be there."""

        def factors(common: float, own: float, most: float) -> Tensor:
            draws = common * torch.randn((), generator=generator) + own * torch.randn(len(x), generator=generator)
            return (strength * draws).clamp(-most, most).exp()

        def uniform() -> float:
            return float(torch.rand((), generator=generator))

        x = warped(x, factors(self.tract, self.tract_row, 0.4), rate)
        x = stretched(x, factors(self.tempo, self.tempo_row, 0.6))
        if uniform() < self.rooms * strength:
            x = smeared(x, strength * self.room * uniform(), 0.5 + 0.4 * uniform())
        x = x + curve(x.shape[1], self.microphone * strength, generator)[:, None]
        if uniform() < self.noises * strength:
            far, near = self.noise
            level = x.nan_to_num(-torch.inf).amax((1, 2), keepdim=True) + far + strength * near * uniform()
            hiss = curve(x.shape[1], 1.0, generator)[:, None] + 0.7 * torch.randn(x.shape, generator=generator)
            x = torch.logaddexp(x, level + hiss)
        return x


def lengths(x: Tensor) -> Tensor:
    """Windows of each sound (B,)."""
    return (~x[:, 0].isnan()).sum(1)


def warped(x: Tensor, factors: Tensor, rate: int) -> Tensor:
    """As from vocal tracts `factors` (B,) times as short: each band takes what lay at its frequency over the factor.

    >>> x = torch.randn(2, 8, 5)
    >>> torch.allclose(warped(x, torch.ones(2), 8000), x, atol=1e-4)
    True
    """
    bands = x.shape[1]
    if bands == 1:
        return x
    centres = edges(bands, rate)[1:-1]
    step = mels(centres[:1])
    place = (mels(centres / factors[:, None]) / step - 1).clamp(0, bands - 1).to(x.dtype)  # (B, M), in bands
    below = place.floor().long().clamp(max=bands - 2)
    index = below[..., None].expand(-1, -1, x.shape[2])
    return torch.lerp(x.gather(1, index), x.gather(1, index + 1), (place - below)[..., None])


def stretched(x: Tensor, factors: Tensor) -> Tensor:
    """Spoken `factors` (B,) times as fast; what no longer fits is cut off, and one window stays at least.

    >>> stretched(torch.arange(6.0).view(1, 1, 6), torch.tensor([2.0]))
    tensor([[[0., 2., 4., nan, nan, nan]]])
    """
    last = (lengths(x) - 1).clamp_min(0)[:, None]  # (B, 1)
    place = torch.arange(x.shape[2]) * factors[:, None].to(x.dtype)  # (B, T)
    gone = place > last
    place = place.minimum(last.to(x.dtype))
    below = place.floor().long()
    index, shape = (part[:, None].expand_as(x) for part in (below, (below + 1).minimum(last)))
    moved = torch.lerp(x.gather(2, index), x.gather(2, shape), (place - below)[:, None])
    return moved.masked_fill(gone[:, None], torch.nan)


def curve(bands: int, size: float, generator: torch.Generator) -> Tensor:
    """A smooth random curve over the bands (M,): three cosines, the faster the smaller."""
    at = (torch.arange(bands) + 0.5) / bands
    parts = torch.stack([(torch.pi * k * at).cos() / k for k in (1, 2, 3)])
    return size * torch.randn(3, generator=generator) @ parts


def smeared(x: Tensor, amount: float, decay: float) -> Tensor:
    """A room's answer, which dies away by `decay` a window.

    >>> x = torch.tensor([[[0.0, -50.0, -50.0]]])
    >>> smeared(x, 0.5, 0.5)
    tensor([[[ 0.0000, -1.3863, -2.0794]]])
    """
    kernel = torch.cat([amount * decay ** torch.arange(ECHO, 0, -1.0), torch.ones(1)]).to(x.dtype)
    power = F.pad(x.exp().nan_to_num(0.0).flatten(0, 1)[:, None], (ECHO, 0))
    answer = F.conv1d(power, kernel.view(1, 1, -1)).view_as(x)
    return answer.clamp_min(1e-30).log().masked_fill(x.isnan(), torch.nan)


def masked(values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """One stretch of bands and one of time of each sound at 0, their mean: up to a fifth of all of each."""
    for axis, size in ((1, torch.full((len(values),), values.shape[1])), (2, lengths(values))):
        width = 0.2 * strength * torch.rand(len(values), generator=generator) * size
        start = torch.rand(len(values), generator=generator) * (size - width)
        at = torch.arange(values.shape[axis])
        hit = (at >= start[:, None].round()) & (at < (start + width)[:, None].round())  # (B, ·)
        values = values.masked_fill(hit.unsqueeze(3 - axis) & ~values.isnan(), 0.0)
    return values
