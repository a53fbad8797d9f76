"""Log-mel energies in torch: short windows of a sound, their spectra, and triangular bands even on the mel scale.

    mel(f) = 2595 · log10(1 + f / 700)                                          O'Shaughnessy 1987
    w_m(f) = max(0, min((f - f_{m-1}) / (f_m - f_{m-1}), (f_{m+1} - f) / (f_{m+1} - f_m)))
    x_{m,t} = log(Σ_f w_m(f) · |STFT(f, t)|² / Σ_n h_n² + floor)

f_0 ... f_{M+1} are even in mel from 0 to half the rate, h is Hann's window.
"""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW, HOP = 0.025, 0.010
"""Length of a window and the way to the next one, in seconds."""
FLOOR = 1e-6
"""What is this far below a sound's loud parts, 60 dB in power, is taken for silence."""
ACTIVE = 1e-3
"""Windows within 30 dB of the loudest count when a sound's level is taken."""


def mels(hertz: Tensor) -> Tensor:
    """Frequencies on the mel scale.

    >>> mels(torch.tensor([0.0, 700.0]))
    tensor([  0.0000, 781.17...])
    """
    return 2595 * torch.log10(1 + hertz / 700)


def hertz(mel: Tensor) -> Tensor:
    """The way back.

    >>> hertz(mels(torch.tensor([440.0]))).round()
    tensor([440.])
    """
    return 700 * (10 ** (mel / 2595) - 1)


def edges(bands: int, rate: int) -> Tensor:
    """f_0 ... f_{M+1} in hertz (M + 2,)."""
    top = mels(torch.tensor(rate / 2, dtype=torch.float64))
    return hertz(torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top)


def filterbank(bands: int, rate: int, size: int) -> Tensor:
    """The weights w of the formula (M, size // 2 + 1) for spectra of `size` samples.

    A band so narrow that it falls between two frequencies of the spectrum takes the nearest one.

    >>> filterbank(2, 8000, 16).shape
    torch.Size([2, 9])
    """
    f = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    low, middle, high = (part[:, None] for part in edges(bands, rate).unfold(0, 3, 1).unbind(1))
    weights = torch.minimum((f - low) / (middle - low), (high - f) / (high - middle)).clamp_min(0)
    empty = weights.sum(1) == 0
    nearest = (f - middle).abs().argmin(1)
    weights[empty, nearest[empty]] = 1.0
    return weights.float()


def frames(samples: int, rate: int) -> int:
    """Windows that so many samples give: the last one may reach over the end, and there is at least one.

    >>> frames(8000, 8000), frames(10, 8000)
    (99, 1)
    """
    window, hop = round(WINDOW * rate), round(HOP * rate)
    return 1 + max(0, -(-(samples - window) // hop))


def log_mel(wave: Tensor, rate: int, bank: Tensor, loudness: bool = True) -> Tensor:
    """Energies x of the formula (M, T) of a sound (N,), with `loudness` at the same level whatever its own.

    The level is the root of the mean power of the windows within 30 dB of the loudest, as in spirit the active speech
    level of ITU-T P.56.

    >>> bank = filterbank(8, 8000, 256)
    >>> tone = torch.sin(torch.arange(4000) / 8000 * 2 * torch.pi * 1000)
    >>> loud, soft = log_mel(tone, 8000, bank), log_mel(0.01 * tone, 8000, bank)
    >>> loud.shape, bool((loud - soft).abs().max() < 1e-3)
    (torch.Size([8, 49]), True)
    """
    window, hop = round(WINDOW * rate), round(HOP * rate)
    wave = wave - wave.mean()
    count = frames(len(wave), rate)
    padded = torch.nn.functional.pad(wave, (0, window + (count - 1) * hop - len(wave)))
    pieces = padded.unfold(0, window, hop)  # (T, window)
    if loudness:
        power = pieces.square().mean(1)
        level = power[power >= ACTIVE * power.max()].mean()
        pieces = pieces / level.sqrt().clamp_min(1e-12)
    hann = torch.hann_window(window, periodic=True)
    spectrum = torch.fft.rfft(pieces * hann, n=2 * (bank.shape[1] - 1)).abs().square() / hann.square().sum()
    energies: Tensor = (bank @ spectrum.T + FLOOR).log()
    return energies
