"""Pictures of the report are small, whatever the images' size."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from aet.adaptation.pictures import SIDE, data_uri, overlay


def opened(address):
    kind, _, content = address.partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == f"data:image/{picture.format.lower()}"
    return picture


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_shrink_and_stay_light(channels):
    image = torch.rand(channels, 300, 200)
    address = data_uri(image)
    assert opened(address).size == (round(SIDE * 2 / 3), SIDE)
    assert len(address) < 6000
    assert len(data_uri(overlay(image, torch.rand(1, 1, 7, 7)))) < 6000


def test_small_drawings_are_kept_to_the_pixel():
    image = (torch.arange(64).view(1, 8, 8) % 3 == 0).float()
    picture = opened(data_uri(image))
    assert picture.format == "PNG"
    assert np.asarray(picture).tolist() == (255 * image[0]).int().tolist()
