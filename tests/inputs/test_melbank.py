"""Log-mel energies, checked against the formula written out by hand."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from aet.inputs.melbank import FLOOR, HOP, WINDOW, edges, filterbank, frames, hertz, log_mel, mels


def hand_mel(f):
    return 2595 * math.log10(1 + f / 700)


def hand_hertz(m):
    return 700 * (10 ** (m / 2595) - 1)


def hand_weight(f, low, middle, high):
    return max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle)))


def test_bands_are_even_on_the_mel_scale():
    by_hand = [hand_hertz(hand_mel(4000) * i / 5) for i in range(6)]
    np.testing.assert_allclose(edges(4, 8000).numpy(), by_hand, rtol=1e-9)
    # Worked on paper: mel(4000) = 2146.06, its half 1073.03, which is 1113.6 Hz.
    assert mels(torch.tensor(4000.0)).item() == pytest.approx(2146.06, abs=0.02)
    assert hertz(torch.tensor(1073.03)).item() == pytest.approx(1113.8, abs=0.5)


def test_triangles_by_hand():
    bank, f = filterbank(4, 8000, 64), [8000 * k / 64 for k in range(33)]
    corners = [hand_hertz(hand_mel(4000) * i / 5) for i in range(6)]
    for band in range(4):
        expected = [hand_weight(x, *corners[band : band + 3]) for x in f]
        np.testing.assert_allclose(bank[band].numpy(), expected, atol=1e-6)


def test_a_band_between_two_frequencies_takes_the_nearest():
    bank = filterbank(40, 8000, 64)
    assert (bank.sum(1) > 0).all()
    assert (bank[0] > 0).sum() == 1


def test_energies_by_hand():
    """A spectrum by its definition, sum by sum, of one window."""
    rate, size = 800, 32
    window, hop = round(WINDOW * rate), round(HOP * rate)
    rng = np.random.default_rng(0)
    wave = rng.normal(size=window + hop)
    wave -= wave.mean()
    bank = filterbank(3, rate, size)
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)]
    expected = []
    for start in (0, hop):
        piece = [wave[start + n] * hann[n] for n in range(window)]
        power = [
            abs(sum(x * cmath.exp(-2j * math.pi * k * n / size) for n, x in enumerate(piece))) ** 2
            for k in range(size // 2 + 1)
        ]
        total = sum(h * h for h in hann)
        bands = [sum(w * p for w, p in zip(row, power, strict=True)) for row in bank.tolist()]
        expected.append([math.log(band / total + FLOOR) for band in bands])
    found = log_mel(torch.from_numpy(wave).float(), rate, bank, loudness=False)
    np.testing.assert_allclose(found.T.numpy(), expected, atol=1e-3)


def test_a_tone_lies_in_its_band():
    bank, middles = filterbank(20, 8000, 256), edges(20, 8000)[1:-1]
    for hz in (300.0, 1000.0, 3000.0):
        tone = torch.sin(2 * math.pi * hz * torch.arange(8000) / 8000)
        band = int(log_mel(tone, 8000, bank).mean(1).argmax())
        assert abs(band - int((middles - hz).abs().argmin())) <= 1


def test_the_level_is_that_of_the_loud_parts():
    bank = filterbank(10, 8000, 256)
    tone = torch.sin(torch.arange(2000) * 0.5)
    quiet = torch.cat([tone, torch.zeros(6000)])
    loud, after = log_mel(tone, 8000, bank), log_mel(100 * quiet, 8000, bank)
    band = int(loud.mean(1).argmax())
    assert (after[band, :20] - loud[band, :20]).abs().max() < 0.1
    assert (log_mel(10 * tone, 8000, bank, loudness=False) - log_mel(tone, 8000, bank, loudness=False)).max() > 4


@pytest.mark.parametrize("samples", [1, 199, 200, 201, 280, 281, 8000])
def test_every_sample_is_in_a_window(samples):
    count = frames(samples, 8000)
    assert 200 + (count - 1) * 80 >= samples
    assert count == 1 or 200 + (count - 2) * 80 < samples
    assert log_mel(torch.randn(samples), 8000, filterbank(5, 8000, 256)).shape == (5, count)
