"""Simulated speakers, microphones and rooms."""

from __future__ import annotations

import math

import pytest
import torch

from aet.inputs.acoustics import Elsewhere, curve, lengths, masked, smeared, stretched, warped
from aet.inputs.melbank import edges, filterbank, log_mel

RATE = 8000
NOTHING = Elsewhere(tract=0, tract_row=0, tempo=0, tempo_row=0, microphone=0, rooms=0, noises=0)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def sounds(rows=3, bands=12, frames=20):
    x = torch.randn(rows, bands, frames, generator=draws())
    for row in range(rows):
        x[row, :, frames - 4 * row :] = torch.nan
    return x


def test_a_shorter_vocal_tract_moves_a_tone_up_by_its_factor():
    bank, middles = filterbank(40, RATE, 256), edges(40, RATE)[1:-1]
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(4000) / RATE)
    x = log_mel(tone, RATE, bank)[None].expand(2, -1, -1)
    moved = warped(x, torch.tensor([1.3, 0.8]), RATE).mean(2).argmax(1)
    assert middles[moved[0]].item() == pytest.approx(1300, rel=0.08)
    assert middles[moved[1]].item() == pytest.approx(800, rel=0.08)


def test_tempo_moves_the_end():
    x = sounds()
    for factor, expected in ((2.0, [10, 8, 6]), (0.5, [20, 20, 20])):
        moved = stretched(x, torch.full((3,), factor))
        assert lengths(moved).tolist() == pytest.approx(expected, abs=1)
        assert not moved[:, :, 0].isnan().any()
    torch.testing.assert_close(stretched(x, torch.ones(3)), x, equal_nan=True)


def test_a_room_adds_power_and_only_later():
    x = torch.full((1, 2, 10), -8.0)
    x[:, :, 4] = 0.0
    moved = smeared(x, 0.3, 0.6)
    assert (moved[:, :, :4] - x[:, :, :4]).abs().max() < 0.6
    assert (moved[:, :, 5] > -3).all()
    assert (moved >= x - 1e-5).all()


def test_masks_lie_within_a_sound_and_cover_at_most_a_fifth_of_each_side():
    x = sounds(rows=3).nan_to_num(torch.nan) + 5.0
    moved = masked(x, 1.0, draws(1))
    assert torch.equal(moved.isnan(), x.isnan())
    zero = moved == 0
    assert 0 < zero.float().mean() < 0.45
    assert torch.equal(moved[~zero & ~x.isnan()], x[~zero & ~x.isnan()])


def test_a_curve_is_smooth():
    found = torch.stack([curve(40, 1.0, draws(seed)) for seed in range(200)])
    assert found.diff(dim=1).abs().mean() < 0.2 * found.std()
    assert abs(float(found.mean(1).mean())) < 0.05


def test_without_a_drift_nothing_moves():
    x = sounds()
    torch.testing.assert_close(NOTHING(x, RATE, 1.0, draws()), x, equal_nan=True, atol=1e-4, rtol=0)


def test_one_microphone_for_the_whole_batch():
    from dataclasses import replace

    x = sounds()
    moved = replace(NOTHING, microphone=1.0)(x, RATE, 1.0, draws()) - x
    offsets = moved[:, :, 0]
    torch.testing.assert_close(offsets[0], offsets[1], atol=1e-3, rtol=0)
    assert offsets.std() > 0.1


def test_noise_fills_what_was_quiet():
    from dataclasses import replace

    x = torch.full((1, 6, 30), -13.0)
    x[:, :, 10:20] = 0.0
    moved = replace(NOTHING, noises=1.0)(x, RATE, 1.0, draws(3))
    assert (moved[:, :, :10] > -13).float().mean() > 0.6
    assert (moved[:, :, 12:18]).abs().mean() < 1.0
