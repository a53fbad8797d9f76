"""A stream that was saved goes on as if nothing had happened; a folder that was touched says so."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch

from aet.adaptation import METHODS, Earned, Feedback, Likely, Stream
from aet.errors import FeedbackError, ForgottenRow, RunError
from tests.adaptation.models import inputs, taken, three

FILES = ("stream.json", "state.safetensors", "memory.safetensors", "rows.safetensors")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setitem(Feedback.defaults, "steps", 5)


def used(model, rows=60, **settings):
    stream = model.stream(**settings)
    frame = three(rows, 3, shift=1.5, gain=0.4)
    stream.predict(inputs(frame))
    ids = stream.ask(8)
    stream.feedback(ids[:5], frame["y"][ids[:5]])
    return stream, frame["y"].tolist(), ids[5:]


def goes_on(stream, truth, late):
    """What a stream does next: answers, draws, labels."""
    answers = stream.predict(inputs(three(30, 8, shift=1.5)), proba=True)
    if late:
        stream.feedback(late, [truth[i] for i in late])
    ids = stream.ask(6)
    stream.feedback(ids[:4], ["p", "q", "r", "p"])
    return answers, ids, stream.predict(inputs(three(30, 9, shift=1.5)), proba=True)


def same(one, other):
    pd.testing.assert_frame_equal(one[0], other[0])
    assert one[1] == other[1]
    pd.testing.assert_frame_equal(one[2], other[2])


@pytest.mark.parametrize("adapt", [name for name in METHODS if "label" in (METHODS[name].needs or ("label",))])
@pytest.mark.parametrize("guard", ["earned", "always"])
def test_goes_on_as_it_would_have(request, tmp_path, adapt, guard):
    model = taken(request, adapt, "model")
    stream, truth, late = used(model, adapt=adapt, guard=guard, transductive=adapt == "align", compare=adapt == "prior")
    stream.save(tmp_path / "s", rows=True)
    copy = Stream.load(model, tmp_path / "s")
    assert copy.state.equal(stream.state)
    assert copy.guard.to_dict() == stream.guard.to_dict()
    assert (copy.rows, copy.labels, copy.asked) == (60, 5, 8)
    assert (copy.compare, copy.transductive, copy.kept.keep) == (stream.compare, stream.transductive, 10_000)
    same(goes_on(copy, truth, late), goes_on(stream, truth, late))
    assert copy.state.equal(stream.state)
    assert copy.guard.to_dict() == stream.guard.to_dict()
    one, other = copy.trace.to_dict(), stream.trace.to_dict()
    assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_without_rows_none_is_written(model, tmp_path):
    stream, _, late = used(model)
    stream.save(tmp_path / "s", rows=True)
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(FILES)
    stream.save(tmp_path / "s")
    assert not (tmp_path / "s" / "rows.safetensors").exists()
    copy = Stream.load(model, tmp_path / "s")
    assert copy.ask(4) == []
    with pytest.raises(ForgottenRow, match="no longer kept"):
        copy.feedback(late[:1], ["p"])
    labelled = next(iter(stream.kept.labelled))
    with pytest.raises(FeedbackError, match="already has a label"):
        copy.feedback([labelled], ["p"])
    frame = inputs(three(30, 8, shift=1.5))
    pd.testing.assert_frame_equal(copy.predict(frame), stream.predict(frame))
    assert copy.state.equal(stream.state)


@pytest.mark.parametrize(
    "guard", [Earned(level=0.01, margin=0.03, missing="ignore"), Likely(bar=0.6)], ids=lambda g: g.name
)
def test_a_guards_own_settings_come_back(model, tmp_path, guard):
    stream, *_ = used(model, guard=guard)
    copy = Stream.load(model, stream.save(tmp_path))
    assert copy.guard.to_dict() == guard.to_dict()
    assert copy.guard.threshold == guard.threshold


def test_settings_of_the_method_come_back(model, tmp_path):
    stream, *_ = used(model, adapt="feedback", steps=7, lr=0.01, window=30)
    copy = Stream.load(model, stream.save(tmp_path))
    assert copy.method.settings == stream.method.settings


def test_a_new_stream_goes_round(model, tmp_path):
    copy = Stream.load(model, model.stream().save(tmp_path, rows=True))
    assert copy.rows == 0
    assert copy.predict(inputs(three(3)))["id"].tolist() == [0, 1, 2]


def test_nothing_to_undo_after_loading(model, tmp_path):
    from aet.errors import ConfigError

    stream, *_ = used(model)
    with pytest.raises(ConfigError, match="0 changes"):
        Stream.load(model, stream.save(tmp_path)).undo()


def test_declared_ids(with_ids, tmp_path):
    stream = with_ids.stream()
    frame = inputs(three(20)).assign(key=[f"k{i}" for i in range(20)])
    stream.predict(frame)
    asked = stream.ask(3)
    copy = Stream.load(with_ids, stream.save(tmp_path, rows=True))
    assert not set(copy.ask(100)) & set(asked)
    copy.feedback(asked, ["p", "q", "r"])
    assert copy.guard.labels == 3


def test_ids_that_json_does_not_have(with_ids, tmp_path):
    stream = with_ids.stream()
    stream.predict(inputs(three(3)).assign(key=pd.date_range("2024-01-01", periods=3)))
    with pytest.raises(RunError, match="Ids of rows must be texts or numbers"):
        stream.save(tmp_path / "s", rows=True)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign"])
def test_a_damaged_folder(model, tmp_path, name, damage):
    stream, *_ = used(model)
    folder = stream.save(tmp_path / "s", rows=True)
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "foreign": b"[1, 2]"}[damage])
    with pytest.raises(RunError) as caught:
        Stream.load(model, folder)
    assert type(caught.value) is RunError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 99),
        ("model", "another"),
        ("format", None),
        ("format", "new"),
        ("adapt", "nothing"),
        ("adapt", 3),
        ("settings", {"wrong": 1}),
        ("settings", None),
        ("keep", "many"),
        ("rows", None),
        ("guard", None),
        ("guard", {"name": "earned"}),
        ("guard", {"name": "other"}),
        ("trace", {}),
        ("draws", {}),
        ("draws", 4),
        ("ids", None),
        ("ids", {"kept": [1, 2]}),
    ],
)
def test_a_wrong_entry(model, tmp_path, key, value):
    stream, *_ = used(model)
    folder = stream.save(tmp_path, rows=True)
    described = json.loads((folder / "stream.json").read_text(encoding="utf-8"))
    for change in ({**described, key: value}, {k: v for k, v in described.items() if k != key}):
        (folder / "stream.json").write_text(json.dumps(change), encoding="utf-8")
        with pytest.raises(RunError, match=r"stream\.json") as caught:
            Stream.load(model, folder)
        assert type(caught.value) is RunError


def test_a_memory_without_its_parts(model, tmp_path):
    from safetensors.torch import save_file

    stream, *_ = used(model, adapt="feedback")
    folder = stream.save(tmp_path)
    save_file({"values.number0": torch.zeros(3, 4, 1)}, str(folder / "memory.safetensors"))
    with pytest.raises(RunError):
        Stream.load(model, folder)


def test_the_stream_of_another_model(model, images, tmp_path):
    stream, *_ = used(model)
    with pytest.raises(RunError, match="another model"):
        Stream.load(images, stream.save(tmp_path))


def test_a_model_of_the_same_shapes_is_another(model, tmp_path):
    folder = used(model)[0].save(tmp_path)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.output.head.bias[0] += 1e-3
    with pytest.raises(RunError, match=r"stream\.json is of a stream of another model: the weights"):
        Stream.load(other, folder)
    assert Stream.load(copy.deepcopy(model), folder).labels == 5


def test_the_state_of_another_model_beside_the_own_description(model, images, tmp_path):
    folder = used(model)[0].save(tmp_path)
    images.stream().state.save(folder / "state.safetensors")
    with pytest.raises(RunError, match=r"state\.safetensors is the state of another model"):
        Stream.load(model, folder)


def test_a_record_of_an_earlier_save_goes(model, tmp_path):
    stream, *_ = used(model)
    (stream.save(tmp_path) / "record.json").write_text("{}", encoding="utf-8")
    stream.save(tmp_path)
    assert not (tmp_path / "record.json").exists()


def test_rows_set_aside_come_back(model, tmp_path):
    stream = model.stream()
    stream.predict(inputs(three(4)).astype(object).replace({"a": {0: "x"}}).assign(b="broken"))
    assert len(stream.trace.aside) == 4
    assert list(Stream.load(model, stream.save(tmp_path)).trace.aside) == list(stream.trace.aside)


def test_a_stream_is_not_saved_over_a_file(model, tmp_path):
    (tmp_path / "rows.csv").write_text("a")
    with pytest.raises(RunError, match=r"cannot be saved in .* not a file"):
        model.stream().save(tmp_path / "rows.csv")
