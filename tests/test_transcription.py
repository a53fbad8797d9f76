"""Sound in, text out: tones are written down as letters, in their order."""

from __future__ import annotations

import numpy as np
import pytest

import aet

RATE, PITCH = 4000, {"a": 300.0, "b": 700.0, "c": 1500.0}


def tones(said, rng):
    """A tone a letter, of changing length, with noise."""
    parts = []
    for letter in said:
        count = int(RATE * rng.uniform(0.08, 0.14))
        parts += [np.sin(2 * np.pi * PITCH[letter] * np.arange(count) / RATE) * np.hanning(count) ** 0.3, np.zeros(120)]
    wave = np.concatenate(parts)
    return (RATE, (0.3 * wave + 0.003 * rng.normal(size=len(wave))).astype(np.float32))


def rows(count, seed):
    rng = np.random.default_rng(seed)
    said = ["".join(rng.choice(list(PITCH), rng.integers(1, 4))) for _ in range(count)]
    return [{"clip": tones(text, rng), "said": " ".join(text)} for text in said]


@pytest.fixture(scope="module")
def model():
    settings = {
        "model": {"dim": 32, "depth": 1, "dropout": 0.0},
        "inputs": {"audio": {"bands": 40, "windows": 4, "stem": 16, "seconds": 0.5}},
        "output": {"vocabulary": 260, "depth": 1, "smoothing": 0.0},
        "train": {"epochs": 14, "batch_size": 16, "lr": 0.005, "drift": 0.0, "rehearsals": 0, "monitor": "loss"},
    }
    return aet.train(rows(240, 0), target="said", output="sequence", config=settings)


def test_tones_are_written_down_in_their_order(model):
    figures = model.evaluate(rows(60, 1))
    assert figures["exact"] > 0.5  # by chance one in 39 texts
    assert figures["token_accuracy"] > 0.85


def test_a_stream_takes_what_was_really_said(model):
    new = rows(24, 2)
    stream = model.stream()
    answers = stream.predict([{"clip": row["clip"]} for row in new])
    assert answers["problem"].isna().all()
    worth = stream.ask(4)
    stream.feedback(worth, [new[row]["said"] for row in worth])
    assert stream.labels == 4


def test_a_saved_model_writes_the_same(model, tmp_path):
    clips = [{"clip": row["clip"]} for row in rows(8, 3)]
    model.save(tmp_path)
    assert aet.load(tmp_path).predict(clips)["prediction"].tolist() == model.predict(clips)["prediction"].tolist()


def test_silence_is_kept_aside_and_the_rest_written(model):
    clips = [{"clip": row["clip"]} for row in rows(3, 4)]
    clips[1]["clip"] = (RATE, np.zeros(800, np.float32))
    answers = model.predict(clips)
    assert answers["problem"].notna().tolist() == [False, True, False]
    assert answers["prediction"].notna().tolist() == [True, False, True]
