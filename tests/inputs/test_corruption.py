"""Image corruptions against what they should do to simple images."""

import torch

from aet.inputs.corruption import affine_moves, blur


def test_blur_keeps_flat_images_and_the_mean_and_takes_the_contrast():
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(blur(torch.full((1, 2, 5, 5), 0.4), 2.0), torch.full((1, 2, 5, 5), 0.4))
    blurred = blur(images, 1.5)
    assert blurred.shape == images.shape
    assert (blurred.mean() - images.mean()).abs() < 0.02
    assert (blurred.std((2, 3)) < 0.5 * images.std((2, 3))).all()


def test_blur_is_the_gaussian_of_its_width():
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 10] = 1
    spot = blur(point, 2.0)[0, 0]
    offsets = torch.arange(21) - 10.0
    assert abs(float((spot.sum(0) * offsets.square()).sum()) - 4.0) < 0.2
    torch.testing.assert_close(spot, spot.T)


def test_moves_are_small_different_for_each_image_and_none_at_zero():
    images = torch.rand(4, 1, 12, 12)
    still = affine_moves(images, 0.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(still, images, atol=1e-5, rtol=0)
    same = images[:1].expand(4, -1, -1, -1)
    moved = affine_moves(same, 0.1, torch.Generator().manual_seed(0))
    assert not torch.equal(moved[0], moved[1])
    assert moved.min() >= images.min() - 1e-6
    assert moved.max() <= images.max() + 1e-6
