"""What destroys an object leaves its parts."""

import numpy as np
import pytest
import torch

import aet
from aet.adaptation.destroyed import columns_of_others, destroyed, shuffled_pieces, shuffled_words
from aet.inputs.text import PAD, START
from tests.adaptation.models import batch_of
from tests.made import mixed, quick


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def test_pieces_of_an_image_stay_whole():
    images = torch.arange(3 * 2 * 8 * 12.0).view(3, 2, 8, 12)
    moved = shuffled_pieces(images, draws())
    orders = []
    for image, other in zip(images, moved, strict=True):
        tiles, others = (
            [i[:, y : y + 2, x : x + 3] for y in range(0, 8, 2) for x in range(0, 12, 3)] for i in (image, other)
        )
        orders.append([next(j for j, tile in enumerate(tiles) if torch.equal(tile, found)) for found in others])
    assert all(sorted(order) == list(range(16)) for order in orders)
    assert orders[0] != orders[1], "each image in an order of its own"


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (2, 1, 3, 9), (2, 3, 10, 7), (0, 1, 8, 8)])
def test_any_size_of_image(shape):
    images = torch.randn(shape, generator=draws())
    moved = shuffled_pieces(images, draws())
    assert moved.shape == images.shape
    assert torch.equal(moved.flatten(1).sort(1).values, images.flatten(1).sort(1).values)
    if shape[2:] == (10, 7):
        assert torch.equal(moved[:, :, 8:], images[:, :, 8:]), "the rim stays"


def test_words_change_places_among_themselves():
    pieces = torch.full((20, 12), PAD)
    pieces[:, 0] = START
    for row in range(20):
        pieces[row, 1 : 2 + row % 10] = torch.arange(1, 2 + row % 10)  # 1 is the unknown piece: it moves too
        pieces[row, pieces[row] == START] = 50
        pieces[row, 0] = START
    moved = shuffled_words(pieces, draws())
    assert torch.equal(moved.sort(1).values, pieces.sort(1).values)
    assert torch.equal(moved == PAD, pieces == PAD)
    assert (moved[:, 0] == START).all()
    assert not torch.equal(moved, pieces)


def test_half_of_the_columns_are_of_one_other_row():
    values = (100.0 * torch.arange(30)[:, None] + torch.arange(6)).view(30, 3, 2)
    moved = columns_of_others(values, draws())
    rows, columns = (moved // 100).flatten(1), (moved % 100).flatten(1)
    assert torch.equal(columns, torch.arange(6.0).expand(30, 6)), "a column stays a column"
    for row, owners in enumerate(rows):
        others = owners[owners != row]
        assert len(others) == 3
        assert len(others.unique()) == 1
    assert torch.equal(columns_of_others(values[:1], draws()), values[:1])
    assert not torch.equal(columns_of_others(values[:, :1, :1], draws()), values[:, :1, :1]), "at least one column"


def test_every_kind_of_input():
    frame = mixed(60)
    target = frame.columns[-1]
    model = aet.train(frame, target=target, config=quick(epochs=1))
    batch = model.encode(frame)
    moved = destroyed(model, batch, draws())
    again = destroyed(model, batch, draws())
    assert {part.kind for _, part in model.parts()} >= {"number", "category", "text"}
    for name, values in batch.values.items():
        assert moved.values[name].dtype == values.dtype
        assert not np.array_equal(moved.values[name].numpy(), values.numpy(), equal_nan=True)
        assert np.array_equal(moved.values[name].numpy(), again.values[name].numpy(), equal_nan=True)


def test_images_of_a_model(images):
    batch = batch_of(images, 8)
    moved = destroyed(images, batch, draws()).values["image0"]
    assert not torch.equal(moved, batch.values["image0"])
    assert torch.equal(moved.flatten(1).sort(1).values, batch.values["image0"].flatten(1).sort(1).values)


def test_marks_between_windows_stay_and_no_word_is_lost():
    pieces = torch.tensor([[101, 7, 8, 102, 101, 9, 10, 102, 101, 11, 102, 0]])
    moved = shuffled_words(pieces, torch.Generator().manual_seed(3), fixed=(0, 101, 102))
    fixed = torch.isin(pieces, torch.tensor([0, 101, 102]))
    assert torch.equal(moved[fixed], pieces[fixed])
    assert not torch.equal(moved, pieces)
    assert sorted(moved[~fixed].tolist()) == [7, 8, 9, 10, 11]
