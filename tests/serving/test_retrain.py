from __future__ import annotations

import shutil

import numpy as np
import pytest

import aet
from aet.errors import ConfigError, DataError, UpdateRefused
from aet.serving.retrain import retrain
from aet.serving.store import AnsweredRow, Label, Store
from aet.serving.versions import Versions
from tests.made import quick, signs

CONFIG = {"train": {"epochs": 12, "lr": 0.04}}


def serve(store, rows, first=0, masked=False):
    """Rows answered by version 1, and their labels, as a server writes them down."""
    stream = store.stream("acme", "site-7", model="gas").number
    values = rows.drop(columns="y").to_dict("records")
    answer = {"prediction": "plus"}
    store.answered(stream, "1", [AnsweredRow(first + i, row, masked, answer) for i, row in enumerate(values)])
    store.label(stream, [Label(first + i, label) for i, label in enumerate(rows["y"])], "k1")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run folder."""
    folder = tmp_path_factory.mktemp("run") / "gas"
    aet.train(signs(), target="y", config=quick(10), out=folder)
    return folder


@pytest.fixture
def made(tmp_path, source):
    """A store and a registry with one model."""
    shutil.copytree(source, tmp_path / "gas")
    with Store(tmp_path / "store.db") as store:
        yield store, Versions(tmp_path / "gas")


def swapped(rows, seed):
    """Rows of a world in which the answers changed places."""
    return signs(rows, seed=seed).assign(y=lambda frame: np.where(frame["y"] == "plus", "minus", "plus"))


def test_a_changed_world_is_learned_and_promoted_only_if_wanted(made):
    store, versions = made
    serve(store, swapped(200, seed=1))
    found = retrain(store, versions, "gas", config=CONFIG)
    assert (found.version.number, found.rows, found.comparison.rows, found.promoted) == (2, 160, 40, False)
    assert found.comparison.low > 0
    assert versions.serving.number == 1
    assert "It does not serve" in found.text
    assert found.comparison.text in versions.card(2)
    assert "What it forgot is not known: no old rows were kept" in versions.card(2)
    assert found.version.load().report["service"]["rows"] == 160
    promoted = retrain(store, versions, "gas", config=CONFIG, promote=True)
    assert promoted.promoted
    assert versions.serving.number == 3
    assert versions.log()[-1]["reason"].startswith("retrained: Better")


def test_what_was_learned_is_neither_learned_nor_compared_on_again(made):
    store, versions = made
    serve(store, swapped(200, seed=1))
    retrain(store, versions, "gas", config=CONFIG, promote=True)
    with pytest.raises(DataError, match="has 40 labelled rows that it has not learned"):
        retrain(store, versions, "gas")  # those that were held out
    serve(store, swapped(60, seed=2), first=1000)
    found = retrain(store, versions, "gas", config={"train": {"epochs": 1}}, promote=True)
    assert (found.rows, found.comparison.rows) == (80, 20)
    assert not found.promoted  # as good as the version before


def test_too_few_labels_and_wrong_shares_are_refused_and_nothing_is_added(made):
    store, versions = made
    with pytest.raises(DataError, match="has 0 labelled rows"):
        retrain(store, versions, "gas")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        retrain(store, versions, "gas", held=1.0)
    assert len(versions.all()) == 1


def test_masked_rows_are_counted(made):
    store, versions = made
    serve(store, signs(60, seed=1), masked=True)
    found = retrain(store, versions, "gas", config={"train": {"epochs": 1}})
    assert found.masked == 48
    assert "48 of them with personal data replaced" in found.text


def test_what_was_forgotten_is_said_and_may_be_refused(tmp_path):
    config = quick(10)
    config["train"]["keep_rows"] = 60
    aet.train(signs(), target="y", config=config, out=tmp_path / "gas")
    with Store(tmp_path / "store.db") as store:
        versions = Versions(tmp_path / "gas")
        serve(store, swapped(200, seed=1))
        found = retrain(store, versions, "gas", config=CONFIG)
        figures = found.version.load().report["update"]["runs"]["update"]
        assert f"lost {figures['forgetting']:.1f} points of accuracy" in found.forgot
        assert found.forgot in found.text
        assert found.forgot in versions.card(2)
        assert figures["forgetting"] > 5  # the answers changed places
        with pytest.raises(UpdateRefused, match="forgets"):
            retrain(store, versions, "gas", config=CONFIG, gate=1.0)
        assert len(versions.all()) == 2
