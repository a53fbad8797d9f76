"""Token moments: what is drawn from them has the moments of what they were taken of."""

import pytest
import torch

from aet.token_moments import LARGEST, LEAST, RANK, TokenMoments


def rows(count=512, seed=0):
    """Tokens (N, 3, 2) of two classes that differ in their means, with one common direction of deviation."""
    generator = torch.Generator().manual_seed(seed)
    place = (torch.rand(count, generator=generator) < 0.25).long()
    centres = torch.tensor([[[0.0, 0], [1, 0], [0, 0]], [[5.0, 0], [0, 0], [0, -3]]])
    common = torch.tensor([[1.0, 1], [0, 0], [0, 2]])
    along = torch.randn(count, 1, 1, generator=generator)
    return centres[place] + along * common + 0.1 * torch.randn(count, 3, 2, generator=generator), place


def test_drawn_rows_have_the_moments():
    tokens, place = rows()
    moments = TokenMoments.of(tokens, None, place, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn, mask = moments.draw(20_000)
    assert mask is None
    torch.testing.assert_close(drawn.mean(0), tokens.mean(0), atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.flatten(1).T), torch.cov(tokens.flatten(1).T), atol=0.15, rtol=0.1)


def test_nothing_of_a_row_is_in_them():
    tokens, place = rows()
    sizes = {name: tuple(t.shape) for name, t in TokenMoments.of(tokens, None, place, 2).tensors().items()}
    assert sizes == {
        "tokens.centres": (2, 3, 2),
        "tokens.factor": (RANK, 3, 2),
        "tokens.rest": (3, 2),
        "tokens.shares": (2,),
        "tokens.real": (3,),
    }


def test_tokens_that_are_not_there_do_not_count():
    tokens, place = rows()
    mask = torch.ones(512, 3, dtype=torch.bool)
    mask[:256, 1] = False
    wild = tokens.clone()
    wild[:256, 1] = 1e6
    moments = TokenMoments.of(wild, mask, place, 2)
    assert moments.centres.abs().max() < 10
    assert moments.real.tolist() == [1, 0.5, 1]
    torch.manual_seed(0)
    _, drawn = moments.draw(1000)
    assert drawn.any(1).all()
    assert float(drawn[:, 1].float().mean()) == pytest.approx(0.5, abs=0.06)


def test_without_classes_there_is_one():
    tokens, _ = rows(40)
    moments = TokenMoments.of(tokens, None, None)
    torch.testing.assert_close(moments.centres[0], tokens.mean(0))
    assert moments.shares.tolist() == [1.0]


def test_there_and_back_again():
    moments = TokenMoments.of(*rows(30)[:1], None, None)
    again = TokenMoments.read({**moments.tensors(), "entropy": torch.zeros(1)})
    assert all(torch.equal(t, getattr(again, name)) for name, t in vars(moments).items())
    assert TokenMoments.read({"entropy": torch.zeros(1)}) is None


def test_large_ones_are_not_kept():
    assert TokenMoments.fits(2, 16, 96)
    assert not TokenMoments.fits(2, LARGEST // 96, 96)


def test_no_mean_and_no_direction_is_that_of_a_few_rows():
    tokens, place = rows(LEAST + 3)
    place = (torch.arange(LEAST + 3) >= LEAST).long()
    moments = TokenMoments.of(tokens, None, place, 2)
    torch.testing.assert_close(moments.centres[0], tokens[:LEAST].mean(0))
    torch.testing.assert_close(moments.centres[1], tokens.mean(0))
    assert moments.shares.tolist() == [1.0, 0.0]
    assert len(moments.factor) == 1
    mask = torch.ones(LEAST + 3, 3, dtype=torch.bool)
    mask[1:, 0] = False
    assert (TokenMoments.of(tokens, mask, place, 2).centres[:, 0] == 0).all()
    few = TokenMoments.of(tokens[:4], None, place[:4], 2)
    assert (few.centres == 0).all()
    assert len(few.factor) == 0
    assert few.draw(3)[0].shape == (3, 3, 2)
