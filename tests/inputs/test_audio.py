"""Sounds as an input: rate, length, level, tokens and what undoes a microphone."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import wavfile
from typer.testing import CliRunner

import aet
from aet.attention.state import ElasticState, applied, name_elastic
from aet.cells.waveform import SoundWarning
from aet.cells.words import objects
from aet.cli import app
from aet.errors import ConfigError
from aet.focus import focus
from aet.inputs.audio import AudioInput
from aet.schema import InputSpec
from tests.made import quick

SMALL = {"mels": 8, "bands": 4, "windows": 4, "stem": 4}


def chirp(up, rng, rate=4000, seconds=0.25):
    """A tone that rises or falls."""
    at = np.arange(round(seconds * rate)) / rate
    path = at if up else at[::-1]
    phase = 2 * np.pi * np.cumsum(300 + rng.uniform(3000, 5000) * path) / rate
    return (0.3 * np.sin(phase) + 0.01 * rng.normal(size=len(at))).astype(np.float32)


def chirps(rows=120, seed=0, rate=4000, **more):
    rng = np.random.default_rng(seed)
    names = rng.choice(["rises", "falls"], rows)
    return pd.DataFrame({"clip": objects([(rate, chirp(n == "rises", rng, rate, **more)) for n in names]), "y": names})


def column(*cells):
    return pd.DataFrame({"clip": objects(cells)})


def part(frame, **settings):
    made = AudioInput([InputSpec("clip", "audio", ("clip",))], 6)
    made.fit(frame, {**SMALL, **settings})
    torch.manual_seed(0)
    made.build()
    return made


def test_the_rate_is_that_of_most_sounds_and_at_most_16_kilohertz():
    rng = np.random.default_rng(0)
    cells = [(rate, rng.normal(size=rate // 4) / 4) for rate in (8000, 8000, 11025)]
    assert part(column(*cells)).rate == 8000
    assert part(column(*cells), rate=4000).rate == 4000
    assert part(column((44100, rng.normal(size=9000) / 4))).rate == 16000


def test_arrays_alone_need_a_rate():
    cells = column(*(row[1] for row in chirps(5)["clip"]))
    with pytest.raises(ConfigError, match=r"inputs\.audio\.rate.*'rate': 16000.*or give pairs"):
        part(cells)
    torch.testing.assert_close(part(cells, rate=4000).encode(cells), part(chirps(5)).encode(chirps(5)), equal_nan=True)


def test_a_sound_at_another_rate_gives_nearly_the_same_energies():
    one, other = (chirps(20, rate=rate) for rate in (4000, 8000))
    made = part(one)
    away = made.encode(one) - made.encode(other)
    # Bands near half the rate lose to the filter; the rest agrees but for the noise, which is drawn anew.
    assert away[:, :6].nanmedian().abs() < 0.3


def test_loudness_does_not_matter_unless_asked():
    frame = chirps(10)
    soft = column(*((rate, 0.02 * wave) for rate, wave in frame["clip"]))
    made = part(frame)
    torch.testing.assert_close(made.encode(soft), made.encode(frame), equal_nan=True, atol=1e-3, rtol=0)
    plain = part(frame, loudness=False)
    assert (plain.encode(frame) - plain.encode(soft)).nanmean() > 1


def test_of_long_sounds_the_loudest_stretch_is_read_and_that_is_told():
    frame = chirps(30)
    made = part(frame)
    wave = frame["clip"][0][1]
    hushed = np.concatenate([1e-3 * np.sin(np.arange(6000)).astype(np.float32), wave, np.zeros(900, np.float32)])
    with pytest.warns(
        SoundWarning, match=r"'clip': 1 of 2 sounds are longer than 0\.25 seconds.*inputs\.audio\.seconds"
    ):
        found = made.encode(column((4000, hushed), (4000, wave)))
    assert (found[0] - found[1]).nanmean().abs() < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.encode(frame)


def test_seconds_hold_98_in_100_training_sounds_unless_given():
    rng = np.random.default_rng(0)
    cells = [(4000, chirp(True, rng, seconds=0.2 if i else 2.0)) for i in range(100)]
    assert part(column(*cells)).length == pytest.approx(800, abs=60)
    assert part(column(*cells), seconds=1.0).length == 4000


def test_what_is_behind_the_end_changes_nothing():
    frame = chirps(12)
    made = part(frame, seconds=0.4).eval()
    values = made.encode(frame)
    tokens, mask = made(values)
    assert values.isnan().any()
    assert not mask.all()
    assert mask.any(1).all()
    other = values.clone()
    other[:, 0] = values[:, 0].nan_to_num(torch.nan)  # one NaN band is enough to tell
    other[:, 1:][values[:, 1:].isnan()] = 7.0
    torch.testing.assert_close(made(other)[0], tokens)


def test_positions_are_of_pitch_and_of_time():
    frame = chirps(6)
    made = part(frame).eval()
    values = made.encode(frame)
    before = made(values)[0].unflatten(1, made.grid)
    with torch.no_grad():
        made.pitch[1] += 1.0
        made.time[:, 2] += 10.0
    moved = made(values)[0].unflatten(1, made.grid) - before
    torch.testing.assert_close(moved[:, 1, 0], torch.ones_like(moved[:, 1, 0]))
    torch.testing.assert_close(moved[:, 0, 2], torch.full_like(moved[:, 0, 2], 10.0))
    torch.testing.assert_close(moved[:, 1, 2], torch.full_like(moved[:, 1, 2], 11.0))
    assert made.token_names()[made.grid[1] + 2] == "clip[1,2]"


def test_dials_undo_another_microphone():
    frame = chirps(60)
    made = name_elastic(torch.nn.ModuleDict({"part": part(frame)})).eval()
    values = made["part"].encode(frame)
    source, _ = made["part"](values)
    gain = torch.linspace(0.7, 1.5, 8)[:, None]
    worn = values * gain + torch.linspace(-1, 2, 8)[:, None]
    dials = {f"part.{name}": t for name, t in made["part"].realigned(worn).items()}
    away = (made["part"](worn)[0] - source).abs().mean()
    with applied(ElasticState(dials)):
        assert (made["part"](worn)[0] - source).abs().mean() < 0.1 * away


def test_no_slope_of_a_dial_is_lost_to_padding():
    """Late labels move the dials by their slopes: silence behind a sound must not make them NaN."""
    frame = chirps(4)
    made = name_elastic(torch.nn.ModuleDict({"part": part(frame, seconds=0.5)})).eval()
    values = made["part"].encode(frame)
    state = ElasticState.zeros(made).trainable()
    with applied(state):
        tokens, mask = made["part"](values)
    (tokens * mask[..., None]).square().mean().backward()
    for tensor in state.values():
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().sum() > 0


def test_what_stands_behind_a_token_are_its_energies():
    frame = chirps(3)
    made = part(frame)
    values = made.encode(frame)
    energies, size = made.behind(values)
    assert energies.shape == (3, len(made.token_names()), size)
    torch.testing.assert_close(energies[0, 0].view(4, 4), values[0, :4, :4], equal_nan=True)


@pytest.fixture(scope="module")
def model():
    return aet.train(
        chirps(),
        target="y",
        config={**quick(20, dim=16, lr=1e-2, batch_size=16, drift=0.3), "inputs": {"audio": {**SMALL, "stem": 8}}},
    )


def test_rising_and_falling_tones_are_told_apart(model):
    assert model.evaluate(chirps(60, seed=1))["accuracy"] > 0.9


def test_a_saved_model_answers_alike(model, tmp_path):
    frame = chirps(8, seed=2)
    model.save(tmp_path)
    again = aet.load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(frame, proba=True), model.predict(frame, proba=True))


def test_a_bad_sound_is_kept_aside_and_the_rest_answered(model):
    frame = chirps(6, seed=3).drop(columns="y")
    frame.loc[2, "clip"] = None
    frame["clip"] = objects([*frame["clip"][:4], (4000, np.zeros(300)), frame["clip"][5]])
    answers = model.stream().predict(frame)
    assert answers["prediction"].isna().tolist() == [False, False, True, False, True, False]
    assert "expected a sound, got silence" in answers["problem"][4]


def test_late_labels_move_the_state_and_the_record_tells_of_loudness(model, tmp_path):
    frame = chirps(40, seed=4)
    stream = model.stream()
    stream.predict(frame.drop(columns="y"))
    ids = stream.ask(8)
    stream.feedback(ids, frame["y"].iloc[list(ids)].tolist())
    assert stream.labels == 8
    assert stream.state.size() > 0
    assert all(t.isfinite().all() for t in stream.state.values())
    assert stream.record()["drift"][0]["measure"] == "loudness"
    assert stream.report(tmp_path / "report.html").is_file()


def test_focus_lies_on_sound(model):
    frame = chirps(6, seed=5, seconds=0.1)
    batch = model.encode(frame)
    shares = focus(model, batch)
    _, mask = model.inputs["audio0"](batch.values["audio0"])
    assert shares[~mask].abs().max() < 1e-6
    torch.testing.assert_close(shares.sum(1), torch.ones(6))


def test_a_row_may_lack_its_sound_where_there_is_more():
    frame = chirps(60, seed=8).assign(n=np.arange(60.0))
    frame.loc[frame.index % 3 == 0, "clip"] = None
    model = aet.train(frame, "y", config={**quick(epochs=1), "inputs": {"audio": SMALL}})
    assert "problems" not in model.report
    mixed = frame[1:5].reset_index(drop=True)
    assert mixed["clip"].isna().tolist() == [False, False, True, False]
    answers, alone = model.predict(mixed), model.predict(mixed[:2])
    assert answers["problem"].isna().all()
    # A sound is read as it would be beside rows that lack none.
    assert answers["confidence"][:2].tolist() == pytest.approx(alone["confidence"].tolist(), abs=1e-5)
    silent = model.predict(mixed.assign(clip=[(4000, np.zeros(900, np.float32))] * 4))
    assert silent["problem"].notna().all()


def test_the_command_line_trains_on_a_column_of_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = chirps(40, seed=6)
    for number, (rate, wave) in enumerate(frame["clip"]):
        wavfile.write(f"{number}.wav", rate, wave)
    frame.assign(clip=[f"{number}.wav" for number in range(40)]).to_csv("clips.csv", index=False)
    small = [f"inputs.audio.{name}={value}" for name, value in SMALL.items()]
    settings = [*small, "model.dim=8", "model.depth=1", "train.epochs=1", "train.rehearsals=0"]
    given = [part for setting in settings for part in ("--set", setting)]
    done = CliRunner().invoke(app, ["train", "clips.csv", "--target", "y", "--out", "run", *given])
    assert done.exit_code == 0, done.output
    assert aet.load(tmp_path / "run").schema.inputs[0].kind == "audio"
    done = CliRunner().invoke(app, ["predict", "run", "clips.csv"])
    assert done.exit_code == 0, done.output
    assert "rises" in done.stdout or "falls" in done.stdout
