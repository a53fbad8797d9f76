"""Classic filters: which columns are kept, and that the others are named and not asked for."""

import numpy as np
import pandas as pd
import pytest

import aet
from aet.config import ColumnsConfig
from aet.errors import ConfigError
from aet.inputs.selection import FILTERS, scores, select
from aet.schema import infer


def table(rows=400, seed=0):
    """`signal` and `city` tell the answer, the others do not."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    frame = pd.DataFrame({f"noise{i}": rng.normal(size=rows) for i in range(4)})
    frame["signal"] = y + 0.3 * rng.normal(size=rows)
    frame["city"] = np.where(rng.random(rows) < 0.9, np.where(y == 1, "Rome", "Oslo"), "Bern")
    frame["size"] = rng.choice(["S", "M", "L"], rows)
    frame.loc[::9, ["signal", "noise0"]] = np.nan
    frame.loc[::11, "city"] = None
    return frame.assign(y=np.where(y == 1, "yes", "no"))


@pytest.mark.parametrize("name", list(FILTERS))
def test_every_filter_finds_what_tells_the_answer_numbers_and_categories_alike(name):
    frame = table()
    schema, told = select(frame, infer(frame, "y"), ColumnsConfig(keep=2, filter=name))
    assert sorted(spec.name for spec in schema.inputs) == ["city", "signal"]
    assert told["kept"] == [spec.name for spec in schema.inputs]
    assert sorted(told["dropped"]) == ["noise0", "noise1", "noise2", "noise3", "size"]
    assert set(told["scores"]) == {*told["kept"], *told["dropped"]}
    assert set(told["dropped"]) <= set(schema.ignored)


@pytest.mark.parametrize("name", ["f_test", "mutual_info"])
def test_numbers_are_answers_too(name):
    frame = table().assign(y=lambda f: f["noise2"] ** 3 + 0.01 * f["noise1"])
    found = scores(frame, infer(frame, "y"), name)
    assert max(found, key=found.get) == "noise2"


def test_a_group_has_the_score_of_its_best_column():
    frame = table()
    grouped = scores(frame, infer(frame, "y", groups={"g": ["noise1", "signal"]}), "f_test")
    assert grouped["g"] == pytest.approx(scores(frame, infer(frame, "y"), "f_test")["signal"])


def test_nothing_is_asked_of_the_columns_unless_told_to():
    frame = table(60)
    schema = infer(frame, "y")
    assert select(frame, schema, ColumnsConfig()) == (schema, {})


def test_a_trained_model_names_the_dropped_columns_and_serves_without_them(tmp_path):
    frame = table(160)
    config = {"columns": {"keep": 2, "filter": "f_test"}, "train": {"epochs": 2}, "model": {"dim": 16, "depth": 1}}
    model = aet.train(frame, "y", out=tmp_path / "run", config=config)
    assert sorted(model.report["columns"]["dropped"]) == ["noise0", "noise1", "noise2", "noise3", "size"]
    served = aet.load(tmp_path / "run").predict(frame[["signal", "city"]])
    assert served["prediction"].tolist() == model.predict(frame)["prediction"].tolist()


def test_wrong_settings_say_what_to_do():
    frame = table(60)
    with pytest.raises(ConfigError, match=r"no column filter 'ftest'.*Did you mean 'f_test'"):
        select(frame, infer(frame, "y"), ColumnsConfig(keep=1, filter="ftest"))
    numbers = frame.assign(y=np.arange(60.0) / 7)
    with pytest.raises(ConfigError, match=r"columns.filter='chi2' counts classes.*Use 'f_test'"):
        select(numbers, infer(numbers, "y"), ColumnsConfig(keep=1, filter="chi2"))
    with pytest.raises(ConfigError, match=r"columns.keep=0"):
        aet.train(frame, "y", config={"columns": {"keep": 0}})


@pytest.mark.parametrize(
    ("columns", "sentence"), [({"filter": "chi2"}, "without columns.keep"), ({"filter": "foo"}, "foo")]
)
def test_a_filter_alone_is_an_error(columns, sentence):
    with pytest.raises(ConfigError, match=sentence):
        aet.train(table(), "y", config={"columns": columns, "train": {"epochs": 1}})
