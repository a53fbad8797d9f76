"""What a cell of sound holds, samples and their rate: a file, an array, a pair or a dict of them.

    "a.wav"                                        a path: WAV; FLAC, OGG and others with the package soundfile
    (8000, array)                                  a pair, as scipy.io.wavfile.read gives it
    {"array": array, "sampling_rate": 8000}        a dict, as Hugging Face data sets give it
    {"bytes": b"RIFF...", "path": "a.wav"}         the same, not yet decoded
    array                                          the rate is then that of `inputs.audio.rate`

Arrays are (N,) or (N, C), or (C, N) if there are 8 channels or fewer: integers span their type, floats -1..1.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aet.errors import DataError, MissingPackage
from aet.optional import optional

Floats = npt.NDArray[np.float32]

QUIET = 1e-4
"""A sound whose samples stay this close to their mean, -80 dB of full scale, is silence."""
RATES = (100, 1_000_000)
"""Samples a second, from the least to the most."""
MOST_CHANNELS = 8
BEGINNINGS = {
    b"ftyp": "an MP4 or QuickTime film",
    b"\x1aE\xdf\xa3": "a Matroska or WebM film",
    b"AVI ": "an AVI film",
    b"\x00\x00\x01\xba": "an MPEG film",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF page",
    b"PK\x03\x04": "a ZIP archive",
    b"<": "a page of HTML or XML",
}
"""What files begin with that were given the wrong name."""


class SoundWarning(UserWarning):
    """Sounds are read otherwise than they were meant: cut, or clipped before they came."""


class NoSound(DataError):
    """A cell holds no sound; its text is what was found there."""


@dataclass(frozen=True)
class Sound:
    """Samples (N,) of one channel; the rate is None where the cell does not say it."""

    wave: Floats
    rate: int | None

    def at(self, rate: int) -> Floats:
        """The samples at another rate, by a polyphase filter; one without a rate has it already.

        >>> len(Sound(np.zeros(441, dtype=np.float32), 44100).at(8000))
        80
        """
        if self.rate is None or self.rate == rate:
            return self.wave
        from scipy.signal import resample_poly

        part = gcd(self.rate, rate)
        moved: Floats = resample_poly(self.wave, rate // part, self.rate // part).astype(np.float32)
        return moved

    @property
    def seconds(self) -> float | None:
        """How long it lasts, where the rate is known."""
        return None if self.rate is None else len(self.wave) / self.rate

    @property
    def clipped(self) -> bool:
        """Whether it was too loud for whoever recorded it: three samples or more in a row, three times or more, at the
        largest value, near full scale.

        >>> tone = np.sin(np.arange(800) / 10).astype(np.float32)
        >>> Sound(0.9 * tone, 8000).clipped, Sound((3 * tone).clip(-1, 1), 8000).clipped
        (False, True)
        """
        size = np.abs(self.wave)
        top = size.max(initial=0.0)
        held = size >= 0.999 * top
        runs = held[:-2] & held[1:-1] & held[2:]
        return bool(top > 0.95 and np.count_nonzero(runs[1:] & ~runs[:-1]) + int(runs[:1].any()) >= 3)


def read_sound(cell: Any) -> Sound:
    """The sound of a cell, its channels mixed down to their mean.

    Raises NoSound, whose text says what the cell holds instead; MissingPackage for a file that is not WAV where the
    package soundfile is missing.

    >>> read_sound((8000, np.array([[0, 16384], [16384, 16384]], dtype=np.int16))).wave
    array([0.25, 0.5 ], dtype=float32)
    """
    samples, rate = opened(cell)
    if rate is not None and not (isinstance(rate, int | np.integer) and RATES[0] <= rate <= RATES[1]):
        raise NoSound(f"a rate of {rate!r:.20}, not {RATES[0]} to {RATES[1]:,} whole samples a second")
    if samples.dtype.kind not in "iuf" or samples.ndim not in (1, 2):
        raise NoSound(f"an array of {samples.dtype} of the shape {samples.shape}, not numbers (N,) or (N, C)")
    if samples.ndim == 2:
        across = samples.shape[0] <= MOST_CHANNELS < samples.shape[1]
        samples = samples.T if across else samples
        if not 1 <= samples.shape[1] <= MOST_CHANNELS:
            raise NoSound(f"an array of {samples.shape[1]} channels, not 1 to {MOST_CHANNELS}")
    wave = unit(samples)
    if not wave.size:
        raise NoSound("a sound of 0 samples")
    if not np.isfinite(wave).all():
        raise NoSound("samples that are not finite")
    wave = wave.mean(1) if wave.ndim == 2 else wave
    if np.abs(wave - wave.mean()).max() < QUIET:
        raise NoSound("silence" + " once its channels are mixed" * (samples.ndim == 2 and samples.shape[1] > 1))
    return Sound(np.ascontiguousarray(wave), None if rate is None else int(rate))


def opened(cell: Any) -> tuple[npt.NDArray[Any], Any]:
    """Samples as given and their rate."""
    if isinstance(cell, str | Path):
        return from_file(str(cell))
    if isinstance(cell, np.ndarray):
        return cell, None
    if is_pair(cell):
        return np.asarray(cell[1]), cell[0]
    if isinstance(cell, Mapping) and cell.get("array") is not None:
        return plain(cell["array"]), cell.get("sampling_rate")
    if isinstance(cell, Mapping) and isinstance(cell.get("bytes"), bytes):
        return decoded(cell["bytes"], str(cell.get("path") or "bytes"))
    if isinstance(cell, Mapping) and isinstance(cell.get("path"), str):
        return from_file(cell["path"])
    if isinstance(cell, list):
        return plain(cell), None
    raise NoSound(f"{' '.join(repr(cell).split()):.60}")


def plain(values: Any) -> npt.NDArray[Any]:
    """A list of numbers as an array."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise NoSound(f"a list that is no array ({error})") from error


def is_pair(cell: object) -> bool:
    """Whether a cell is a rate and an array.

    >>> is_pair((8000, np.zeros(5))), is_pair((8000, 5)), is_pair([1.0, 2.0])
    (True, False, False)
    """
    if not isinstance(cell, list | tuple) or len(cell) != 2:
        return False
    rate, samples = cell
    return isinstance(rate, int | np.integer) and isinstance(samples, np.ndarray | list)


def unit(samples: npt.NDArray[Any]) -> Floats:
    """Samples as float32 in -1..1."""
    kind, half = samples.dtype.kind, 2.0 ** (8 * samples.dtype.itemsize - 1)
    if kind == "f":
        return samples.astype(np.float32)
    moved: Floats = ((samples.astype(np.float64) - half * (kind == "u")) / half).astype(np.float32)
    return moved


def from_file(path: str) -> tuple[npt.NDArray[Any], Any]:
    """Samples and rate of a file."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise NoSound(f"{path!r}, where there is no file") from error
    except OSError as error:
        raise NoSound(f"{path!r}, which cannot be read ({error.strerror})") from error
    return decoded(content, path)


def decoded(content: bytes, path: str) -> tuple[npt.NDArray[Any], Any]:
    """Samples and rate of a file's bytes; of WAV without the package soundfile too."""
    if not content:
        raise NoSound(f"{path!r}, an empty file")
    head = content[:12]
    other = next((what for mark, what in BEGINNINGS.items() if mark in (head[4:8], head[8:12], head[: len(mark)])), "")
    if other:
        raise NoSound(f"{path!r}, {other} under the name of a sound")
    try:
        soundfile = optional("soundfile", f"Reading {path!r}", "pip install soundfile", "give WAV files")
    except MissingPackage:
        if head[:4] != b"RIFF":
            raise
        return wav(content, path)
    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise NoSound(f"{path!r}, a broken file or no sound ({str(error).rstrip('.')})") from error
    return samples, rate


def wav(content: bytes, path: str) -> tuple[npt.NDArray[Any], Any]:
    """Samples and rate of WAV in PCM or floats, by SciPy."""
    import struct

    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of notes beside the sound
            rate, samples = wavfile.read(io.BytesIO(content))
    except UnboundLocalError as error:  # SciPy gives back what no chunk of the file gave it
        raise NoSound(f"{path!r}, a broken file or no sound (no data chunk)") from error
    except (ValueError, EOFError, struct.error) as error:
        raise NoSound(f"{path!r}, a broken file or no sound ({str(error).rstrip('.')})") from error
    return samples, rate
