"""A camera that wears out: its lens blurs, its contrast fades, its sensor grows noisy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from aet.inputs.corruption import blur

Images = npt.NDArray[np.uint8]

BLUR, CONTRAST, NOISE = 1.6, 0.55, 0.16
"""At the end of its life: blur in pixels, contrast lost, and noise in shares of white."""


def worn(images: Images, wear: float, seed: int = 0) -> Images:
    """Images (N, H, W) of 0..255 as a camera gives them at `wear`, 0 (new) to 1 (at the end of its life).

    >>> bars = np.tile(np.array([0, 255], np.uint8), (1, 4, 2))
    >>> bool((worn(bars, 0.0) == bars).all()), bool(worn(bars, 1.0).std() < 0.5 * bars.std())
    (True, True)
    """
    generator = torch.Generator().manual_seed(seed)
    seen = torch.from_numpy(images).float()[:, None] / 255  # (N, 1, H, W)
    seen = blur(seen, BLUR * wear)
    # What contrast loses goes to a gray veil, as dust on a lens scatters light.
    veil = CONTRAST * wear
    seen = (1 - veil) * seen + 0.5 * veil
    seen = seen + NOISE * wear * torch.randn(seen.shape, generator=generator)
    pixels: Images = (255 * seen.clamp(0, 1)).round().to(torch.uint8).squeeze(1).numpy()
    return pixels
