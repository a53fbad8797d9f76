"""Corruptions of gray images at three severities, fixed beforehand; none shares code with the training drift.

After Hendrycks and Dietterich 2019 (1903.12261) and MNIST-C (Mu and Gilmer 2019, 1906.02337). Images (N, H, W) in 0..1,
dark background. What belongs to a world (direction, sign) is drawn once a call, what belongs to an image for each.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Images = npt.NDArray[np.float64]
Rng = np.random.Generator


def gaussian_noise(x: Images, amount: float, rng: Rng) -> Images:
    return x + amount * rng.normal(size=x.shape)


def shot_noise(x: Images, photons: float, rng: Rng) -> Images:
    return rng.poisson(x.clip(0, 1) * photons + 0.3) / photons


def impulse_noise(x: Images, share: float, rng: Rng) -> Images:
    hit = rng.random(x.shape) < share
    return np.where(hit, rng.integers(0, 2, x.shape), x)


def defocus(x: Images, radius: float, rng: Rng) -> Images:
    reach = int(np.ceil(radius))
    across = np.arange(-reach, reach + 1)
    disk = (np.hypot(across, across[:, None]) <= radius).astype(float)
    return ndimage.convolve(x, (disk / disk.sum())[None])


def motion_blur(x: Images, length: float, rng: Rng) -> Images:
    size = round(length)
    line = np.zeros((size, size))
    line[size // 2] = 1
    line = ndimage.rotate(line, rng.uniform(0, 180), reshape=False, order=1).clip(0)
    return ndimage.convolve(x, (line / line.sum())[None])


def fog(x: Images, thickness: float, rng: Rng) -> Images:
    clouds = ndimage.gaussian_filter(rng.random(x.shape), (0, 5, 5), mode="wrap")
    low, high = clouds.min((1, 2), keepdims=True), clouds.max((1, 2), keepdims=True)
    return (x + thickness * (0.3 + 0.7 * (clouds - low) / (high - low))) / (1 + thickness)


def brightness(x: Images, lift: float, rng: Rng) -> Images:
    return x + lift


def contrast(x: Images, kept: float, rng: Rng) -> Images:
    return 0.5 + kept * (x - 0.5)


def pixelate(x: Images, side: float, rng: Rng) -> Images:
    height, width = x.shape[1:]
    small = [each(image).resize((round(side), round(side)), Image.Resampling.BOX) for image in x]
    return np.stack([np.asarray(image.resize((width, height), Image.Resampling.NEAREST)) for image in small]) / 255


def jpeg(x: Images, quality: float, rng: Rng) -> Images:
    out = np.empty_like(x)
    for row, image in enumerate(x):
        file = io.BytesIO()
        each(image).save(file, "JPEG", quality=round(quality))
        out[row] = np.asarray(Image.open(file)) / 255
    return out


def elastic(x: Images, pull: float, rng: Rng) -> Images:
    n, height, width = x.shape
    moves = ndimage.gaussian_filter(rng.uniform(-1, 1, (2, n, height, width)), (0, 0, 3, 3))
    moves *= pull / moves.std()
    rows, down, across = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    return ndimage.map_coordinates(x, [rows, down + moves[0], across + moves[1]], order=1)


def tilt(x: Images, degrees: float, rng: Rng) -> Images:
    turn = np.deg2rad(degrees) * rng.choice([-1, 1])
    shear = [[1, 0.3 * np.sign(turn)], [0, 1]]
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ shear
    middle = (np.array(x.shape[1:]) - 1) / 2
    return np.stack([ndimage.affine_transform(image, matrix, middle - matrix @ middle, order=1) for image in x])


def glass_blur(x: Images, reach: float, rng: Rng) -> Images:
    n, height, width = x.shape
    rows, down, across = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    jump = rng.uniform(-reach, reach, (2, n, height, width))
    there = [np.round(down + jump[0]).clip(0, height - 1), np.round(across + jump[1]).clip(0, width - 1)]
    return ndimage.gaussian_filter(x[rows, there[0].astype(int), there[1].astype(int)], (0, 0.5, 0.5))


def zoom_blur(x: Images, largest: float, rng: Rng) -> Images:
    middle = (np.array(x.shape[1:]) - 1) / 2
    seen = [x]
    for factor in np.linspace(1, largest, 6)[1:]:
        matrix = np.eye(2) / factor
        offset = middle - matrix @ middle
        seen.append(np.stack([ndimage.affine_transform(image, matrix, offset, order=1) for image in x]))
    return np.mean(seen, axis=0)


def spatter(x: Images, share: float, rng: Rng) -> Images:
    drops = ndimage.gaussian_filter(rng.normal(size=x.shape), (0, 1.2, 1.2))
    wet = drops > np.quantile(drops, 1 - share, axis=(1, 2), keepdims=True)
    return np.where(wet, rng.uniform(0.6, 1.0), x)


def each(image: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.round(255 * image.clip(0, 1)).astype(np.uint8))


CORRUPTIONS: dict[str, tuple[Callable[[Images, float, Rng], Images], tuple[float, float, float]]] = {
    "gaussian noise": (gaussian_noise, (0.2, 0.4, 0.6)),
    "shot noise": (shot_noise, (6.0, 3.0, 1.5)),
    "impulse noise": (impulse_noise, (0.1, 0.2, 0.35)),
    "defocus": (defocus, (1.5, 2.3, 3.0)),
    "motion blur": (motion_blur, (7.0, 11.0, 15.0)),
    "fog": (fog, (0.5, 1.0, 2.0)),
    "brightness": (brightness, (0.2, 0.4, 0.6)),
    "contrast": (contrast, (0.5, 0.3, 0.15)),
    "pixelate": (pixelate, (12.0, 9.0, 7.0)),
    "jpeg": (jpeg, (20.0, 8.0, 3.0)),
    "elastic": (elastic, (1.0, 1.6, 2.2)),
    "tilt": (tilt, (15.0, 25.0, 35.0)),
}
FIFTEEN = {
    **CORRUPTIONS,
    "glass blur": (glass_blur, (1.0, 2.0, 3.0)),
    "zoom blur": (zoom_blur, (1.4, 1.8, 2.4)),
    "spatter": (spatter, (0.06, 0.12, 0.2)),
}
"""With three more, for the shift suite."""


def corrupted(images: npt.NDArray[np.uint8], name: str, severity: float, rng: Rng) -> npt.NDArray[np.uint8]:
    """Images (N, H, W) under one world of a corruption; severity 0, 1, 2, or in between."""
    change, levels = FIFTEEN[name]
    amount = float(np.interp(severity, [0, 1, 2], levels))
    return np.round(255 * change(images / 255, amount, rng).clip(0, 1)).astype(np.uint8)
