"""The guide's examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

import aet
from aet.config import Config
from aet.inputs.number import NumberSettings
from aet.inputs.text import TextInput, TextSettings
from aet.outputs.sequence import SequenceSettings

GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """january.csv, and a run of rows like it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(300, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(machine=np.where(x[:, 0] > x[:, 1], "hot", "idle"))
    frame.to_csv("january.csv", index=False)
    aet.train(frame, target="machine", out="runs/machine", config={"train": {"epochs": 3}})
    return frame


def test_serving(files):
    (block,) = (block for block in blocks("python") if "runs/machine" in block)
    told = block.replace("stream.feedback(worth, labels)", "stream.feedback(worth, truth[worth])")
    assert told != block
    names = {"truth": files["machine"]}
    exec(compile(told, "guide.md", "exec"), names)
    stream = names["stream"]
    assert (stream.labels, stream.method.labels) == (0, 0), "undone"
    assert {"feedback": "16 labels"}.items() <= {event["kind"]: event["text"] for event in stream.trace.events}.items()
    assert aet.adaptation.Stream.load(names["model"], "runs/january").rows == 300


def test_settings(tmp_path):
    block, columns, text, sequence = blocks("yaml")
    (tmp_path / "settings.yaml").write_text(block, encoding="utf-8")
    settings = Config.read(tmp_path / "settings.yaml")
    assert (settings.model.dim, settings.data["time"]) == (96, "when")
    (tmp_path / "columns.yaml").write_text(columns, encoding="utf-8")
    told = Config.read(tmp_path / "columns.yaml")
    assert (told.columns.keep, told.model.members) == (20, 4)
    assert NumberSettings.checked("inputs.number", told.inputs["number"]).embedding == "piecewise"
    (tmp_path / "text.yaml").write_text(text, encoding="utf-8")
    assert TextInput.chosen(Config.read(tmp_path / "text.yaml").inputs["text"]) == TextSettings(
        backbone="minilm", rate=0.1, tuning="full", max_pieces=128, windows=1
    )
    (tmp_path / "sequence.yaml").write_text(sequence, encoding="utf-8")
    assert SequenceSettings.checked("output", Config.read(tmp_path / "sequence.yaml").output).beam == 4


def test_sound(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        word = ["low", "high"][number % 2]
        tone = np.sin(np.arange(1600) * (0.2 if word == "low" else 1.2)) + 0.1 * rng.normal(size=1600)
        wavfile.write(f"{number}.wav", 8000, (8000 * tone).astype(np.int16))
        rows.append((f"{number}.wav", word, tone.astype(np.float32) / 4))
    frame = pd.DataFrame(rows, columns=["clip", "word", "samples"])
    frame[["clip", "word"]].to_csv("clips.csv", index=False)
    (block,) = (block for block in blocks("python") if "clips.csv" in block)
    told = block.replace('"epochs": 24', '"epochs": 2').replace("worth, words", "worth, words[worth]")
    names = {"recordings": list(frame["samples"]), "words": frame["word"]}
    exec(compile(told, "guide.md", "exec"), names)
    assert names["stream"].labels == 16
    assert names["answers"]["problem"].isna().all()
    assert set(names["answers"]["served_by"]) == {"proposal"}
