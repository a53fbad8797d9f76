"""Image corruptions in plain torch: for training under shift and for streams that wear out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, H, W) by `sigma` pixels; 0 changes nothing.

    >>> import torch
    >>> image = torch.zeros(1, 1, 5, 5); image[0, 0, 2, 2] = 1.0
    >>> torch.equal(blur(image, 0.0), image), bool(blur(image, 1.0)[0, 0, 2, 2] < 0.2)
    (True, True)
    """
    if sigma <= 0:
        return images
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.device)
    b, c, h, w = images.shape
    flat = images.reshape(b * c, 1, h, w)
    flat = F.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view(b, c, h, w)


def affine_moves(images: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shear and shift each image of (B, C, H, W) a little: entries of the affine matrix move by a
    normal draw of standard deviation `amount`.
    """
    b = len(images)
    if not b:
        return images
    theta = torch.eye(2, 3).expand(b, 2, 3) + amount * torch.randn(b, 2, 3, generator=generator)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
