"""What a stream knows of itself: columns that drifted, scales, words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import aet
from aet.adaptation.record import group_rare
from aet.adaptation.replay import replay
from aet.report.headline import answer
from aet.statistics import OTHER
from tests.adaptation.models import frame_of
from tests.made import quick, sentences, shapes


def drift(model, frame):
    stream = model.stream()
    stream.predict(frame)
    return {column["column"]: column for column in stream.record()["drift"]}


def test_image_files_may_go_once_they_were_served(tmp_path):
    from PIL import Image

    frame = shapes(60)
    for row, cell in enumerate(frame["picture"]):
        Image.fromarray((255 * cell).astype(np.uint8)).save(tmp_path / f"{row}.png")
    frame["picture"] = [str(tmp_path / f"{row}.png") for row in range(60)]
    model = aet.train(frame, target="y", config=quick(1))
    stream = model.stream()
    stream.predict(frame.drop(columns="y"))
    before = stream.record()["drift"]
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert stream.record()["drift"] == before
    assert before[0]["measure"] == "brightness"
    assert stream.report(tmp_path / "report.html").is_file()
    assert "brightness of picture" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_images_are_not_held(images):
    stream = images.stream()
    stream.predict(frame_of(images, 40).drop(columns="y"))
    assert stream.trace.sample["picture"].dtype == np.float64
    assert stream.trace.sample["picture"].between(0, 1).all()


def test_a_text_is_compared_by_its_length():
    frame = sentences(80)
    model = aet.train(frame, target="y", kinds={"text": "text"}, config=quick(1))
    found = drift(model, frame.assign(text=frame["text"] + " and much more of it"))["text"]
    assert found["measure"] == "length"
    assert found["stream"][2] - found["source"][2] == len(" and much more of it")


@pytest.fixture(scope="module")
def crowded():
    """A column of 120 categories."""
    rng = np.random.default_rng(0)
    place = rng.integers(0, 120, 2400)
    frame = pd.DataFrame({"place": [f"p{i:03d}" for i in place], "x": rng.normal(size=2400)})
    frame["y"] = np.where(frame["x"] > 0, "yes", "no")
    return aet.train(frame, target="y", kinds={"place": "category"}, config=quick(1)), frame


def test_many_categories_are_no_drift(crowded):
    model, frame = crowded
    same = frame.drop(columns="y")
    assert drift(model, same)["place"]["distance"] < 0.1
    moved = drift(model, same.assign(place=frame["place"].mode()[0]))["place"]
    assert moved["distance"] > 0.9


def test_new_categories_of_a_column_with_few_keep_their_names():
    frame = pd.DataFrame({"c": ["a", "b"] * 60, "x": np.arange(120.0), "y": ["u", "v", "w"] * 40})
    model = aet.train(frame, target="y", config=quick(1))
    found = drift(model, frame.drop(columns="y").assign(c=["a", "new"] * 60))["c"]
    assert found["stream_shares"] == {"a": 0.5, "new": 0.5}
    assert found["distance"] == 0.5


def test_a_category_of_the_name_of_the_others_is_one_of_them():
    shares = {OTHER: 0.3, **{f"k{i}": 0.05 for i in range(14)}}
    grouped = group_rare(shares, shares)["source_shares"]
    assert len(grouped) == 9
    assert grouped[OTHER] == pytest.approx(0.3 + 6 * 0.05)


@pytest.mark.parametrize(("sort", "score"), [("model", "accuracy"), ("regression", "closeness")])
def test_the_headline_is_on_one_scale(request, sort, score):
    model = request.getfixturevalue(sort)
    frame = frame_of(model, 120, shifted=False)
    record = replay(model, [("one", frame)], labels=0).record
    assert record["model"]["score"] == score
    a = answer(record)
    assert a.metric.key == score
    assert a.trained == model.report["valid"][score]
    assert a.source == pytest.approx(model.evaluate(frame)[score])
    assert abs(a.cost) < 0.15, "the same rows as in training cost nothing"
