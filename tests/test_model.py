"""The model: encode, predict, evaluate, for any rows there may be."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

import aet
from aet.attention.state import ElasticState, applied, merge
from aet.config import Config
from aet.errors import ConfigError, DataError, SchemaError
from aet.model import Model
from aet.schema import infer

from .made import mixed, quick, shapes, signs


@pytest.fixture(scope="module")
def everything():
    """A model that reads all kinds of columns."""
    frame = mixed(120).join(shapes(120)[["picture"]])
    return aet.train(frame, target="y", kinds={"text": "text"}, config=quick(1)), frame


@pytest.fixture(scope="module")
def plain():
    return aet.train(signs(80), target="y", config=quick(2))


@pytest.fixture(scope="module")
def price():
    frame = signs(80).assign(y=lambda f: 10 + f["a"])
    return aet.train(frame, target="y", config=quick(2))


@pytest.fixture(scope="module")
def tags():
    frame = signs(80).assign(hot=lambda f: (f["a"] > 0).astype(int), wet=lambda f: (f["b"] > 0).astype(int))
    return aet.train(frame.drop(columns="y"), target=["hot", "wet"], config=quick(2))


def noise(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return ElasticState.zeros(model).map(lambda _, t: 0.2 * torch.randn(t.shape, generator=generator))


def test_all_kinds_together_are_tokens_with_names(everything):
    model, frame = everything
    batch = model.encode(model.check(frame).frame, target=True)
    tokens, mask = model.tokens(batch)
    assert {part.kind for _, part in model.parts()} == {"number", "category", "text", "image"}
    assert tokens.shape == (120, len(model.token_names()), 8)
    assert len(set(model.token_names())) == len(model.token_names())
    assert mask.shape == tokens.shape[:2]
    assert batch.target.tolist() == [model.output.classes.index(y) for y in frame["y"]]


def test_an_empty_frame_is_an_empty_batch(everything):
    model, frame = everything
    batch = model.encode(model.check(frame.iloc[:0]).frame, target=True)
    assert len(batch) == len(batch.target) == 0
    assert {name: values.shape[1:] for name, values in batch.values.items()} == {
        name: values.shape[1:] for name, values in model.encode(model.check(frame).frame).values.items()
    }
    assert model.logits(batch).shape == (0, 2)
    with applied(noise(model)):
        assert model.logits(batch).shape == (0, 2)


@pytest.mark.parametrize("which", ["everything", "plain", "price", "tags"])
@pytest.mark.parametrize("proba", [False, True])
def test_no_rows_have_no_answers_but_the_columns_of_some(which, proba, request):
    model = request.getfixturevalue(which)
    model, frame = model if isinstance(model, tuple) else (model, signs(4))
    some, none = model.predict(frame.head(3), proba), model.predict(frame.head(0), proba)
    assert len(none) == 0
    assert none.dtypes.equals(some.dtypes)
    assert list(some.columns[[0, 1, 2, -1]]) == ["id", "prediction", "confidence", "problem"]


@pytest.mark.parametrize("convert", [pl.from_pandas, lambda f: pa.Table.from_pandas(f, preserve_index=False)])
def test_empty_tables_of_other_libraries_are_empty_too(plain, convert):
    assert len(plain.predict(convert(signs(3).head(0)))) == 0
    assert len(plain.predict(convert(signs(3)))) == 3


def test_an_empty_table_must_have_the_columns_all_the_same(plain):
    with pytest.raises(SchemaError, match="Missing columns: 'b'"):
        plain.predict(signs(3).head(0)[["a"]])


def test_rows_that_cannot_be_used_have_a_problem_and_nothing_else(plain, price, tags):
    for model in (plain, price, tags):
        for bad in ([0, 1, 2], [1]):
            frame = signs(3)
            frame.loc[bad, "a"] = np.inf
            answers = model.predict(frame, proba=True)
            good = [row for row in range(3) if row not in bad]
            assert len(answers) == 3
            assert answers["problem"].notna().tolist() == [row in bad for row in range(3)]
            assert all(f"row {row + 1}, column 'a'" in answers["problem"][row] for row in bad)
            rest = answers.drop(columns=["id", "problem"])
            assert rest.iloc[bad].isna().all(axis=None)
            assert rest.iloc[good].notna().all(axis=None)
            assert answers["id"].tolist() == [0, 1, 2]


def test_what_is_missing_is_none_where_answers_are_names(plain):
    frame = signs(3)
    frame.loc[1, "a"] = np.inf
    answers = plain.predict(frame)
    assert answers["prediction"][1] is None
    assert answers["problem"][0] is None


def test_answers_keep_the_order_and_do_not_depend_on_the_company(everything):
    model, frame = everything
    together = model.predict(frame, proba=True)
    for row in (0, 7, 119):
        alone = model.predict(frame.iloc[[row]], proba=True)
        assert alone["prediction"][0] == together["prediction"][row]
        assert alone["p_yes"][0] == pytest.approx(together["p_yes"][row], abs=1e-5)
    backwards = model.predict(frame.iloc[::-1], proba=True)
    np.testing.assert_allclose(backwards["p_yes"][::-1], together["p_yes"], atol=1e-5)


def test_ids_are_the_declared_column_or_a_counter_never_the_index():
    frame = signs(60).assign(name=[f"n{i}" for i in range(60)]).set_index(pd.Index(range(1000, 1060)))
    counted = aet.train(frame.drop(columns="name"), target="y", config=quick(1))
    assert counted.predict(frame)["id"].tolist() == list(range(60))
    named = aet.train(frame, target="y", id="name", config=quick(1))
    assert named.predict(frame)["id"].tolist() == frame["name"].tolist()
    broken = frame.reset_index(drop=True)
    broken.loc[3, "a"] = np.inf
    broken.loc[[5, 6, 8], "name"] = [None, "n0", "n3"]  # row 3 is kept aside, so its id is free
    broken["name"] = [["n7"] if row == 7 else name for row, name in enumerate(broken["name"])]
    answers = named.predict(broken)
    assert answers["id"].tolist()[2:9] == ["n2", "n3", "n4", None, None, None, "n3"]
    assert answers["problem"].notna().tolist()[2:9] == [False, True, False, True, True, True, False]


def test_long_tables_are_answered_in_pieces_that_count_on(plain):
    frame = signs(50)
    frame.loc[41, "b"] = -np.inf
    pieces = list(plain.predict_iter(frame, rows=20))
    assert [len(piece) for piece in pieces] == [20, 20, 10]
    assert pieces[2]["id"].tolist() == list(range(40, 50))
    assert "row 42, column 'b'" in pieces[2]["problem"][1]
    whole = pd.concat(pieces, ignore_index=True)
    np.testing.assert_allclose(whole["confidence"].dropna(), plain.predict(frame)["confidence"].dropna(), atol=1e-6)


def test_logits_in_pieces_are_those_of_the_whole_and_leave_the_mode(plain):
    batch = plain.encode(plain.check(signs(50)).frame)
    torch.testing.assert_close(plain.logits(batch, rows=7), plain.logits(batch))
    plain.train()
    first = plain.logits(batch)
    assert plain.training
    plain.eval()
    assert torch.equal(plain.logits(batch), first), "dropout must be off while answering"


def test_figures_leave_out_and_count_what_cannot_be_used(plain):
    frame = signs(40)
    frame.loc[[1, 2], "a"] = np.inf
    frame.loc[3, "y"] = None
    metrics = plain.evaluate(frame)
    assert metrics["rows"] == 37
    assert metrics["left_out"] == 3
    answers = plain.predict(frame)
    right = (answers["prediction"] == frame["y"])[answers["prediction"].notna() & frame["y"].notna()]
    assert metrics["accuracy"] == pytest.approx(right.mean())


def test_figures_count_classes_the_model_does_not_know(plain):
    frame = signs(40)
    expected = plain.evaluate(frame.drop(index=[3, 7]))
    found = plain.evaluate(frame.assign(y=frame["y"].where(~frame.index.isin([3, 7]), "neither")))
    assert found == {**expected, "unknown": 2.0}
    with pytest.raises(DataError, match="No row of 40 has an answer that this model can give"):
        plain.evaluate(frame.assign(y="neither"))


def test_zero_state_is_the_source_and_merged_is_applied(everything):
    model, frame = everything
    batch = model.encode(model.check(frame).frame)
    source = model.logits(batch)
    with applied(ElasticState.zeros(model)):
        torch.testing.assert_close(model.logits(batch), source, rtol=0, atol=1e-5)
    state = noise(model)
    with applied(state):
        moved = model.logits(batch)
    assert (moved - source).abs().max() > 1e-2
    torch.testing.assert_close(merge(model, state).logits(batch), moved, rtol=0, atol=1e-4)
    assert torch.equal(model.logits(batch), source)


def test_the_state_reaches_every_part(everything):
    model, frame = everything
    batch = model.encode(model.check(frame).frame)
    parts = {name.rpartition(".")[0] for name in ElasticState.zeros(model)}
    assert "output" in parts
    assert {name for name in parts if name.startswith("inputs.")} == {"inputs.number0", "inputs.image0"}
    source = model.logits(batch)
    for name, tensor in ElasticState.zeros(model).items():
        state = ElasticState({name: tensor + 0.3 * torch.randn(tensor.shape)})
        with applied(state):
            assert not torch.allclose(model.logits(batch), source, atol=1e-6), name


def test_each_row_may_have_its_own_state(everything):
    model, frame = everything
    batch = model.encode(model.check(frame.head(9)).frame)
    states, index = [noise(model, seed) for seed in range(3)], torch.arange(9) % 3
    with applied(ElasticState.stack(states).rows(index)):
        together = model.logits(batch)
    for which, state in enumerate(states):
        with applied(state):
            torch.testing.assert_close(together[index == which], model.logits(batch)[index == which], atol=1e-5, rtol=0)


def test_each_row_keeps_its_own_state_over_several_passes(everything):
    model, frame = everything
    batch = model.encode(model.check(frame.head(20)).frame)
    whole = ElasticState.stack([noise(model, seed) for seed in range(3)]).rows(torch.arange(20) % 3)
    part = whole.select(lambda name: name.startswith("output"))
    mixture = whole.updated({name: tensor[0] for name, tensor in part.items()})  # a bias that all rows share
    for state in (whole, part, mixture, ElasticState.stack([noise(model)])):
        with applied(state):
            together = model.logits(batch)
            torch.testing.assert_close(model.logits(batch, rows=7), together, atol=1e-5, rtol=0)
            direct = model(batch).detach()
        torch.testing.assert_close(together, direct, atol=1e-5, rtol=0)


def test_a_batched_state_must_have_one_state_a_row(plain):
    batch = plain.encode(plain.check(signs(8)).frame)
    state = ElasticState.stack([noise(plain), noise(plain, 1)])
    with (
        applied(state),
        pytest.raises(ConfigError, match=r"one state a row: expected 8, got 2 in .*states.rows\(index\)"),
    ):
        plain.logits(batch)
    assert not plain.training


def test_an_id_given_twice_is_found_in_another_piece(tmp_path):
    """The second piece of the file holds texts where the first one holds whole numbers, the third both twice."""
    frame = signs(60).assign(key=range(60))
    model = aet.train(frame, target="y", id="key", config=quick(1))
    frame["key"] = [str(key) if key < 20 else f"k{key}" for key in range(60)]
    frame.loc[[25, 45, 50, 59], "key"] = ["3", "3", "k30", "k58"]
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    problems = pd.concat(model.predict_iter(path, rows=20), ignore_index=True)["problem"]
    expected = {25: ("3", 4), 45: ("3", 4), 50: ("k30", 31), 59: ("k58", 59)}
    assert problems.dropna().to_dict() == {
        row: f"row {row + 1}, column 'key': expected a new id, got '{key}' of row {first} again"
        for row, (key, first) in expected.items()
    }
    assert problems.tolist() == model.predict(path)["problem"].tolist()
    assert model.predict(path)["problem"].count() == 4, "each call begins anew"


def test_a_model_never_trained_has_no_statistics():
    model = Model(infer(signs(20), "y"), Config.read(quick()))
    with pytest.raises(DataError, match=r"no source statistics. Train it with aet.train"):
        model.known_statistics()


def test_weights_of_rows_are_read_where_they_are():
    frame = signs(40).assign(w=np.arange(40.0))
    model = aet.train(frame, target="y", weight="w", config=quick(1))
    assert model.encode(model.check(frame).frame).weight.tolist() == list(range(40))
    assert model.encode(model.check(frame.drop(columns="w")).frame).weight is None
