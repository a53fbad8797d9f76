import datetime
import time
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aet.cells.number import LARGEST, parse_numbers
from aet.errors import ConfigError, DataError, SchemaError
from aet.roles import SeenIds
from aet.rows import check_rows
from aet.schema import InputSpec, Schema
from aet.tables import iter_tables, read_table


def schema(output="label", targets=("y",), roles=None, **kinds):
    inputs = tuple(InputSpec(name, kind, (name,)) for name, kind in kinds.items())
    return Schema(inputs, targets, output, **(roles or {}))


def checked(cells, kind="number", **settings):
    return check_rows(pd.DataFrame({"x": cells}), schema(x=kind), **settings)


# Numbers


def test_wrong_type_in_row_10001():
    cells = [f"{i}.5" for i in range(20_000)]
    cells[10_000] = "abc"
    found = check_rows(pd.DataFrame({"age": cells}), schema(age="number"))
    assert found.problems == {10_000: "row 10001, column 'age': expected a number, got 'abc'"}
    assert found.frame["age"].dtype == np.float64
    assert found.frame["age"].tolist() == [i + 0.5 for i in range(20_000) if i != 10_000]
    assert found.kept.tolist() == [i for i in range(20_000) if i != 10_000]
    assert found.frame.index.equals(pd.RangeIndex(19_999))


def test_rows_may_be_counted_from_elsewhere():
    assert "row 8195," in checked(["1", "2", "x"], first=8193).problems[2]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, 2], [1, 2]),
        ([True, False], [1, 0]),
        (pd.array([1, None], dtype="Int64"), [1, np.nan]),
        (pd.array([True, None], dtype="boolean"), [1, np.nan]),
        (pd.array([0.5, None], dtype="Float64"), [0.5, np.nan]),
        (pd.Categorical(["1.5", "2"]), [1.5, 2]),
        (["1e3", " -2 ", "NA", "", None, "nan", "true", "False"], [1000, -2, *[np.nan] * 4, 1, 0]),
        (pd.to_datetime(["1970-01-02", None]), [86400, np.nan]),
        (pd.to_datetime(["1970-01-02 01:00"]).tz_localize("Europe/Oslo"), [86400]),
        (pd.to_timedelta(["90s", None]), [90, np.nan]),
        (pd.Series([np.timedelta64(90, "s"), np.datetime64("1970-01-02"), 1], dtype=object), [90, 86400, 1]),
        (pd.Series([datetime.date(1970, 1, 2), Decimal("0.5"), None]), [86400, 0.5, np.nan]),
        (pd.arrays.ArrowExtensionArray(pa.array([1, None])), [1, np.nan]),
    ],
)
def test_numbers_of_every_sort(cells, expected):
    found = checked(cells)
    assert found.problems == {}
    np.testing.assert_array_equal(found.frame["x"].to_numpy(), expected)
    assert found.frame["x"].dtype == np.float64


@pytest.mark.parametrize(
    "cell", ["abc", "1,000", "0x10", "1_0", "2020-01-01", [1], {"a": 1}, 1 + 2j, b"x", np.zeros(2)]
)
def test_what_is_no_number(cell):
    found = checked(pd.Series([1.0, None, cell, "3"]))
    assert list(found.problems) == [2]
    assert "row 3, column 'x': expected a number, got " in found.problems[2]
    np.testing.assert_array_equal(found.frame["x"], [1, np.nan, 3])


@pytest.mark.parametrize("cell", [np.inf, -np.inf, 1e39, "inf", "1e400", 10**400, "1" * 400])
def test_infinite_values(cell):
    cells = pd.Series([1.0, cell, 3.0], dtype=object)
    found = checked(cells)
    assert found.kept.tolist() == [0, 2]
    assert "row 2, column 'x': expected a finite number of at most 3.4e+38 in size, got" in found.problems[1]
    frame = pd.DataFrame({"x": cells})
    with pytest.raises(DataError, match=r"row 2, column 'x': expected a finite .*in 1 rows.*Replace"):
        check_rows(frame, schema(x="number"), infinite="raise")
    assert checked([LARGEST, -LARGEST]).problems == {}
    with pytest.raises(ConfigError, match=r"'quarantine' or 'raise', got 'drop'"):
        checked([1], infinite="drop")


def test_speed_of_the_good_path():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(100_000, 128))).add_prefix("x")
    of = schema(**dict.fromkeys(frame, "number"))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = check_rows(frame, of)
        seconds.append(time.perf_counter() - start)
    assert len(found.kept) == 100_000
    assert min(seconds) < 0.5


def test_the_given_frame_stays_as_it_was():
    frame = pd.DataFrame({"x": [1.0, np.inf], "c": ["a ", None]}, index=[5, 5])
    before = frame.copy()
    found = check_rows(frame, schema(x="number", c="category"))
    found.frame.loc[0, "x"] = 9.0
    pd.testing.assert_frame_equal(frame, before)


# Categories and texts


def test_one_way_of_writing_a_category():
    cells = [
        7,
        7.0,
        "7",
        "7.0",
        "007",
        " 7 ",
        "NW",
        " NW",
        True,
        "TRUE",
        "true",
        None,
        "",
        "NA",
        np.nan,
        1.5,
        "1.50",
    ]
    found = checked(pd.Series(cells, dtype=object), "category").frame["x"].tolist()
    assert found == ["7"] * 6 + ["NW"] * 2 + ["True"] * 3 + [None] * 4 + ["1.5"] * 2


def test_a_category_does_not_depend_on_its_neighbours(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("c,n\n01,1\n2,2\n,3\nx,4\n03,5\ntrue,6\n")
    pieces = [check_rows(piece, schema(c="category")).frame["c"] for piece in iter_tables(path, rows=2)]
    whole = check_rows(read_table(path), schema(c="category")).frame["c"]
    assert pd.concat(pieces).tolist() == whole.tolist() == ["1", "2", None, "x", "3", "True"]


@pytest.mark.parametrize("kind", ["category", "text"])
def test_objects_are_no_words(kind):
    found = checked(pd.Series(["a", [1, 2], None, {"b": 1}, b"c", np.zeros(2)], dtype=object), kind)
    assert list(found.problems) == [1, 3, 4, 5]
    assert found.problems[1] == f"row 2, column 'x': expected a {kind}, got [1, 2]"
    assert found.frame["x"].tolist() == ["a", None]


def test_texts_are_kept_and_the_rest_is_written_out():
    cells = pd.Series([" Two words ", "007", "true", 5, datetime.date(2020, 1, 2), "NA", None], dtype=object)
    found = checked(cells, "text").frame["x"]
    assert found.tolist() == [" Two words ", "007", "true", "5", "2020-01-02", None, None]
    assert found.dtype == object
    assert checked(pd.Categorical(["b", None]), "category").frame["x"].tolist() == ["b", None]


# Images


def test_broken_and_missing_images(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    for suffix in ("png", "jpg", "bmp", "gif", "webp"):
        noise.save(tmp_path / f"good.{suffix}")
        content = (tmp_path / f"good.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        (tmp_path / f"stub.{suffix}").write_bytes(content[:10])
        (tmp_path / f"text.{suffix}").write_text("no image")
    paths = sorted(tmp_path.iterdir())
    cells = pd.Series([*map(str, paths), tmp_path / "good.png", str(tmp_path / "none.png"), None], dtype=object)
    found = checked(cells, "image")
    assert found.frame["x"].tolist() == [str(p) for p in [*paths, tmp_path / "good.png"] if p.stem == "good"]
    assert len(found.problems) == 17
    cut = paths.index(tmp_path / "cut.jpg")
    assert f"row {cut + 1}, column 'x': expected an image, got '{paths[cut]}', a broken file" in found.problems[cut]
    assert "none.png', where there is no file" in found.problems[21]
    assert found.problems[22] == "row 23, column 'x': expected an image, got a missing value"


def test_a_png_cut_anywhere_is_a_problem_not_a_crash(tmp_path):
    Image.new("RGB", (5, 5)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for end in range(len(content) - 4):
        (tmp_path / f"{end}.png").write_bytes(content[:end])
    found = checked(
        [str(tmp_path / f"{end}.png") for end in range(len(content) - 4)] + [str(tmp_path / "x.png")], "image"
    )
    assert found.kept.tolist() == [len(content) - 4]


def test_image_arrays():
    bad = np.ones((4, 4))
    bad[1, 1] = np.nan
    cells = [
        np.ones((4, 4)),
        bad,
        np.ones((4, 4, 3), np.uint8),
        np.ones((4, 4, 2)),
        np.ones(4),
        np.ones((0, 4)),
    ]
    cells += [np.array([["a"]]), [[1]], Image.new("L", (3, 3)), 5]
    column = pd.Series(index=range(len(cells)), dtype=object)
    for row, cell in enumerate(cells):
        column[row] = cell
    found = checked(column, "image")
    assert found.kept.tolist() == [0, 2, 8]
    assert found.frame["x"][1] is cells[2]
    assert "not finite" in found.problems[1]
    assert "shape (4, 4, 2), not (H, W)" in found.problems[3]


# Rows as a whole


def test_several_problems_in_one_row_are_all_told():
    frame = pd.DataFrame({"a": ["x", 1], "b": [np.inf, 1]})
    text = check_rows(frame, schema(a="number", b="number")).problems[0]
    assert text.startswith("row 1, column 'a': expected a number, got 'x'; row 1, column 'b': expected a finite")


def test_missing_column_says_renamed():
    with pytest.raises(SchemaError, match=r"'age' \('Age' is new: renamed\?\)"):
        check_rows(pd.DataFrame({"Age": [1]}), schema(age="number"))


def test_an_id_given_twice_is_found_however_far_apart_the_rows_are(tmp_path):
    frame = pd.DataFrame({"x": 0.5, "y": "a", "uid": [f"u{row}" for row in range(20_000)]})
    frame.loc[19_000, "uid"] = "u3"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    of = schema(x="number", roles={"id": "uid"})
    problems = {19_000: "row 19001, column 'uid': expected a new id, got 'u3' of row 4 again"}
    assert check_rows(read_table(tmp_path / "rows.csv"), of, need_target=True).problems == problems
    seen, row, found = SeenIds(), 1, {}
    for piece in iter_tables(tmp_path / "rows.csv", rows=8192):
        found |= {row - 1 + at: text for at, text in check_rows(piece, of, first=row, seen=seen).problems.items()}
        row += len(piece)
    assert found == problems


def test_all_missing_column_is_typed():
    found = check_rows(pd.DataFrame({"n": [None] * 3, "c": [None] * 3}), schema(n="number", c="category"))
    assert found.frame["n"].dtype == np.float64
    assert found.frame["c"].tolist() == [None] * 3


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1.5", "NA", "inf", "abc", " 2"]),
    st.lists(st.integers(), max_size=2),
    st.dates(),
    st.binary(max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=12))
def test_kept_and_problems_part_the_rows_and_keep_their_order(rows):
    frame = pd.DataFrame(rows, columns=["n", "c", "t", "uid"], dtype=object)
    frame["row"] = np.arange(len(frame))
    of = schema(n="number", c="category", t="text", row="number", roles={"id": "uid"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = check_rows(frame, of)
    assert sorted([*found.kept, *found.problems]) == list(range(len(frame)))
    assert found.frame["row"].tolist() == found.kept.tolist() == sorted(found.kept)
    assert all(text.startswith(f"row {row + 1}, column ") for row, text in found.problems.items())
    assert not np.isinf(found.frame["n"]).any()
    assert all(cell is None or isinstance(cell, str) for name in "ct" for cell in found.frame[name])
    again = check_rows(found.frame, of)
    assert again.problems == {}
    pd.testing.assert_frame_equal(again.frame, found.frame)


@given(st.lists(CELLS, max_size=8))
def test_parsing_never_calls_a_missing_cell_wrong(cells):
    values, wrong = parse_numbers(pd.Series(cells, dtype=object))
    assert np.isnan(values[wrong]).all()
    assert not any(wrong[row] for row, cell in enumerate(cells) if cell is None)


@pytest.mark.parametrize("infinite", ["quarantine", "raise"])
def test_plain_numbers_in_one_block_are_what_columns_one_by_one_are(infinite):
    schema = Schema(tuple(InputSpec(name, "number", (name,)) for name in "ab"), ("y",), "label")
    block = pd.DataFrame({"b": [1, 2, 3], "more": ["x", "y", "z"], "a": [0.5, np.nan, LARGEST]})
    fast = check_rows(block, schema, infinite=infinite)
    slow = check_rows(block.astype({"a": object}), schema, infinite=infinite)
    pd.testing.assert_frame_equal(fast.frame, slow.frame)
    assert fast.kept.tolist() == slow.kept.tolist() == [0, 1, 2]
    assert fast.problems == slow.problems == {}
    fast.frame.iloc[0, 0] = 9.0
    assert block.loc[0, "a"] == 0.5  # a copy
    block.loc[2, "a"] = np.inf
    if infinite == "quarantine":
        assert [*check_rows(block, schema).problems] == [2]
    else:
        with pytest.raises(DataError, match="expected a finite number"):
            check_rows(block, schema, infinite="raise")
