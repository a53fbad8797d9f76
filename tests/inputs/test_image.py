"""Images: files, arrays, depths, sizes and channels."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from aet.inputs.image import ImageInput, read_image
from aet.schema import InputSpec


def series(*cells):
    column = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        column[row] = cell
    return pd.DataFrame({"x": column})


def part(*cells, **settings):
    made = ImageInput([InputSpec("x", "image", ("x",))], 4)
    made.fit(series(*cells), settings)
    made.build()
    return made


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("L", 51, [0.2]),
        ("1", 1, [1.0]),
        ("LA", (51, 128), [0.2]),
        ("I;16", 13107, [0.2]),
        ("RGB", (51, 102, 255), [0.2, 0.4, 1.0]),
        ("RGBA", (51, 102, 255, 7), [0.2, 0.4, 1.0]),
    ],
)
def test_files_of_every_mode_are_read_between_0_and_1(tmp_path, mode, pixel, expected):
    image = Image.new(mode, (4, 3), pixel)
    image.save(tmp_path / "x.png")
    for cell in (str(tmp_path / "x.png"), image):
        pixels = read_image(cell)
        assert pixels.shape == (3, 4, len(expected))
        assert pixels.dtype == np.float32
        np.testing.assert_allclose(pixels[0, 0], expected, atol=1e-5)


def test_a_palette_is_looked_up(tmp_path):
    Image.new("RGB", (4, 3), (255, 0, 0)).convert("P").save(tmp_path / "x.png")
    np.testing.assert_allclose(read_image(str(tmp_path / "x.png"))[0, 0], [1, 0, 0])


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.int64, 255), (np.float32, 1.0), (np.bool_, True)]
)
def test_arrays_of_every_depth_are_read_between_0_and_1(dtype, white):
    assert read_image(np.full((2, 3), white, dtype=dtype)).tolist() == [[[1.0]] * 3] * 2


def test_size_and_channels_are_the_first_image_s():
    made = part(np.zeros((8, 6, 3)), np.ones((8, 6, 3)), patch=4)
    assert made.shape == (3, 8, 6)
    assert made.token_names() == ["x[0,0]", "x[0,1]", "x[1,0]", "x[1,1]"]
    odd = series(np.ones((16, 12, 3)), np.ones((8, 6)), np.ones((5, 9, 1)), np.ones((8, 6, 4)))
    assert made.encode(odd).shape == (4, 3, 8, 6)


def test_opacity_is_dropped_and_colour_kept():
    made = part(np.zeros((4, 4, 3)), np.ones((4, 4, 3)), patch=2)
    plain = np.random.default_rng(0).random((4, 4, 3))
    clear = np.concatenate([plain, np.zeros((4, 4, 1))], -1)
    torch.testing.assert_close(made.encode(series(clear)), made.encode(series(plain)))


def test_large_images_are_brought_to_the_largest_side():
    made = part(np.zeros((200, 100)), np.ones((200, 100)), max_side=20)
    assert made.shape == (1, 20, 10)
    assert made.encode(series(np.ones((200, 100)))).shape == (1, 1, 20, 10)


def test_pixels_are_standardised_by_channel():
    rng = np.random.default_rng(0)
    cells = [rng.normal([0.2, 0.5, 0.8], [0.01, 0.1, 0.05], (6, 6, 3)) for _ in range(40)]
    values = part(*cells, patch=3).encode(series(*cells))
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std((0, 2, 3)), torch.ones(3), atol=1e-2, rtol=0)


def test_black_images_do_not_divide_by_zero():
    made = part(np.zeros((4, 4)), np.zeros((4, 4)))
    assert torch.isfinite(made(made.encode(series(np.ones((4, 4)))))[0]).all()
