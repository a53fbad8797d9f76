"""Sounds among the cells: told from others, read from files, pairs, dicts and arrays, and every bad one a sentence."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from aet.cells import CELLS
from aet.cells.waveform import NoSound, Sound, SoundWarning, read_sound, wav
from aet.cells.words import objects
from aet.errors import DataError, MissingPackage, SchemaError
from aet.rows import check_rows
from aet.schema import InputSpec, Schema, SchemaWarning, infer
from aet.serving.cells import frame_of
from aet.tables import read_table

SCHEMA = Schema((InputSpec("clip", "audio", ("clip",)),), ("y",), "label")


def tone(samples=800, rate=8000, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


def wav_bytes(samples, rate=8000):
    target = io.BytesIO()
    wavfile.write(target, rate, samples)
    return target.getvalue()


def checked(cells):
    return check_rows(pd.DataFrame({"clip": objects(cells)}), SCHEMA)


def fault(cell):
    """What is said of one bad cell among good ones."""
    problems = checked([(8000, tone()), cell]).problems
    assert list(problems) == [1]
    assert problems[1].startswith("row 2, column 'clip': expected a sound, got ")
    return problems[1].split(", got ")[1]


def kind_of(cells):
    frame = pd.DataFrame({"clip": objects(cells), "y": ["a", "b"] * (len(cells) // 2)})
    return infer(frame, "y").inputs[0].kind


def test_pairs_and_dicts_are_told_from_other_cells():
    assert kind_of([(8000, tone())] * 4) == "audio"
    assert kind_of([{"array": tone(), "sampling_rate": 8000}] * 4) == "audio"
    assert kind_of([{"bytes": wav_bytes(tone()), "path": None}] * 4) == "audio"


def test_an_array_alone_is_no_sound_unless_said(tmp_path):
    frame = pd.DataFrame({"clip": objects([tone()] * 4), "y": ["a", "b"] * 2})
    assert not CELLS["audio"].recognises(frame["clip"])
    assert infer(frame, "y", kinds={"clip": "audio"}).inputs[0].kind == "audio"


def test_paths_are_told_by_their_ending_where_the_files_are(tmp_path):
    wavfile.write(tmp_path / "a.wav", 8000, tone())
    assert kind_of([str(tmp_path / "a.wav")] * 4) == "audio"
    with (
        pytest.warns(SchemaWarning, match="look like audio files"),
        pytest.raises(SchemaError, match="No input is left"),
    ):
        kind_of(["gone/a.wav"] * 4)


def test_a_table_of_paths_from_a_csv(tmp_path):
    for name in "ab":
        wavfile.write(tmp_path / f"{name}.wav", 8000, tone())
    table = tmp_path / "clips.csv"
    table.write_text("clip,y\n" + "".join(f"{tmp_path / name}.wav,{name}\n" for name in "abab"), encoding="utf-8")
    assert infer(read_table(table), "y").inputs[0].kind == "audio"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_dicts_in_files_are_sounds(tmp_path, ending):
    cell = {"array": [float(x) for x in tone(50)], "sampling_rate": 8000}
    frame = pd.DataFrame({"clip": [cell] * 4, "y": ["a", "b"] * 2})
    path = tmp_path / f"clips.{ending}"
    frame.to_json(path, orient="records", lines=True) if ending == "jsonl" else frame.to_parquet(path)
    found = read_table(path)
    assert infer(found, "y").inputs[0].kind == "audio"
    np.testing.assert_allclose(read_sound(found["clip"][0]).wave, tone(50), atol=1e-6)


def test_integers_span_their_type_and_floats_one():
    levels = {np.int16: 2**14, np.int32: 2**30, np.uint8: 192, np.float32: 0.5, np.float64: 0.5}
    for dtype, half in levels.items():
        cell = (8000, np.array([half, half, 128 if dtype is np.uint8 else 0] * 5, dtype=dtype))
        np.testing.assert_allclose(read_sound(cell).wave, [0.5, 0.5, 0.0] * 5)


@pytest.mark.parametrize("turned", [False, True])
def test_stereo_is_mixed_down_to_the_mean_of_its_channels(turned):
    both = np.stack([tone(), np.zeros(800, dtype=np.float32)], 1)
    found = read_sound((8000, both.T if turned else both))
    np.testing.assert_allclose(found.wave, tone() / 2)


def test_files_say_their_rate(tmp_path):
    pytest.importorskip("soundfile")
    import soundfile

    for ending in ("wav", "flac", "ogg"):
        soundfile.write(tmp_path / f"a.{ending}", tone(22050, 22050), 22050)
        found = read_sound(str(tmp_path / f"a.{ending}"))
        assert (found.rate, len(found.wave)) == (22050, 22050)
        assert np.abs(found.wave - tone(22050, 22050)).max() < 0.05


def test_without_soundfile_wav_is_read_alike_and_flac_says_what_it_needs(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", tone(), 8000, "PCM_24")
    soundfile.write(tmp_path / "a.flac", tone(), 8000)
    expected = read_sound(str(tmp_path / "a.wav"))
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    found = read_sound(str(tmp_path / "a.wav"))
    assert found.rate == 8000
    np.testing.assert_allclose(found.wave, expected.wave, atol=1e-6)
    with pytest.raises(MissingPackage, match=r"a\.flac.*pip install soundfile.*give WAV files"):
        read_sound(str(tmp_path / "a.flac"))


@pytest.mark.parametrize("rate", [4000, 11025, 44100])
def test_a_wrong_rate_is_resampled_without_aliases(rate):
    """A tone of 1 kHz stays one, and what a rate cannot hold is gone."""
    wave = tone(rate, rate, 1000.0)
    if rate > 16000:
        wave = wave + tone(rate, rate, 7000.0)
    found = Sound(wave, rate).at(8000)
    assert abs(len(found) - 8000) <= 1
    spectrum = np.abs(np.fft.rfft(found[:8000], 8000)) / 4000
    assert spectrum.argmax() == 1000
    np.testing.assert_allclose(spectrum[1000], 0.5, atol=0.02)
    assert np.delete(spectrum, range(990, 1011)).max() < 0.02


def test_silence_is_named():
    assert fault((8000, np.zeros(500))) == "silence"
    assert fault((8000, np.full(500, 0.3))) == "silence"
    assert fault((8000, np.stack([tone(), -tone()], 1))) == "silence once its channels are mixed"


def test_clipped_sounds_are_used_and_told():
    loud = (8000, (4 * tone()).clip(-1, 1))
    with pytest.warns(SoundWarning, match=r"'clip': 2 of 3 sounds are clipped.*\(row 1, 3\).*used as they are"):
        found = checked([loud, (8000, tone()), loud])
    assert len(found.frame) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked([(8000, tone()), (8000, np.array([1.0, -1.0] * 50))])


def test_empty_and_broken_files_are_named(tmp_path):
    for name, content in {
        "empty": b"",
        "cut": wav_bytes(tone())[:20],
        "noise": b"RIFF" + bytes(range(200)),
        "none": wav_bytes(tone()[:0]),
    }.items():
        (tmp_path / f"{name}.wav").write_bytes(content)
    assert fault(str(tmp_path / "empty.wav")).endswith("empty.wav', an empty file")
    assert "cut.wav', a broken file or no sound" in fault(str(tmp_path / "cut.wav"))
    assert "noise.wav', a broken file or no sound" in fault(str(tmp_path / "noise.wav"))
    assert fault(str(tmp_path / "none.wav")) == "a sound of 0 samples"
    assert fault(str(tmp_path / "gone.wav")).endswith("gone.wav', where there is no file")
    assert "which cannot be read" in fault(str(tmp_path))


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x00\x00\x00\x18ftypmp42", "an MP4 or QuickTime film"),
        (b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x00", "a Matroska or WebM film"),
        (b"RIFF\x10\x00\x00\x00AVI LIST", "an AVI film"),
        (b"<!DOCTYPE html><html>", "a page of HTML or XML"),
    ],
)
def test_films_and_others_under_the_name_of_a_sound_are_named(tmp_path, head, what):
    (tmp_path / "a.wav").write_bytes(head + bytes(100))
    assert fault(str(tmp_path / "a.wav")).endswith(f"a.wav', {what} under the name of a sound")


@pytest.mark.parametrize("content", [b"RIFF", b"RIFF\x00\x00\x00\x00WAVEfmt ", bytes(64), wav_bytes(tone())[:40]])
def test_broken_wav_is_a_sentence_without_soundfile_too(content):
    with pytest.raises(NoSound, match=r"'a\.wav', a broken file or no sound"):
        wav(content, "a.wav")


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        (None, "a missing value"),
        (3.5, "3.5"),
        ((8000, np.array([1.0, np.nan, 0.5])), "samples that are not finite"),
        ((8000, np.zeros((30, 40))), "an array of 40 channels, not 1 to 8"),
        ((8000, np.zeros((3, 4, 5))), "an array of float64 of the shape (3, 4, 5), not numbers (N,) or (N, C)"),
        ((0, tone()), "a rate of 0, not 100 to 1,000,000 whole samples a second"),
        ({"array": tone(), "sampling_rate": "fast"}, "a rate of 'fast', not 100 to 1,000,000 whole samples a second"),
        ({"array": [[0.1], [0.1, 0.2]], "sampling_rate": 8000}, "a list that is no array"),
        ({"samples": 3}, "{'samples': 3}"),
        ((8000, np.array(["a", "b"])), "an array of <U1 of the shape (2,), not numbers (N,) or (N, C)"),
    ],
)
def test_other_cells_are_named(cell, what):
    assert fault(cell).startswith(what)


def test_dicts_of_lists_are_read_as_json_gives_them():
    np.testing.assert_allclose(read_sound({"array": tone().tolist(), "sampling_rate": 8000}).wave, tone())


def test_a_request_sends_samples_and_opens_no_file():
    cells = CELLS["audio"]
    given = {"array": [0.1, -0.1], "sampling_rate": 8000}
    assert cells.sent("clip", given) == given
    for value in ("/etc/passwd", {"path": "/etc/passwd"}, {"bytes": None, "path": "a.wav"}):
        with pytest.raises(DataError, match="Files are not opened by name; send the samples"):
            cells.sent("clip", value)


def test_rows_of_a_request_become_a_frame_of_sounds():
    given = {"array": tone(100).tolist(), "sampling_rate": 8000}
    frame = frame_of(SCHEMA, [{"clip": given}, {"clip": [8000, tone(100).tolist()]}, {"clip": None}])
    found = check_rows(frame, SCHEMA)
    assert found.kept.tolist() == [0, 1]
    assert "got a missing value" in found.problems[2]
    with pytest.raises(DataError, match="Files are not opened by name"):
        frame_of(SCHEMA, [{"clip": "a.wav"}])


def test_columns_are_compared_by_their_loudness():
    found = CELLS["audio"].measured(pd.Series(objects([(8000, tone()), (8000, tone() / 10), None])))
    assert found[0] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert found[0] - found[1] == pytest.approx(20, abs=1e-3)
    assert np.isnan(found[2])
