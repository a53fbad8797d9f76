"""Images with the model's attention laid over them, as data URIs for the report."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aet.batch import Batch
from aet.inputs.image import ImageInput
from aet.model import Model

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 8
SIDE = 64
"""Pixels of the longer side at most; the page enlarges what is smaller."""


def picture_grid(model: Model, rows: Batch, before: Tensor, after: Tensor) -> list[dict[str, str]]:
    """The last few images, each plain and with attention before and after; before and after are (B, T)."""
    name, part = next((name, part) for name, part in model.parts() if isinstance(part, ImageInput))
    pixels = rows.values[name][-SHOWN:].cpu() * part.spread.cpu() + part.center.cpu()  # (S, C, H, W)
    grid = part.grid
    cells = []
    for number, image in enumerate(pixels):
        at = len(before) - len(pixels) + number
        cells.append(
            {
                "label": f"row -{len(pixels) - number}",
                "image": data_uri(image),
                "before": data_uri(overlay(image, before[at].view(1, 1, *grid))),
                "after": data_uri(overlay(image, after[at].view(1, 1, *grid))),
            }
        )
    return cells


def overlay(image: Tensor, focus: Tensor) -> Tensor:
    """Image (C, H, W) in gray, focus (1, 1, down, across) over it in orange -> (3, H, W)."""
    gray = image.mean(0, keepdim=True).clamp(0, 1)
    heat = torch.nn.functional.interpolate(focus, image.shape[1:], mode="bilinear")[0]  # (1, H, W)
    heat = heat / heat.max().clamp_min(1e-12)
    orange = torch.tensor([1.0, 0.55, 0.1])[:, None, None]
    return gray * (1 - 0.7 * heat) * 0.8 + orange * 0.7 * heat


def data_uri(image: Tensor) -> str:
    """(1 or 3, H, W) in 0..1 as PNG or JPEG, whichever is smaller."""
    from PIL import Image

    pixels = (image.clamp(0, 1) * 255).to(torch.uint8).movedim(0, -1).numpy()
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels[..., :3])
    picture.thumbnail((SIDE, SIDE))
    return min((written(picture, kind) for kind in ("png", "jpeg")), key=len)


def written(picture: Image, kind: str) -> str:
    """As a data address."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
