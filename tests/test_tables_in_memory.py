"""Tables in memory: pandas, polars, Arrow, Hugging Face, arrays, dicts, records, NumPy files."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aet.errors import DataError
from aet.tables import iter_tables, read_table


@pytest.fixture
def frame():
    return pd.DataFrame({"age": [41, 25, 33], "height": [1.5, np.nan, 2], "city": ["Oslo", "Rome", None]})


def same(found, expected):
    assert list(found.columns) == list(expected.columns)
    assert found.index.equals(pd.RangeIndex(len(expected)))
    for name in expected:
        left, right = found[name], expected[name]
        assert left.isna().tolist() == right.isna().tolist()
        assert left.dropna().tolist() == right.dropna().tolist()


def test_pandas_frame_loses_its_index_and_is_not_shared(frame):
    shuffled = frame.set_index(pd.Index([7, 7, 3]))
    found = read_table(shuffled)
    same(found, frame)
    found.loc[0, "age"] = 0
    assert shuffled["age"].iloc[0] == 41


def test_names_become_texts():
    assert list(read_table(pd.DataFrame([[1, 2]])).columns) == ["0", "1"]


def test_polars_and_arrow(frame):
    import polars as pl

    frame["day"] = pd.to_datetime(["2020-01-01", "2020-01-02", None])
    for source in (pl.from_pandas(frame), pl.from_pandas(frame).lazy(), pa.Table.from_pandas(frame)):
        same(read_table(source), frame)
        assert read_table(source)["day"].dtype.kind == "M"
    kinds = pl.DataFrame({"c": ["u", "v"]}, schema={"c": pl.Categorical})
    assert read_table(kinds)["c"].tolist() == ["u", "v"]


def test_arrow_decimals_dates_and_an_unnamed_index():

    table = pa.table({"d": [Decimal("1.50"), None], "t": [datetime.date(2020, 1, 1)] * 2})
    found = read_table(table)
    assert found["d"].dtype == np.float64
    assert found["t"].dtype.kind == "M"
    indexed = pa.Table.from_pandas(pd.DataFrame({"x": [1, 2]}, index=[5, 9]))
    assert list(read_table(indexed).columns) == ["x"]


def test_hugging_face_dataset_with_images():
    datasets = pytest.importorskip("datasets")
    pixels = [np.full((4, 5), value, np.uint8) for value in (0, 200, 100)]
    features = datasets.Features(
        {"y": datasets.Value("int64"), "image": datasets.Image(), "grid": datasets.Array2D((2, 2), "float32")}
    )
    columns = {"y": [0, 1, 2], "image": pixels, "grid": [[[1, 2], [3, 4]]] * 3}
    source = datasets.Dataset.from_dict(columns, features=features)
    found = read_table(source)
    assert list(found.columns) == ["y", "image", "grid"]
    assert np.array_equal(found["image"][1], pixels[1])
    assert found["grid"][0].shape == (2, 2)
    pieces = list(iter_tables(source.shuffle(seed=0), rows=2))
    assert [len(piece) for piece in pieces] == [2, 1]
    assert sorted(pd.concat(pieces)["y"]) == [0, 1, 2]
    with pytest.raises(DataError, match=r"one split of a Hugging Face dataset.*got DatasetDict"):
        read_table(datasets.DatasetDict({"train": source}))


def test_arrays_and_dicts_of_columns():
    assert read_table(np.arange(6.0).reshape(3, 2))["x1"].tolist() == [1, 3, 5]
    for shape in [(3, 4, 4), (3, 4, 4, 3)]:
        found = read_table(np.ones(shape, np.uint8))
        assert list(found.columns) == ["image"]
        assert found["image"][2].shape == shape[1:]
    columns = {
        "pixels": np.zeros((2, 3, 3)),
        "f": np.ones((2, 2)),
        "y": ["a", "b"],
        "t": pd.Series([1, 2], [4, 4]),
    }
    found = read_table(columns)
    assert list(found.columns) == ["pixels", "f0", "f1", "y", "t"]
    assert found["pixels"][0].shape == (3, 3)
    assert found["t"].tolist() == [1, 2]
    images = read_table({"image": [np.zeros((2, 2)), np.zeros((3, 2))], "y": [0, 1]})
    assert images["image"][1].shape == (3, 2)


def test_records_may_leave_names_out(tmp_path):
    records = [{"a": 1}, {"a": 2, "b": "x"}, {"a": 3}]
    assert read_table(records)["b"].isna().tolist() == [True, False, True]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    assert [list(piece) for piece in iter_tables(path, rows=1)] == [["a"], ["a", "b"], ["a", "b"]]


def test_numpy_files(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    assert read_table(tmp_path / "x.npy").shape == (4, 2)
    np.savez(tmp_path / "x.npz", image=np.zeros((4, 3, 3)), y=np.array(list("abab")))
    assert [len(piece) for piece in iter_tables(tmp_path / "x.npz", rows=3)] == [3, 1]
    assert list(read_table(tmp_path / "x.npz")["y"]) == list("abab")
