"""A watch: named alarms, one rate for all of them, bounded memory, state as arrays."""

import json

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.performance import HeldOut
from aet.monitoring.reference import Reference, answered
from aet.monitoring.watching import KINDS, Watch


def rows(rng, count, shift=0.0, mix=(0.5, 0.3, 0.2), sharp=4.0):
    """Columns, features, probabilities and errors of a world with three classes."""
    truth = rng.choice(3, count, p=mix)
    features = rng.normal(size=(count, 5)) + 2.0 * np.eye(5)[truth] + shift
    logits = sharp * np.eye(3)[truth] + rng.normal(size=(count, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    columns = {
        "a": features[:, 0],
        "b": np.where(rng.random(count) < 0.1, np.nan, features[:, 1]),
        "c": rng.choice(np.array(["x", "y", None], dtype=object), count),
    }
    return columns, features, p, (p.argmax(1) != truth).astype(float)


def reference(rng, n=300, held=150):
    columns, known, *_ = rows(rng, n)
    _, features, p, errors = rows(rng, held)
    figures = HeldOut.of(p.max(1), 1 - errors)
    return Reference.of(columns, features, p, errors, known_features=known, held_out=figures)


def show(watch, seen, piece=25):
    """All signals of rows shown piece by piece."""
    columns, features, p, errors = seen
    found = []
    for start in range(0, len(p), piece):
        part = slice(start, start + piece)
        found += watch.see({name: column[part] for name, column in columns.items()}, features[part], p[part])
        found += watch.label(errors[part])
    return found


def test_at_most_the_level_of_clean_streams_ever_alarm():
    false = 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        false += bool(show(Watch(reference(rng), level=0.2, seed=seed), rows(rng, 300), 100))
    assert false <= 25 * 0.2


def test_clean_streams_are_clean_where_the_first_rows_are_the_reference():
    false = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        watch = Watch(level=0.2, first=60, seed=seed)
        false += bool(show(watch, rows(rng, 300), 90))
        report = watch.report()
        assert report["groups"]["columns"]["reference"] == "first rows"
        assert report["groups"]["features"]["learning"] == 0
    assert false <= 15 * 0.2


def test_each_alarm_has_its_name():
    rng = np.random.default_rng(0)
    known = reference(rng)
    clean = rows(rng, 200)
    moved = rows(rng, 200, shift=2.0)
    for name, seen in {
        "input": (moved[0], clean[1], clean[2], clean[3]),
        "prediction": (clean[0], clean[1], rows(rng, 200, mix=(0.1, 0.1, 0.8))[2], clean[3]),
        "error": (*clean[:3], (rng.random(200) < 0.6).astype(float)),
    }.items():
        found = show(Watch(known), seen)
        assert [signal.kind for signal in found] == [name]
        assert found[0].evidence >= found[0].needed
        assert found[0].level is not None
        assert f"{found[0].needed:.3g}" in found[0].text
    unsure = (*clean[:2], rows(rng, 200, sharp=1.0)[2], clean[3])
    assert {signal.kind for signal in show(Watch(known), unsure)} == {"prediction", "estimate"}
    features = show(Watch(known), (clean[0], moved[1], *clean[2:]))
    assert features[0].kind == "input"
    assert "features" in features[0].text


def test_an_estimate_says_how_accurate_it_takes_the_answers_to_be():
    rng = np.random.default_rng(1)
    watch = Watch(reference(rng))
    clean = rows(rng, 200)
    show(watch, clean)
    before = watch.estimate()
    found = {s.kind: s for s in show(watch, (*clean[:2], rows(rng, 300, sharp=0.5)[2][:200], clean[3]))}
    assert "estimated accuracy" in found["estimate"].text
    assert watch.estimate().value < before.value - 0.05
    flat = Watch(reference(rng), fall=0.99)
    assert "estimate" not in {s.kind for s in show(flat, (*clean[:2], rows(rng, 200, sharp=0.5)[2], clean[3]))}


def test_it_says_which_column_and_since_when():
    rng = np.random.default_rng(2)
    watch = Watch(reference(rng))
    calm, moved = rows(rng, 300), rows(rng, 80)
    show(watch, calm)
    moved[0]["a"] = moved[0]["a"] + 50
    signal = show(watch, moved)[0]
    assert signal.names == ("a",)
    assert 280 <= signal.since <= 320
    assert 300 < signal.row < 340
    assert "above all training rows" in signal.text
    series = watch.report()["groups"]["columns"]["series"]
    assert series[0]["name"] == "a"
    assert series[0]["raised"]
    assert series[0]["moved"] > series[1]["moved"]
    assert not show(watch, moved)  # said once


def test_rows_sorted_by_class_are_named_for_what_they_are():
    rng = np.random.default_rng(3)
    columns, features, p, errors = rows(rng, 400)
    order = np.argsort(p.argmax(1), kind="stable")
    ordered = ({name: column[order] for name, column in columns.items()}, features[order], p[order], errors[order])
    found = {signal.kind: signal for signal in show(Watch(reference(rng)), ordered)}
    assert "prediction" in found
    assert "error" not in found
    assert "are of one class: the rows may come sorted by class." in found["prediction"].text
    bursts = np.concatenate([piece[np.argsort(p[piece].argmax(1))] for piece in np.split(np.arange(400), 20)])
    columns["a"] = np.r_[columns["a"][bursts[:200]], columns["a"][bursts[200:]] + 9]
    again = ({**{n: columns[n][bursts] for n in "bc"}, "a": columns["a"]}, features[bursts], p[bursts], errors[bursts])
    found = {signal.kind: signal for signal in show(Watch(reference(rng), level=0.001), again)}
    assert found["input"].names == ("a",)
    assert "Predicted classes come in runs" in found["input"].text


def test_a_new_category_and_missing_cells_are_input():
    rng = np.random.default_rng(4)
    for cells in (["zebra"] * 60, [None] * 60):
        watch = Watch(Reference.of({"c": rng.choice(np.array(["x", "y", "z"]), 400)}))
        found = watch.see({"c": np.array(cells, dtype=object)})
        assert [s.kind for s in found] == ["input"]
        assert "above" not in found[0].text
        assert "below" not in found[0].text
    watch, other = Watch(first=50), Watch(first=50)
    watch.see({"c": np.array(["x", "y"] * 20, dtype=object)})
    other.load_arrays(watch.to_arrays())
    other.see({"c": np.array(["x", "y"] * 20, dtype=object)})
    assert "above" not in other.see({"c": np.array(["zebra", "ant"] * 60, dtype=object)})[0].text


def test_an_alarm_comes_again_only_after_a_restart():
    rng = np.random.default_rng(5)
    watch = Watch(Reference.of({"x": rng.normal(size=300)}))
    assert len(watch.see({"x": rng.normal(size=100) + 4})) == 1
    assert not watch.see({"x": rng.normal(size=100) + 4})
    assert [s["kind"] for s in watch.report()["signals"]] == ["input"]
    watch.restart("input")
    assert not watch.report()["signals"]
    assert not watch.see({"x": rng.normal(size=100)})
    assert len(watch.see({"x": rng.normal(size=100) + 4})) == 1


def test_it_goes_on_after_it_was_saved():
    rng = np.random.default_rng(6)
    known = reference(rng)
    for made in (lambda: Watch(known, detectors=["page_hinkley"]), lambda: Watch(first=100), lambda: Watch(first=400)):
        one, other = made(), made()
        show(one, rows(np.random.default_rng(1), 150))
        arrays = one.to_arrays()
        assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
        other.load_arrays(arrays)
        rest = rows(np.random.default_rng(2), 450, shift=1.0)
        assert [s.text for s in show(one, rest)] == [s.text for s in show(other, rest)]
        assert json.dumps(one.report()) == json.dumps(other.report())
        assert one.signals


def test_memory_is_bounded():
    rng = np.random.default_rng(7)
    watch = Watch(reference(rng), detectors=["page_hinkley"])

    def size():
        return sum(array.nbytes for array in watch.to_arrays().values())

    show(watch, rows(rng, 400), 100)
    before = size()
    show(watch, rows(rng, 1200), 400)
    assert size() < before + 12 * 8 * 1200 / 10  # the detector's last errors grow to their bound


def test_labels_that_were_drawn_unevenly_are_thinned_to_an_even_draw():
    rng = np.random.default_rng(8)
    count = 4000
    hard = rng.random(count) < 0.2
    errors = np.where(hard, rng.random(count) < 0.9, rng.random(count) < 0.05).astype(float)  # 22 % are wrong
    chance = np.where(hard, 1.0, 0.3)
    drawn = rng.random(count) < chance
    weights = chance.mean() / chance
    known = Reference.of(errors=np.random.default_rng(9).random(300) < 0.22)
    even, naive = Watch(known), Watch(known)
    assert not even.label(errors[drawn], weights[drawn])
    assert naive.label(errors[drawn])
    assert even.labels == pytest.approx(count * chance.mean() / 2, rel=0.1)


def test_numbers_are_watched_without_classes():
    rng = np.random.default_rng(10)
    known = Reference.of(probabilities=rng.normal(size=200), errors=rng.random(200) * 0.2)
    watch = Watch(known)
    assert [s.kind for s in watch.see(probabilities=rng.normal(size=80) + 3)] == ["prediction"]
    assert [s.kind for s in watch.label(np.full(60, 0.9))] == ["error"]
    assert watch.report()["estimate"] is None


def test_detectors_of_the_literature_signal_without_a_rate():
    watch = Watch(detectors=["ddm"])
    found = watch.label(np.r_[np.tile([0.0, 0.0, 0.0, 1.0], 60), np.ones(60)])
    named = [s for s in found if s.level is None]
    assert [(s.kind, s.names) for s in named] == [("error", ("detector ddm",))]
    assert "ddm" in named[0].text


def test_a_reference_goes_to_arrays_and_back():
    known = reference(np.random.default_rng(11))
    again = Reference.from_arrays(known.to_arrays())
    assert again.columns.names == ("a", "b", "c")
    assert again.held_out.accuracy == known.held_out.accuracy
    assert again.mean == pytest.approx(known.mean)
    assert Reference.from_arrays({}) == Reference()


def test_rows_that_cannot_be_seen_are_refused():
    watch = Watch(Reference.of({"x": np.arange(50.0)}))
    with pytest.raises(ConfigError, match="'x'"):
        watch.see({"y": np.arange(5.0)})
    with pytest.raises(ConfigError, match="of one length"):
        watch.see({"x": np.arange(5.0)}, np.zeros((4, 2)))
    with pytest.raises(ConfigError, match="0 \\(right\\) to 1"):
        watch.label([2.0])
    with pytest.raises(ConfigError, match="Weights"):
        watch.label([1.0], [3.0])
    with pytest.raises(ConfigError, match="'drift'"):
        watch.restart("drift")
    with pytest.raises(ConfigError, match="Did you mean 'adwin'"):
        Watch(detectors=["adwim"])
    with pytest.raises(ConfigError, match="shape"):
        answered(np.zeros((2, 0)))
    for wrong in ({"level": 0}, {"first": 3}, {"fall": 1.0}):
        with pytest.raises(ConfigError):
            Watch(**wrong)
    assert watch.see({"x": []}) == watch.see() == watch.label([]) == []
    assert set(KINDS) == {"input", "prediction", "estimate", "error"}
