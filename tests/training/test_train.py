"""`aet.train` end to end on tables made so that a right model must learn them."""

import json
import random

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import aet
from aet.errors import ConfigError, DataError, RunError
from aet.schema import SchemaWarning
from aet.training import loop
from aet.training.split import SplitWarning, split

from ..made import mixed, quick, sentences, shapes, signs


def drizzle(rows, seed=0):
    """Three numbers and two tags, one of one number and one of two."""
    x = np.random.default_rng(seed).normal(size=(rows, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    return frame.assign(hot=(x[:, 0] > 0).astype(int), wet=(x[:, 1] + x[:, 2] > 0.6).astype(int))


def prices(rows, seed=0):
    """A price of two numbers, with noise that grows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    noise = rng.normal(size=rows) * (1 + np.abs(x[:, 0]))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "price": 1000 + 5 * x[:, 0] - 3 * x[:, 1] + noise})


def test_numbers_are_learned():
    model = aet.train(signs(200), target="y", config=quick(15, dim=16))
    assert model.evaluate(signs(200, 1))["accuracy"] > 0.9
    assert model.report["rows"] == 160
    assert not model.training


def test_texts_are_learned():
    model = aet.train(sentences(250), target="y", config=quick(12, dim=16, lr=1e-2))
    assert model.schema.inputs[0].kind == "text"
    assert model.evaluate(sentences(200, 1))["accuracy"] > 0.9


def test_images_are_learned():
    config = {**quick(15, dim=16, lr=1e-2), "inputs": {"image": {"patch": 4}}}
    model = aet.train(shapes(250), target="y", config=config)
    assert model.evaluate(shapes(200, 1))["accuracy"] > 0.9


def test_mixed_tables_with_missing_values_are_learned():
    model = aet.train(mixed(300), target="y", kinds={"text": "text"}, config=quick(20, dim=16, lr=1e-2))
    assert [spec.kind for spec in model.schema.inputs] == ["number", "number", "category", "text"]
    fresh = mixed(300, 1)
    whole = fresh[["number", "category"]].notna().all(axis=1)
    assert model.evaluate(fresh[whole])["accuracy"] > 0.85
    answers = model.predict(fresh)
    assert answers["prediction"].notna().all(), "a missing input is no reason not to answer"


def test_tags_are_learned():
    model = aet.train(drizzle(300), target=["hot", "wet"], config=quick(15, dim=16, lr=1e-2))
    assert model.output.kind == "multilabel"
    metrics = model.evaluate(drizzle(200, 1))
    assert metrics["accuracy"] > 0.88
    answers = model.predict(drizzle(200, 1), proba=True)
    assert set(answers["prediction"]) == {"", "hot", "wet", "hot|wet"}
    assert ((answers["p_hot"] > 0.5) == answers["prediction"].str.contains("hot")).all()


def test_numbers_are_answered_with_an_interval_that_covers_fresh_rows():
    model = aet.train(prices(600), target="price", config=quick(20, dim=16, lr=1e-2, batch_size=64))
    fresh = prices(2000, 1)
    metrics = model.evaluate(fresh)
    assert metrics["r2"] > 0.8
    assert 0.84 < metrics["coverage"] < 0.96
    answers = model.predict(fresh)
    inside = (answers["lower"] <= fresh["price"]) & (fresh["price"] <= answers["upper"])
    assert inside.mean() == pytest.approx(metrics["coverage"], abs=1e-3)


def test_calibration_does_not_raise_the_validation_log_loss():
    frame = signs(200).assign(y=lambda f: np.where(np.random.default_rng(1).random(200) < 0.25, "minus", f["y"]))
    model = aet.train(frame, target="y", config=quick(8, dim=16, lr=1e-2))
    calibrated = model.report["valid"]["log_loss"]
    temperature = float(model.output.temperature)
    checked = model.check(frame).frame
    _, held = split(checked, model.schema, model.config.train.valid, model.config.seed)
    batch = model.encode(checked.iloc[held], target=True)
    assert model.output.metrics(model.logits(batch), batch.target)["log_loss"] == pytest.approx(calibrated)
    model.output.temperature.fill_(1.0)
    plain = model.output.metrics(model.logits(batch), batch.target)["log_loss"]
    assert temperature != 1.0
    assert calibrated <= plain + 1e-7


def test_balanced_classes_find_the_rare_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    frame = pd.DataFrame({"a": x, "y": np.where(x + 0.8 * rng.normal(size=400) > 1.9, "rare", "common")})
    recalls = []
    for weight in (None, "balanced"):
        config = {**quick(10, lr=1e-2), "output": {"class_weight": weight}}
        answers = aet.train(frame, target="y", config=config).predict(frame)
        recalls.append((answers["prediction"] == "rare")[frame["y"] == "rare"].mean())
    assert recalls[1] > recalls[0] + 0.2


def test_rows_of_weight_zero_teach_nothing():
    frame = signs(300).assign(w=1.0)
    lies = np.random.default_rng(2).random(300) < 0.5
    frame.loc[lies, "w"] = 0.0
    frame.loc[lies, "y"] = frame.loc[lies, "y"].map({"plus": "minus", "minus": "plus"})
    model = aet.train(frame, target="y", weight="w", config=quick(15, dim=16))
    assert "w" not in model.schema.input_columns
    assert model.evaluate(signs(200, 1).assign(w=1.0))["accuracy"] > 0.88


def test_the_same_rows_and_seed_give_the_same_bits_and_another_seed_others():
    def logits(seed):
        model = aet.train(mixed(100), target="y", seed=seed, kinds={"text": "text"}, config=quick(2))
        return model.logits(model.encode(model.check(mixed(20, 1)).frame))

    assert torch.equal(logits(0), logits(0))
    assert not torch.equal(logits(0), logits(1))


def test_training_draws_nothing_from_the_program_s_generators(tmp_path):
    torch.manual_seed(7)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    model = aet.train(mixed(80), target="y", kinds={"text": "text"}, config=quick(1), out=tmp_path / "run")
    model.predict(mixed(10))
    aet.load(tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_the_table_given_is_left_as_it_was():
    frame = mixed(80)
    before = frame.copy(deep=True)
    aet.train(frame, target="y", kinds={"text": "text"}, config=quick(1))
    pd.testing.assert_frame_equal(frame, before)


def test_a_run_interrupted_at_its_end_is_taken_up_without_training_again(tmp_path, monkeypatch):
    def power_goes(*arguments):
        raise KeyboardInterrupt

    expected = aet.train(signs(100), target="y", config=quick(3))
    with monkeypatch.context() as patch:
        patch.setattr("aet.training.train.gather", power_goes)
        with pytest.raises(KeyboardInterrupt):
            aet.train(signs(100), target="y", config=quick(3), out=tmp_path)
    assert (tmp_path / loop.CHECKPOINT).is_file()
    monkeypatch.setattr("aet.training.loop.batch_loss", power_goes)
    model = aet.train(signs(100), target="y", config=quick(3), out=tmp_path)
    batch = model.encode(model.check(signs(20)).frame)
    assert torch.equal(model.logits(batch), expected.logits(batch))
    assert not (tmp_path / loop.CHECKPOINT).exists()


def test_a_run_folder_holds_the_figures_and_no_leftovers(tmp_path):
    model = aet.train(signs(100), target="y", config=quick(3), out=tmp_path / "deep" / "run")
    names = sorted(path.name for path in (tmp_path / "deep" / "run").iterdir())
    assert names == ["config.yaml", "metrics.jsonl", "model.safetensors", "schema.json", "statistics.safetensors"]
    lines = (tmp_path / "deep" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == model.report["history"]
    assert len(lines) == 3


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match=r"file cannot be made .* Name a folder that can be written"):
        aet.train(signs(40), target="y", config=quick(1), out=tmp_path / "file")


def test_arguments_may_stand_in_the_settings_file(tmp_path):
    path = tmp_path / "settings.yaml"
    data = {"target": "y", "groups": {"both": ["a", "b"]}, "ignore": ["c"]}
    path.write_text(yaml.safe_dump({**quick(1), "seed": 3, "data": data}))
    model = aet.train(signs(40).assign(c=1.0), config=path)
    assert model.config.seed == 3
    assert [spec.columns for spec in model.schema.inputs] == [("a", "b")]
    # Arguments of the call come before those of the file.
    assert aet.train(signs(40).assign(c=1.0), ignore="b", groups={}, config=path).schema.ignored == ("b",)


def test_names_given_as_pandas_and_numpy_objects_are_kept_as_texts(tmp_path):
    frame = signs(40)
    aet.train(frame, target=np.str_("y"), groups={"both": frame.columns[:2]}, config=quick(1), out=tmp_path / "run")
    assert aet.load(tmp_path / "run").config.data == {"target": "y", "groups": {"both": ["a", "b"]}}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"data": {"grops": {}}}, r"data\.grops is unknown. Did you mean 'groups'\?"),
        ({"inputs": {"txt": {}}}, r"There is no input kind 'txt'. Did you mean 'text'\?"),
        ({"inputs": {"number": {"bin": 3}}}, r"inputs\.number\.bin is unknown"),
        ({"output": {"classweight": "balanced"}}, r"output\.classweight is unknown. Did you mean 'class_weight'\?"),
        ({"train": {"device": "gpu"}}, r"train\.device='gpu' cannot be used"),
        ({"model": {"dim": 10, "heads": 4}}, r"The width 10 cannot be split over 4 heads"),
        ({"train": {"epochs": 0}}, r"train\.epochs=0 is not valid"),
    ],
)
def test_settings_that_cannot_be_are_named(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        aet.train(signs(40), target="y", config=config)


def test_names_that_are_no_texts_are_an_error():
    with pytest.raises(ConfigError, match="Column names and kinds must be texts"):
        aet.train(signs(40), target="y", kinds={"a": object()}, config=quick(1))


def test_the_kind_of_answer_may_be_said():
    frame = signs(60).assign(y=lambda f: (f["a"] > 0).astype(int))
    assert aet.train(frame, target="y", config=quick(1)).output.kind == "label"
    assert aet.train(frame, target="y", output="number", config=quick(1)).output.kind == "number"


def test_the_latest_rows_are_held_out():
    frame = signs(100).assign(day=pd.date_range("2024-01-01", periods=100))
    frame.loc[80:, "y"] = "plus"
    model = aet.train(frame.sample(frac=1, random_state=0), target="y", time="day", config=quick(3))
    plus = (model.predict(frame[80:])["prediction"] == "plus").mean()
    assert model.report["valid"]["accuracy"] == pytest.approx(plus)


def test_groups_that_end_latest_are_held_out_as_a_whole():
    """Three visits of each patient, the first of all patients before the second: only whole patients are held out."""
    frame = signs(90).assign(patient=[f"p{i % 30}" for i in range(90)], day=range(90))
    model = aet.train(frame, target="y", time="day", group="patient", config=quick(1))
    assert model.report["rows"] == 72
    late = frame["patient"].isin([f"p{i}" for i in range(24, 30)])
    right = model.predict(frame[late])["prediction"] == frame["y"][late].to_numpy()
    assert model.report["valid"]["accuracy"] == pytest.approx(right.mean())


@pytest.mark.parametrize(("side", "rows"), [("training", slice(0, 80)), ("validation", slice(80, 100))])
def test_weights_of_zero_on_one_side_are_an_error(side, rows):
    frame = signs(100).assign(w=1.0, t=range(100))
    frame.loc[frame.index[rows], "w"] = 0.0
    with pytest.raises(
        DataError, match=rf"The weight column 'w' is 0 in all \d+ {side} rows: expected a weight above 0"
    ):
        aet.train(frame, target="y", weight="w", time="t", config=quick(1))


def test_a_class_of_the_latest_rows_only_is_named_and_left_out():
    frame = signs(100).assign(t=range(100))
    frame.loc[95:, "y"] = "new"
    with pytest.warns(SplitWarning, match="The classes new of the target 'y'"):
        model = aet.train(frame, target="y", time="t", config=quick(1))
    assert model.output.classes == ["minus", "plus"]


def test_labels_of_every_type_are_answered_as_they_came(tmp_path):
    sign = signs(60)["a"] > 0
    for yes, no in (("b", "a"), (7, 3), (True, False), (2.5, 0.5)):
        frame = signs(60).assign(y=np.where(sign, yes, no))
        aet.train(frame, target="y", output="label", config=quick(1), out=tmp_path)
        answers = aet.load(tmp_path).predict(frame)["prediction"]
        assert set(answers) <= {yes, no}
        assert {type(answer) for answer in answers} == {type(yes)}


def test_progress_goes_to_standard_error(capsys):
    aet.train(signs(60), target="y", config=quick(1), progress=True)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "48 rows to train on, 12 held out" in seen.err


def test_columns_without_any_value_are_left_out_and_said():
    with pytest.warns(SchemaWarning, match="Column 'empty' is left out: it has no value in any row"):
        model = aet.train(signs(60).assign(empty=np.nan), target="y", config=quick(1))
    assert model.schema.ignored == ("empty",)
