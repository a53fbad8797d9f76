from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import torch

import aet
from aet.errors import ConfigError, DataError, RunError
from aet.serving.compared import compare
from aet.serving.versions import Versions
from tests.made import quick, signs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of one table: a bad one, and one that learned it."""
    folder = tmp_path_factory.mktemp("runs")
    for name, epochs in (("bad", 1), ("good", 25)):
        aet.train(signs(), target="y", config=quick(epochs), out=folder / name)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A run folder of its own."""
    return shutil.copytree(trained / "bad", tmp_path / "gas")


def test_a_run_folder_is_a_registry_of_one_version(run):
    (only,) = Versions(run).all()
    assert (only.number, only.path) == (1, run)
    assert only == Versions(run).serving
    assert only.metrics["accuracy"] == aet.load(run).report["valid"]["accuracy"]
    assert not (run / "versions").exists()


def test_versions_are_added_promoted_and_rolled_back(run, trained):
    versions = Versions(run)
    second = versions.add(trained / "good", note="more epochs")
    assert (second.number, second.path, second.note) == (2, run / "versions" / "2", "more epochs")
    assert versions.serving.number == 1  # adding serves nobody
    third = versions.add(run)
    assert versions.promote(2, "looks better").number == 2
    assert versions.promote(third.number).number == 3
    assert Versions(run).serving.number == 3  # as another process sees it
    assert versions.roll_back("it was worse").number == 2
    assert versions.roll_back().number == 1
    with pytest.raises(ConfigError, match="no version to roll back to"):
        versions.roll_back()
    log = [(line["act"], line["version"], line["reason"]) for line in versions.log()]
    assert log == [
        ("add", 2, "more epochs"),
        ("add", 3, ""),
        ("promote", 2, "looks better"),
        ("promote", 3, ""),
        ("roll back", 2, "it was worse"),
        ("roll back", 1, ""),
    ]
    assert [line["at"] for line in versions.log()] == sorted(line["at"] for line in versions.log())


def test_a_copy_answers_as_the_run_it_was_copied_from(run, trained):
    added = Versions(run).add(trained / "good")
    rows = signs(20, seed=3)
    pd.testing.assert_frame_equal(added.load().predict(rows), aet.load(trained / "good").predict(rows))


def test_what_is_no_part_of_the_run_is_not_copied(run):
    (run / "store.db").write_bytes(b"people's rows")
    (run / "store.db-wal").write_bytes(b"people's rows")
    versions = Versions(run)
    versions.add(run)
    again = versions.add(run)
    names = {path.name for path in again.path.iterdir()}
    assert names >= {"schema.json", "model.safetensors", "card.md"}
    assert not names & {"store.db", "store.db-wal", "versions", "versions.jsonl"}


def test_shadow_and_canary_are_named_and_ended(run, trained):
    versions = Versions(run)
    versions.add(trained / "good")
    versions.shadow(2, "to look")
    versions.canary(2, 0.1)
    roles = Versions(run).roles
    assert (roles.serving, roles.shadow, roles.canary, roles.share) == (1, 2, 2, 0.1)
    versions.promote(2)
    roles = versions.roles
    assert (roles.serving, roles.shadow, roles.canary, roles.share) == (2, None, None, 0.0)
    versions.canary(1, 0.5)
    versions.canary(None)
    assert versions.roles.canary is None
    with pytest.raises(ConfigError, match="cannot be its own shadow"):
        versions.shadow(2)
    for share in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            versions.canary(1, share)


@pytest.mark.parametrize("number", [0, 7, -1, "1", "../../etc"])
def test_a_version_that_is_not_there_is_refused(run, number):
    with pytest.raises(ConfigError, match=r"There is no version .* Known: 1"):
        Versions(run).promote(number)


def test_a_folder_without_a_model_is_named(tmp_path):
    assert Versions(tmp_path / "none").all() == []
    with pytest.raises(RunError, match="holds no model"):
        _ = Versions(tmp_path / "none").serving


def test_an_ensemble_is_told_from_a_model(tmp_path):
    (tmp_path / "ensemble.json").write_text("{}")
    with pytest.raises(RunError, match="holds an ensemble, not one model"):
        _ = Versions(tmp_path).serving


def test_the_first_version_of_an_empty_registry_serves(tmp_path, trained):
    versions = Versions(tmp_path / "registry")
    assert versions.add(trained / "good").number == 1
    assert versions.serving.path == tmp_path / "registry" / "versions" / "1"


def test_a_damaged_run_is_not_added_and_never_comes_to_serve(run, trained, tmp_path):
    versions = Versions(run)
    damaged = shutil.copytree(trained / "good", tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="is damaged"):
        versions.add(damaged)
    assert [version.number for version in versions.all()] == [1]
    second = versions.add(trained / "good")
    (second.path / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="is damaged"):
        versions.promote(2)
    assert versions.serving.number == 1


def test_a_copy_that_was_interrupted_is_no_version(run, trained):
    (run / "versions" / "2.part").mkdir(parents=True)
    (run / "versions" / "2.part" / "schema.json").write_text("{")
    versions = Versions(run)
    assert [version.number for version in versions.all()] == [1]
    assert versions.add(trained / "good").number == 2
    assert not (run / "versions" / "2.part").exists()


def test_a_change_that_cannot_be_written_leaves_the_versions_as_they_were(run, trained, monkeypatch):
    versions = Versions(run)
    versions.add(trained / "good")
    before = (run / "versions.jsonl").read_text()

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aet.serving.versions.os.fsync", full)
    for act in (lambda: versions.promote(2), lambda: versions.add(trained / "good")):
        with pytest.raises(RunError, match="No space left on device"):
            act()
    monkeypatch.undo()
    assert (run / "versions.jsonl").read_text() == before
    assert (versions.serving.number, len(versions.all())) == (1, 2)
    assert versions.promote(2).number == 2


def test_a_damaged_log_is_named(run):
    (run / "versions.jsonl").write_text('{"act": "pro')
    with pytest.raises(RunError, match=r"versions\.jsonl is damaged"):
        _ = Versions(run).serving


def test_the_card_says_what_it_was_trained_on_and_how_it_did(run, trained):
    versions = Versions(run)
    before, after = aet.load(run), aet.load(trained / "good")
    beside = compare(before, after, signs(100, seed=5))
    card = versions.card(versions.add(trained / "good", note="more epochs", beside=beside).number)
    report = after.report
    for told in ("gas, version 2", "y (label)", f"{report['rows']} rows trained on", "- a (number)", "Seed: 0"):
        assert told in card
    assert f"| accuracy | {json.dumps(round(report['valid']['accuracy'], 4))} |" in card
    assert "Note: more epochs" in card
    assert beside.text in card
    assert "Not compared." in versions.card(1)


def test_a_better_model_is_told_from_a_worse_and_equals_are_not(trained):
    bad, good = aet.load(trained / "bad"), aet.load(trained / "good")
    rows = signs(200, seed=5)
    better = compare(bad, good, rows)
    right = [(model.predict(rows)["prediction"] == rows["y"]).to_numpy().astype(float) for model in (bad, good)]
    assert better.before == pytest.approx(right[0].mean())
    assert better.difference == pytest.approx(100 * (right[1] - right[0]).mean())
    half = 196 * (right[1] - right[0]).std(ddof=1) / len(rows) ** 0.5
    assert better.high - better.difference == pytest.approx(half)
    assert better.better
    assert better.text.startswith("Better: +")
    assert compare(good, bad, rows).text.startswith("Worse: -")
    same = compare(good, good, rows)
    assert (same.difference, same.better) == (0, False)
    assert "Not told apart" in same.text


def test_rows_that_cannot_be_used_are_counted_and_unknown_answers_are_wrong(trained):
    good = aet.load(trained / "good")
    rows = signs(40, seed=5).astype({"y": object})
    rows.loc[0, "y"] = None
    rows.loc[1:10, "y"] = "never seen"
    found = compare(good, good, rows)
    assert (found.rows, found.left_out) == (39, 1)
    assert found.before <= 29 / 39
    with pytest.raises(DataError, match="bad in 3 of 3 rows"):
        compare(good, good, rows.assign(y=None).head(3))
    with pytest.raises(DataError, match="No row of 0 can be used"):
        compare(good, good, rows.head(0))


def test_models_of_different_tables_are_not_compared(trained):
    torch.manual_seed(0)
    good = aet.load(trained / "good")
    other = aet.train(signs().rename(columns={"a": "c"}), target="y", config=quick(1))
    with pytest.raises(DataError, match="different tables"):
        compare(good, other, signs(10))
