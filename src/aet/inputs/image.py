"""Images: cells are arrays (H, W) or (H, W, C), or paths of image files; each patch is a token.

Every image is brought to the size and the channels of the first training image. Integers are read as 0..255, 16-bit
ones as 0..65535, floats as 0..1.
The dials `scale` and `shift` undo contrast and brightness of a worn camera, one pair a channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from aet.config import Section
from aet.inputs.base import INPUTS
from aet.inputs.gains import GainedInput
from aet.schema import InputSpec


def read_image(cell: Any) -> np.ndarray:
    """One cell as float32 (H, W, C) in 0..1."""
    if isinstance(cell, str):
        from PIL import Image

        with Image.open(cell) as opened:
            pixels = unpacked(opened)
    else:
        pixels = cell if isinstance(cell, np.ndarray) else unpacked(cell)
    scale = {"u2": 65535.0, "i": 255.0, "u": 255.0}
    code = pixels.dtype.str[1:]
    pixels = pixels.astype(np.float32) / scale.get(code, scale.get(code[0], 1.0))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def unpacked(image: Any) -> np.ndarray:
    """A PIL image as an array of gray or RGB values; 16 bits stay 16 bits."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


class ImageSettings(Section):
    """`inputs.image`."""

    max_side: PositiveInt = Field(64, description="Larger images are brought to this height or width.")
    patch: PositiveInt | None = Field(None, description="Side of a patch; a seventh of the image unless given.")


PIXELS = 2**22
"""Of so many, levels are taken over all."""


@INPUTS.register("image")
class ImageInput(GainedInput):
    """One image column. Encoded: (B, C, H, W), standardised per channel."""

    kind = "image"
    center: Tensor
    spread: Tensor

    def __init__(self, specs: Sequence[InputSpec], dim: int) -> None:
        super().__init__(specs, dim)
        self.column = specs[0].columns[0]
        self.shape = (1, 1, 1)  # C, H, W
        self.patch = 1

    @classmethod
    def bundle(cls, specs: Sequence[InputSpec]) -> list[list[InputSpec]]:
        """Each image column has its own size."""
        return [[spec] for spec in specs]

    def fit(self, frame: pd.DataFrame, settings: Mapping[str, Any], target: Tensor | None = None) -> None:
        """Size (of the first image, at most `max_side`), patch and moments."""
        chosen = ImageSettings.checked("inputs.image", settings)
        first = read_image(frame[self.column].iloc[0])
        shrink = min(1.0, chosen.max_side / max(first.shape[:2]))
        height, width = (max(1, round(side * shrink)) for side in first.shape[:2])
        self.patch = chosen.patch or max(1, round(max(height, width) / 7))
        self.shape = (first.shape[2], height, width)
        self.reserve()
        sample = self.pixels(frame[self.column].iloc[:1024])
        self.center.copy_(sample.mean((0, 2, 3))[:, None, None])
        self.spread.copy_(sample.std((0, 2, 3)).clamp_min(1e-3)[:, None, None])

    def reserve(self) -> None:
        """Buffers for the moments and for a folded state, (C, 1, 1)."""
        for name, value in (("center", 0.0), ("spread", 1.0), ("gain", 1.0), ("offset", 0.0)):
            self.register_buffer(name, torch.full((self.shape[0], 1, 1), value))

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across."""
        return -(-self.shape[1] // self.patch), -(-self.shape[2] // self.patch)

    def build(self) -> None:
        """Patch projection and positions."""
        down, across = self.grid
        self.project = nn.Conv2d(self.shape[0], self.dim, self.patch, self.patch)
        self.positions = nn.Parameter(0.1 * torch.randn(down * across, self.dim))

    def settings(self) -> dict[str, Any]:
        """Size and patch."""
        return {"shape": list(self.shape), "patch": self.patch}

    def load_settings(self, settings: Mapping[str, Any]) -> None:
        """Take back size and patch."""
        channels, height, width = settings["shape"]
        self.shape, self.patch = (channels, height, width), int(settings["patch"])
        self.reserve()

    def token_names(self) -> list[str]:
        """One name a patch: row, column."""
        down, across = self.grid
        return [f"{self.specs[0].name}[{i},{j}]" for i in range(down) for j in range(across)]

    def pixels(self, cells: pd.Series) -> Tensor:
        """(B, C, H, W) in 0..1."""
        channels, height, width = self.shape
        out = torch.empty(len(cells), channels, height, width)
        for row, cell in enumerate(cells):
            image = torch.from_numpy(read_image(cell)).movedim(-1, 0)  # (c, h, w)
            if image.shape[0] == 4 and channels == 3:
                image = image[:3]  # the fourth is opacity
            if image.shape[0] != channels:
                image = image.mean(0, keepdim=True).expand(channels, -1, -1)
            if image.shape[1:] != (height, width):
                image = F.interpolate(image[None], (height, width), mode="bilinear", antialias=True)[0]
            out[row] = image
        return out

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Standardised pixels."""
        return (self.pixels(frame[self.column]) - self.center.cpu()) / self.spread.cpu()

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (B, C, H, W) -> tokens (B, P, dim)."""
        gain, offset = self.gains()
        x = torch.addcmul(offset, values, gain)
        below, right = -x.shape[2] % self.patch, -x.shape[3] % self.patch
        tokens = self.project(F.pad(x, (0, right, 0, below)))  # (B, dim, down, across)
        return tokens.flatten(2).transpose(1, 2) + self.positions, None

    def behind(self, values: Tensor) -> tuple[Tensor, int]:
        """The pixels of each patch (B, P, C·patch²), NaN beyond the edge."""
        below, right = -values.shape[2] % self.patch, -values.shape[3] % self.patch
        padded = F.pad(values, (0, right, 0, below), value=torch.nan)
        pixels = F.unfold(padded, self.patch, stride=self.patch).transpose(1, 2)
        return pixels, pixels.shape[2]

    def augment(self, values: Tensor, strength: float, generator: torch.Generator) -> Tensor:
        """Contrast, brightness, blur and noise common to the batch; small affine moves of each image."""
        from aet.inputs.corruption import affine_moves, blur

        def uniform() -> float:
            return float(strength * torch.rand((), generator=generator))

        x = affine_moves(values, 0.12 * strength, generator)
        x = blur(x, 1.2 * uniform()) if uniform() > 0.5 * strength else x
        background = x.amin((2, 3), keepdim=True)
        gain = float(torch.exp(0.5 * strength * torch.randn((), generator=generator)))
        offset = 0.4 * strength * torch.randn((), generator=generator)
        noise = 0.3 * uniform() * torch.randn(x.shape, generator=generator)
        return (x - background) * gain + background + offset + noise

    def channels(self, values: Tensor) -> Tensor:
        """Pixels by colour; of very many images, evenly spread."""
        values = self.some(values)
        some = values[:: max(1, values.numel() // PIXELS)]
        return some.movedim(1, -1).flatten(0, -2)

    def realigned(self, values: Tensor) -> dict[str, Tensor]:
        """Pixels have mean 0 and deviation 1 over the training images, channel by channel."""
        values = self.some(values)
        if not len(values):
            return {dial: torch.zeros(shape) for dial, shape in self.dial_shapes().items()}
        pixels = values.transpose(0, 1).flatten(1)  # (C, N)
        mean = pixels.mean(1, keepdim=True)
        # Two passes and a product: torch's own `std` takes several times as long.
        away = pixels - mean
        variance = torch.linalg.vecdot(away, away) / max(pixels.shape[1] - 1, 1)
        mean, gain = mean[..., None], 1 / variance.sqrt().clamp(0.2, 5.0)[:, None, None]
        return {"scale": gain - 1, "shift": -mean * gain}

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """(C, 1, 1) each."""
        return dict.fromkeys(("scale", "shift"), (self.shape[0], 1, 1))
