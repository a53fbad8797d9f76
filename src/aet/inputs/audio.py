"""Sounds: each is brought to one rate and one level, then to log-mel energies; patches of time and pitch are tokens.

    wave -> x (M bands, T windows), standardised a band -> two convolutions of stride 2 -> patches + pitch_i + time_j

The convolutions come first since a patch alone sees nothing of how its sounds move (Xiao et al. 2021, 2106.14881).
What is read of a sound: `aet.cells.waveform`; energies: `aet.inputs.melbank`; drift: `aet.inputs.acoustics`.
The dials `scale` and `shift` undo another microphone, one pair a band: in log energies a filter is an offset.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from aet.cells.waveform import RATES, Floats, Sound, SoundWarning, read_sound
from aet.config import Section
from aet.errors import ConfigError
from aet.inputs.acoustics import Elsewhere, masked
from aet.inputs.base import INPUTS
from aet.inputs.gains import GainedInput
from aet.inputs.melbank import WINDOW, filterbank, frames, log_mel
from aet.schema import InputSpec

SAMPLE = 1024
"""Training sounds that levels are taken of."""
VALUES = 2**22
"""Of so many, levels are taken over all."""
STRIDE = 4
"""Of the convolutions, down and across."""


class AudioSettings(Section):
    """`inputs.audio`."""

    rate: int | None = Field(
        None,
        ge=RATES[0],
        le=RATES[1],
        description="Samples a second that all sounds are brought to, and that arrays without a rate have; unless "
        "given that of most training sounds, at most 16,000.",
    )
    seconds: PositiveFloat | None = Field(
        None,
        description="Of longer sounds the loudest stretch of this length is read; unless given so long that 98 % of "
        "the training sounds are read whole, at most 10.",
    )
    mels: PositiveInt = Field(40, description="Bands from 0 to half the rate.")
    bands: PositiveInt = Field(20, multiple_of=STRIDE, description="Bands of a patch.")
    windows: PositiveInt = Field(8, multiple_of=STRIDE, description="Windows of a patch, 10 ms each.")
    stem: PositiveInt = Field(32, multiple_of=2, description="Channels of the convolutions before the patches.")
    deltas: bool = Field(False, description="Whether the slopes of the energies in time are read too.")
    loudness: bool = Field(True, description="Whether every sound is brought to the same level.")


@INPUTS.register("audio")
class AudioInput(GainedInput):
    """One column of sounds. Encoded: energies (B, M, T), standardised a band, NaN behind a sound's end."""

    kind = "audio"
    drift = Elsewhere()
    center: Tensor
    spread: Tensor

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.chosen = AudioSettings()
        self.rate, self.length = 1, 1  # samples a second, samples at most

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each column has its own rate and length."""
        return [[spec] for spec in specs]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Rate, length and moments; ConfigError where neither a sound nor the settings say the rate."""
        self.chosen = AudioSettings.checked("inputs.audio", settings)
        sounds = [read_sound(cell) for cell in frame[self.column]]
        self.rate = self.chosen.rate or common_rate(sounds, self.column)
        seconds = [len(sound.wave) / (sound.rate or self.rate) for sound in sounds]
        self.length = max(1, round((self.chosen.seconds or min(10.0, float(np.quantile(seconds, 0.98)))) * self.rate))
        self.reserve()
        energies = self.energies(sounds[:SAMPLE])
        flat = real_windows(energies)
        self.center.copy_(flat.mean(0)[:, None])
        self.spread.copy_(flat.std(0).clamp_min(1e-3)[:, None])

    def reserve(self) -> None:
        """Buffers for the moments and for a folded state, (M, 1)."""
        for name, value in (("center", 0.0), ("spread", 1.0), ("gain", 1.0), ("offset", 0.0)):
            self.register_buffer(name, torch.full((self.chosen.mels, 1), value))

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in pitch and in time."""
        return -(-self.chosen.mels // self.chosen.bands), -(-frames(self.length, self.rate) // self.chosen.windows)

    @property
    def shape(self) -> tuple[int, int]:
        """M and T; T fills whole patches."""
        return self.chosen.mels, self.grid[1] * self.chosen.windows

    def build(self) -> None:
        """Convolutions, patch projection and positions."""
        high, long = self.grid
        patch = (self.chosen.bands // STRIDE, self.chosen.windows // STRIDE)
        wide = self.chosen.stem
        self.project = nn.Sequential(
            nn.Conv2d(1 + self.chosen.deltas, wide // 2, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(wide // 2, wide, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(wide, self.dim, patch, patch),
        )
        self.pitch = nn.Parameter(0.1 * torch.randn(high, 1, self.dim))
        self.time = nn.Parameter(0.1 * torch.randn(1, long, self.dim))

    def settings(self) -> dict[str, Any]:
        """Rate, samples at most, and the user's settings."""
        return {"rate": self.rate, "length": self.length, "chosen": self.chosen.model_dump()}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take them back."""
        self.rate, self.length = int(settings["rate"]), int(settings["length"])
        self.chosen = AudioSettings.checked("inputs.audio", settings["chosen"])
        self.reserve()

    def token_names(self) -> list[str]:
        """One name a patch: its number in pitch, from the lowest, and in time."""
        high, long = self.grid
        return [f"{self.specs[0].name}[{i},{j}]" for i in range(high) for j in range(long)]

    def energies(self, sounds: Sequence[Sound]) -> Tensor:
        """Log-mel energies (B, M, T); of a longer sound its loudest stretch."""
        bank = filterbank(self.chosen.mels, self.rate, 1 << (round(WINDOW * self.rate) - 1).bit_length())
        out = torch.full((len(sounds), *self.shape), torch.nan)
        for row, sound in enumerate(sounds):
            wave = torch.from_numpy(loudest(sound.at(self.rate), self.length))
            found = log_mel(wave, self.rate, bank, self.chosen.loudness)
            out[row, :, : found.shape[1]] = found
        return out

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Standardised energies; SoundWarning where sounds are longer than what is read of them."""
        sounds = [read_sound(cell) for cell in frame[self.column]]
        seconds = self.length / self.rate
        long = sum(len(sound.wave) > 1.01 * seconds * (sound.rate or self.rate) for sound in sounds)
        if long:
            warnings.warn(
                f"Column {self.column!r}: {long} of {len(sounds)} sounds are longer than {seconds:.2f} seconds; of "
                "each the loudest stretch of this length is read. inputs.audio.seconds sets it, or cut the sounds.",
                SoundWarning,
                stacklevel=2,
            )
        return (self.energies(sounds) - self.center.cpu()) / self.spread.cpu()

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, M, T) -> tokens (B, P, dim), pitch by pitch, and which have sound in them (B, P)."""
        gain, offset = self.gains()
        real = ~values.isnan().any(1)  # (B, T)
        # Twice: what is not there has no slope either, and the offset is for sounds alone.
        x = torch.addcmul(offset, values.masked_fill(~real[:, None], 0.0), gain)
        x = x.masked_fill(~real[:, None], 0.0)[:, None]
        if self.chosen.deltas:
            x = torch.cat([x, slopes(x).masked_fill(~real[:, None, None], 0.0)], 1)
        tokens = self.project(F.pad(x, (0, 0, 0, -x.shape[2] % self.chosen.bands)))  # (B, dim, high, long)
        tokens = tokens.movedim(1, -1) + self.pitch + self.time
        mask = real.unflatten(1, (-1, self.chosen.windows)).any(2)  # (B, long)
        return tokens.flatten(1, 2), mask[:, None].expand(-1, self.grid[0], -1).flatten(1)

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The energies of each patch (B, P, bands · windows), NaN where there is no sound."""
        patch = (self.chosen.bands, self.chosen.windows)
        padded = F.pad(values, (0, 0, 0, -values.shape[1] % patch[0]), value=torch.nan)
        energies = F.unfold(padded[:, None], patch, stride=patch).transpose(1, 2)
        return energies, energies.shape[2]

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Another speaker, microphone and room for the batch; masks and small moves of each sound."""
        return masked(self.aged(values, strength, generator), strength, generator)

    def aged(self, values: Tensor, amount: float, generator: torch.Generator) -> Tensor:
        """The same without masks."""
        if not len(values):
            return values
        center, spread = self.center.to(values), self.spread.to(values)
        return (self.drift(values * spread + center, self.rate, amount, generator) - center) / spread

    def channels(self, values: Tensor) -> Tensor:
        """Energies of windows with sound, by band."""
        flat = real_windows(values)
        return flat[:: max(1, flat.numel() // VALUES)]

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """Energies have mean 0 and deviation 1 over the training sounds, band by band."""
        flat = real_windows(values)
        if len(flat) < 2:
            return {dial: torch.zeros(shape) for dial, shape in self.dial_shapes().items()}
        mean, gain = flat.mean(0)[:, None], 1 / flat.std(0).clamp(0.2, 5.0)[:, None]
        return {"scale": gain - 1, "shift": -mean * gain}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(M, 1) each."""
        return dict.fromkeys(("scale", "shift"), (self.chosen.mels, 1))


def common_rate(sounds: Sequence[Sound], column: str) -> int:
    """That of most sounds, at most 16,000; ConfigError where none says it."""
    rates = Counter(sound.rate for sound in sounds if sound.rate is not None)
    if not rates:
        raise ConfigError(
            f"Column {column!r} holds sounds as arrays, which do not say how many samples a second they have. Set "
            "inputs.audio.rate, as in config={'inputs': {'audio': {'rate': 16000}}}, or give pairs (rate, array)."
        )
    return min(rates.most_common(1)[0][0], 16_000)


def real_windows(values: Tensor) -> Tensor:
    """The windows with sound in them (N, M)."""
    return values.transpose(1, 2)[~values.isnan().any(1)]


def slopes(x: Tensor) -> Tensor:
    """Least-squares slopes in time of (B, 1, M, T), over five windows.

    >>> slopes(torch.arange(6.0).view(1, 1, 1, 6))[0, 0, 0, 2:4]
    tensor([1., 1.])
    """
    kernel = (torch.arange(5, dtype=x.dtype, device=x.device) - 2).view(1, 1, 1, 5) / 10
    return F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), kernel)


def loudest(wave: Floats, length: int) -> Floats:
    """The stretch of this many samples with the most power; all of a shorter sound.

    >>> loudest(np.array([0, 1, 3, 2, 0], dtype=np.float32), 2)
    array([3., 2.], dtype=float32)
    """
    if len(wave) <= length:
        return wave
    power = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    start = int((power[length:] - power[:-length]).argmax())
    return wave[start : start + length]
