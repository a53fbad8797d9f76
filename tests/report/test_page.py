"""The page as text: what it says, what it leaves out, what it escapes."""

from __future__ import annotations

import copy
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from aet.errors import ConfigError, DataError
from aet.report import render, write
from aet.report.headline import answer, sentence
from tests.report.record import make_full, make_picture, make_record

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\""
VOID = {"meta", "img", "br", "link", "input"}


class Tree(HTMLParser):
    """Collects ids, tags and attributes, and checks that tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def ids(self) -> list[str]:
        return [attrs["id"] for _, attrs in self.tags if attrs.get("id")]


def without_truth(record):
    record = copy.deepcopy(record)
    for entry in [*record["parts"], *record["curve"], record["summary"]]:
        entry.update(source=None, proposal=None, served=None, methods={})
    record["summary"]["harm"] = None
    record["stream"]["labels"] = 0
    return record


def poison(value):
    """Every string of a record replaced by markup, keys of open mappings too."""
    if isinstance(value, dict):
        open_keys = {"dry air", "humid air", "nitrogen", "<unseen>", "align", "tent", "q_scale", "scale"}
        return {(EVIL + k if k in open_keys else k): poison(v) for k, v in value.items()}
    if isinstance(value, list):
        return [poison(v) for v in value]
    return EVIL if isinstance(value, str) else value


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page)


def test_full_page_is_sound():
    page = render(make_record())
    tree = Tree(page)
    assert len(page.encode()) < 400_000
    assert len(set(tree.ids())) == len(tree.ids())
    assert sections(page) == [
        "stream",
        "parts",
        "drift",
        "attention",
        "confidence",
        "guard",
        "events",
        "state",
        "training",
        "worth",
        "cost",
    ]
    linked = {attrs["href"] for tag, attrs in tree.tags if tag == "a"}
    assert linked <= {f"#{i}" for i in tree.ids()}
    assert {f"#{i}" for i in sections(page)} <= linked
    assert "nan" not in page.lower().replace("finance", "")
    assert "$" not in page.split("<script>")[0]


def test_same_record_same_page():
    assert render(make_record(3)) == render(make_record(3))


def test_nothing_is_loaded_and_nothing_inline_runs():
    page = render(make_record())
    for tag, attrs in Tree(page).tags:
        assert not any(name.startswith("on") for name in attrs), (tag, attrs)
        assert "style" not in attrs, (tag, attrs)
        for name in ("src", "href"):
            assert not re.match(r"(https?:)?//", attrs.get(name) or ""), (tag, attrs)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_every_chart_says_what_it_shows():
    charts = [attrs for tag, attrs in Tree(render(make_record())).tags if tag == "svg" and "role" in attrs]
    assert len(charts) > 20
    assert all(c["role"] == "img" and len(c["aria-label"]) > 10 for c in charts)


def test_every_chart_has_its_numbers_beside_it():
    page = render(make_record())
    for key in ("stream", "parts", "drift", "attention", "confidence", "guard", "state", "training", "worth", "cost"):
        body = page.split(f'<section id="{key}"')[1].split("</section>")[0]
        assert "<details><summary>The numbers as a table</summary>" in body, key
        assert "<table>" in body, key
    assert '<th scope="row">batch8.csv</th>' in page


@pytest.mark.parametrize("key", ["title", "drift", "events", "attention", "parts", "guard", "model"])
def test_strings_of_the_user_are_escaped(key):
    record = make_record()
    record[key] = poison(record[key])
    page = render(record)
    tree = Tree(page)
    assert EVIL not in page
    assert "&lt;script&gt;" in page
    assert sum(tag == "script" for tag, _ in tree.tags) == 1
    assert not any(tag == "img" for tag, _ in tree.tags)


def test_poisoned_everywhere_still_renders():
    page = render({**poison(make_record()), "attention_images": [{"label": EVIL, "image": make_picture()}]})
    assert EVIL not in page
    assert sum(tag == "script" for tag, _ in Tree(page).tags) == 1


def test_only_pictures_inside_the_record_are_shown():
    outside = "https://example.org/pixel.png"
    record = make_record()
    record["attention_images"] = [
        {
            "label": "row 12",
            "image": make_picture(),
            "before": outside,
            "after": 'data:image/png;base64,x" onload="',
        }
    ]
    page = render(record)
    pictures = [attrs["src"] for tag, attrs in Tree(page).tags if tag == "img"]
    assert pictures == [make_picture()]
    assert outside not in page
    assert "2\u00a0pictures left out" in page


def test_training_alone():
    record = make_record()
    page = render({key: record[key] for key in ("title", "created", "version", "model")})
    assert sections(page) == ["training", "worth"]
    assert "On rows it did not train on, the model reaches 97.8\u00a0% accuracy." in page
    assert "stream.report" not in page
    assert "harm" not in page.split("</style>")[1].split("<script>")[0]


def test_what_parts_were_worth():
    record = make_record()
    page = render(record).split('<section id="worth"')[1].split("</section>")[0]
    assert "What each part was worth" in page
    assert "ema raised accuracy beyond the noise of the rows." in page
    assert "averaged 240 steps" in page
    assert "+2.10" in page
    assert "all together" in page
    for entry in record["model"]["worth"]:
        entry["low"], entry["high"] = -0.01, 0.03
    assert "No part changed accuracy by more than the noise of the rows." in render(record)
    record["model"]["worth"] = None
    assert "What was switched on" in render(record)
    record["model"]["switches"] = []
    assert '<section id="worth"' not in render(record)


def test_least_record():
    page = render({"title": "nothing", "model": {}})
    Tree(page)
    assert sections(page) == []
    assert "no rows were held out to measure it" in page


def test_no_truth_is_said_plainly():
    page = render(without_truth(make_record()))
    assert "9,395\u00a0rows were served. No true answers came, so accuracy is unknown." in page
    stream = page.split('<section id="stream"')[1].split("</section>")[0]
    assert "No true answers came, so accuracy is unknown." in stream
    assert "<svg" not in stream
    assert '<section id="drift"' in page


@pytest.mark.parametrize("key", sorted(set(make_record()) - {"title", "model"}))
@pytest.mark.parametrize("empty", ["left out", None, [], {}], ids=["left out", "null", "list", "mapping"])
def test_any_key_may_be_missing_or_empty(key, empty):
    record = make_record()
    if empty == "left out":
        del record[key]
    else:
        record[key] = empty
    Tree(render(record))


@pytest.mark.parametrize("holes", [None, math.nan, math.inf])
def test_every_number_may_be_unknown(holes):
    def hollow(value):
        if isinstance(value, dict):
            return {k: hollow(v) for k, v in value.items()}
        if isinstance(value, list):
            return [hollow(v) for v in value]
        return value if isinstance(value, str) else holes

    page = render(hollow(make_record()))
    Tree(page)
    shown = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    assert not re.search(r"\b(nan|inf|None)\b", shown)


@pytest.mark.parametrize("seed", range(4))
def test_any_entry_may_lose_any_key(seed):
    rng = np.random.default_rng(seed)

    def gnaw(value):
        if isinstance(value, dict):
            return {k: gnaw(v) for k, v in value.items() if k in ("title", "model") or rng.random() > 0.2}
        return [gnaw(v) for v in value] if isinstance(value, list) else value

    Tree(render(gnaw(make_record())))


def test_numbers_of_numpy_and_record_from_json_give_the_same_page():
    record = make_record()
    with_numpy = copy.deepcopy(record)
    with_numpy["summary"]["source"] = np.float64(record["summary"]["source"])
    with_numpy["stream"]["rows"] = np.int64(record["stream"]["rows"])
    assert render(with_numpy) == render(record) == render(json.loads(json.dumps(record)))


def regression():
    """A record as a replayed regression leaves it: R² of the training, closeness over the stream."""
    record = make_record()
    record["model"].update(metric="r2", score="closeness", output="number", valid={"r2": 0.91, "closeness": 0.82})
    record["summary"].update(source=0.6, proposal=0.7, served=0.7, oracle=None)
    del record["reliability"]
    return record


def test_a_regression_is_measured_on_one_scale():
    page = render(regression())
    said = sentence(answer(regression())).replace("\u00a0", " ")
    assert "cost this model 22.0 points of closeness. With 112 labels, adaptation won back 10.0 of them" in said
    stream, training = (page.split(f'<section id="{key}"')[1].split("</section>")[0] for key in ("stream", "training"))
    assert "Closeness over the stream" in stream
    assert "R²" not in stream
    assert "R² in training" in training
    assert "<dt>closeness</dt>" in page
    assert "<dt>closeness</dt>" not in render(make_record())
    assert 'id="confidence"' not in page
    assert "the model reaches 0.910 R²." in render({"title": "trained", "model": regression()["model"]})


@pytest.mark.parametrize(("window", "words"), [(1000, "Worst 1,000 rows"), (280, "Worst 280 rows"), (None, "Worst st")])
def test_the_worst_window_is_as_long_as_it_was(window, words):
    record = make_record()
    record["summary"]["harm"]["window"] = window
    assert words in render(record)


@pytest.mark.parametrize(
    ("output", "words"),
    [("label", "had a class that the model does not know; each counts as a wrong answer"), ("number", "not scored")],
)
def test_answers_that_the_model_cannot_give_are_counted(output, words):
    record = make_record()
    record["model"]["output"], record["summary"]["unknown"] = output, 12
    page = render(record)
    assert "12\u00a0rows had a" in page
    assert words in page


def test_columns_say_what_was_compared():
    record = make_record()
    record["drift"][0].update(column="comment", input="comment", measure="length", distance=99.0)
    page = render(record)
    assert "length of comment moved most, by 99.0." in page
    assert '<th scope="row">length of comment</th>' in page


def test_margin_of_zero_is_kept():
    record = make_record()
    record["stream"]["margin"] = 0.0
    record["summary"]["harm"] = {"mean": 0.1, "low": -0.5, "high": 0.7}
    assert answer(record).safe is None


def test_long_events_and_tables_are_folded():
    record = make_record()
    page = render(record)
    hidden = page.split("<summary>The other")[1]
    assert len(record["events"]) > 30
    assert hidden.split("</details>")[0].count("<li>") == len(record["events"]) - 30
    record["curve"] = [{**record["curve"][0], "row": 10 * i} for i in range(5000)]
    page = render(record)
    assert "60 of 5,000 rows, evenly spaced." in page
    assert len(page.encode()) < 400_000


def test_a_page_is_half_a_megabyte_at_most_however_long_the_stream_was():
    page = render(make_full())
    Tree(page)
    assert len(page.encode()) < 500_000
    assert "Drawn: 20 of 365 parts, evenly spaced." in page
    assert "The other 3,970\u00a0events" in page
    assert "120 of 3,970 events, evenly spaced." in page
    assert page.count("<li><span") == 150


def test_what_is_left_out_is_said():
    record = make_record()
    record["attention"] = [{"token": f"t{i}", "before": 0.01, "after": 0.02} for i in range(40)]
    record["attention_images"] = [{"label": f"row {i}", "image": make_picture()} for i in range(20)]
    page = render(record)
    assert "Shown: 16 of 40 tokens." in page
    assert "Shown: the first 12 of 20 rows." in page
    assert page.count("<img") == 12
    assert "Shown: 12 of 15 columns." in page


def test_who_served_follows_the_guard():
    assert "first served at row 1,900, and for 80\u00a0% of the stream" in render(make_record())
    record = make_record()
    for test in record["guard"]:
        test["serving"] = "source"
    assert "were served throughout; the adapted ones had not earned their place" in render(record)
    assert "guard switches" not in render(record)
    record["guard"], record["stream"]["guard"] = [], "always"
    assert "The adapted answers were served throughout." in render(record)


@pytest.mark.parametrize("record", [{}, {"title": "x"}, {"title": "x", "model": None}, [1]])
def test_record_without_its_needs(record):
    with pytest.raises(DataError, match="needs a record with a title and a model"):
        render(record)


def test_words_where_a_number_belongs():
    record = make_record()
    record["summary"]["source"] = "high"
    with pytest.raises(DataError, match="'high' where a number belongs"):
        render(record)


def test_write(tmp_path):
    record = make_record()
    record["title"] = "naïve \ud800 gas ☃"
    path = write(record, tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert "naïve ? gas ☃" in path.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="is a folder"):
        write(record, tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        write(record, path / "report.html")
