import datetime
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aet.errors import DataError, SchemaError
from aet.rows import check_rows
from aet.schema import InputSpec, Schema, SchemaWarning, infer

N = 60


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    columns = {f"c{i}": rng.normal(size=N) for i in range(6)}
    words = np.array(["the", "dog", "ran", "home", "over", "green", "hills", "while", "rain", "fell"])
    return pd.DataFrame(
        {
            **columns,
            "city": rng.choice(["Oslo", "Rome", "Lima"], N),
            "said": [" ".join(rng.choice(words, 6)) for _ in range(N)],
            "y": rng.choice(["no", "yes"], N),
        }
    )


def kinds(schema):
    return {spec.name: spec.kind for spec in schema.inputs}


def kind(cells, **settings):
    """The kind of one column beside a plain number column."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SchemaWarning)
        frame = pd.DataFrame({"x": cells, "n": range(len(cells))})
        frame["y"] = ["a", "b"] * (len(cells) // 2) + ["a"] * (len(cells) % 2)
        return kinds(infer(frame, "y", **settings)).get("x")


def test_kinds_of_plain_columns(frame):
    schema = infer(frame, "y")
    assert kinds(schema) == {**{f"c{i}": "number" for i in range(6)}, "city": "category", "said": "text"}
    assert (schema.targets, schema.target, schema.output, schema.ignored) == (("y",), "y", "label", ())
    assert schema.input_columns == tuple(frame.columns[:-1])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([True, False] * 5, "category"),
        (pd.array([True, None] * 5, dtype="boolean"), "category"),
        (np.array([True, None] * 5, dtype=object), "category"),
        (["True", "FALSE"] * 5, "category"),
        (pd.Categorical([1, 2] * 5), "category"),
        ([0, 1] * 5, "number"),
        (pd.array([1, None] * 5, dtype="Int64"), "number"),
        ([1.5] * 10, "number"),
        (["1.5", "2"] * 5, "number"),
        (["1.5"] * 95 + ["abc"] * 5, "number"),
        (["1.5"] * 80 + ["abc"] * 20, "category"),
        (np.array([1, "2", None, 4.5, "NA"] * 4, dtype=object), "number"),
        (pd.to_datetime(["2020-01-01", None] * 5), "number"),
        (pd.to_timedelta(["1h", "2h"] * 5), "number"),
        ([datetime.date(2020, 1, day) for day in range(1, 11)], "number"),
        (["red", "green", None] * 4, "category"),
        ([f"a{i}" for i in range(10)], "category"),
        ([f"a{i}" for i in range(30)], None),
        ([f"a{i // 2}" for i in range(60)], "category"),
        ([f"we saw {i} ships" for i in range(10)], "text"),
        (["we saw some ships", "we saw no ship"] * 10, "category"),
        ([f"we saw {i % 250} ships" for i in range(2000)], "text"),
        ([np.zeros((4, 4))] * 10, "image"),
        ([np.zeros((4, 4, 3)), None] * 5, "image"),
        ([Image.new("L", (3, 3))] * 10, "image"),
        ([[1, 2]] * 10, "series"),
        ([b"ab"] * 10, None),
        ([None] * 10, None),
        ([""] * 10, None),
        ([float("nan")] * 10, None),
    ],
)
def test_rules_of_kinds(cells, expected):
    assert kind(cells) == expected


def test_image_files_must_be_there(tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "0.PNG")
    paths = [str(tmp_path / f"{i}.PNG") for i in range(30)]
    assert kind(paths) == "image"
    assert kind([tmp_path / "0.PNG"] * 4) == "image"
    with pytest.warns(SchemaWarning, match="'x' is left out: its cells look like image files, but .*9.PNG.* not there"):
        infer(pd.DataFrame({"x": paths[9:], "n": range(21), "y": [0, 1, 1] * 7}), "y")


def test_what_is_left_out_is_told_and_listed(frame):
    frame["nothing"] = np.nan
    frame["uid"] = [f"u{i}" for i in range(N)]
    frame["same"] = 3.0
    with pytest.warns(SchemaWarning) as told:
        schema = infer(frame, "y")
    texts = [str(warning.message) for warning in told]
    assert any("'nothing' is left out" in t and "no value in any row" in t for t in texts)
    assert any("'uid' is left out" in t and "looks like an id" in t and "kinds={'uid': ...}" in t for t in texts)
    assert schema.ignored == ("nothing", "uid")
    assert "same" in kinds(schema)
    assert "ignored  uid" in schema.describe()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = infer(frame, "y", id="uid", ignore="c0", kinds={"nothing": "ignore", "c1": "category", "city": "text"})
    assert (told.id, told.ignored) == ("uid", ("c0", "nothing"))
    assert (kinds(told)["c1"], kinds(told)["city"]) == ("category", "text")


def test_groups_by_list_and_by_span(frame):
    frame["flag"] = frame["c0"] > 0
    schema = infer(frame, "y", groups={"s00": "c1:c3", "s01": ["c5", "flag"], "s02": "c4"})
    assert [spec.name for spec in schema.inputs] == ["c0", "s00", "s02", "s01", "city", "said"]
    assert schema.inputs[1] == InputSpec("s00", "number", ("c1", "c2", "c3"))
    assert schema.inputs[3].columns == ("c5", "flag")
    assert infer(frame, "y", groups={"s": ["c0", "c2:c3"]}).inputs[0].columns == ("c0", "c2", "c3")
    odd = frame.rename(columns={"c0": "a:b", "c1": "d:e"})
    assert infer(odd, "y", groups={"s": "a:b:d:e", "t": ["c2"]}).inputs[0].columns == ("a:b", "d:e")


def test_a_group_column_without_values_is_kept_and_told(frame):
    frame["c1"] = np.nan
    with pytest.warns(SchemaWarning, match="'s': column 'c1' has no value"):
        assert infer(frame, "y", groups={"s": ["c0", "c1"]}).inputs[0].columns == ("c0", "c1")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "yy"}, "target: there is no column 'yy'. Did you mean 'y'"),
        ({"target": None}, "No target was named"),
        ({"target": []}, "No target was named"),
        ({"id": "citi"}, "id: there is no column 'citi'. Did you mean 'city'"),
        ({"time": "t"}, "time: there is no column 't'"),
        ({"weight": "w"}, "weight: there is no column 'w'"),
        ({"ignore": ["c9"]}, "ignore: there is no column 'c9'"),
        ({"kinds": {"cty": "text"}}, "kinds: there is no column 'cty'. Did you mean 'city'"),
        ({"kinds": {"city": "txt"}}, "no kind 'txt'. Did you mean 'text'"),
        ({"groups": {"s": ["c1", "c77"]}}, "groups: 's': there is no column 'c77'"),
        ({"groups": {"s": "c1:c77"}}, "there is no column 'c77'"),
        ({"groups": {"s": "c3:c1"}}, "runs backwards"),
        ({"groups": {"s": []}}, "has no column"),
        ({"groups": {"s": ["city", "c1"]}}, "'s': column 'city': expected numbers, got"),
        ({"groups": {"s": ["c1"], "t": ["c1"]}}, "'c1' is used twice"),
        ({"groups": {"s": ["c1", "c1"]}}, "'c1' is used twice"),
        ({"groups": {"city": ["c1"]}}, "'city' is a column too"),
        ({"groups": {"s": ["c1"]}, "kinds": {"c1": "text"}}, "'c1' is used twice"),
        ({"id": "y"}, "'y' is used twice"),
        ({"id": "city", "group": "city"}, "'city' is used twice"),
        ({"output": "labels"}, "The output 'labels' is unknown. Did you mean 'label'"),
        ({"output": "multilabel"}, "1 targets: expected two or more"),
        ({"ignore": [*["c0", "c1", "c2", "c3", "c4", "c5", "city", "said"]]}, "No input is left"),
    ],
)
def test_names_that_do_not_fit(frame, settings, words):
    with pytest.raises(SchemaError) as caught:
        infer(frame, **{"target": "y", **settings})
    assert words in str(caught.value)


def test_a_name_twice_in_the_frame(frame):
    with pytest.raises(SchemaError, match="column name 'c0' is used twice"):
        infer(frame.rename(columns={"c1": "c0"}), "y")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a", "b", None] * 10, "label"),
        ([True, False] * 10, "label"),
        (list(range(3)) * 10, "label"),
        ([1.0, 2.0, np.nan] * 10, "label"),
        ([0, 1], "label"),
        ([f"k{i % 150}" for i in range(600)], "label"),
        (pd.Categorical(list(range(30)) * 2), "label"),
        (["1", "2"] * 10, "label"),
        ([0.5, 1.5] * 10, "number"),
        (list(range(21)) * 10, "number"),
        (list(range(10)), "number"),
        (np.linspace(0, 1, 50), "number"),
        (["0.5", "1.5", "2.5"] * 10, "number"),
    ],
)
def test_rules_of_outputs(cells, expected):
    frame = pd.DataFrame({"x": np.arange(len(cells)), "y": cells})
    assert infer(frame, "y").output == expected


def test_output_can_be_told_and_several_targets():
    frame = pd.DataFrame({"x": range(40), "y": list(range(40)), "a": [0, 1] * 20, "b": [True, None] * 20})
    assert infer(frame, "y", output="label").output == "label"
    schema = infer(frame, ["a", "b"])
    assert (schema.output, schema.targets, schema.input_columns) == ("multilabel", ("a", "b"), ("x", "y"))
    assert infer(frame, ["a"]).output == "label"
    with pytest.raises(DataError, match=r"expected 0 and 1 in 'y', got .*2.*Write 0 and 1"):
        infer(frame, ["a", "y"])


def test_targets_that_leave_nothing_to_learn(frame):
    for cells in ("spam", 1, 2.5):
        with pytest.raises(DataError, match=r"'y' has only .*expected at least two, one class.*name another target"):
            infer(frame.assign(y=cells), "y")
    for cells in (None, np.nan):
        with pytest.raises(DataError, match="'y' has no value"):
            infer(frame.assign(y=cells), "y")
    with pytest.raises(DataError, match="expected at least two"):
        infer(frame.assign(a=0, b=0.0), ["a", "b"])
    with pytest.raises(DataError, match=r"300 distinct texts in 300 rows.*output='label'"):
        infer(pd.DataFrame({"x": range(300), "y": [f"u{i}" for i in range(300)]}), "y")


def test_schema_survives_json(frame):
    schema = infer(frame, "y", groups={"s": "c0:c2"}, id="said", ignore=["c5"])
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


@pytest.mark.parametrize("wrong", [{}, {"inputs": 3}, {"inputs": [{}]}, {"inputs": [], "targets": [], "odd": 1}])
def test_from_dict_of_something_else(wrong):
    with pytest.raises(SchemaError, match=r"Schema.to_dict\(\)"):
        Schema.from_dict(wrong)


def test_declared_schemas_are_checked():
    spec = InputSpec("a", "number", ("a",))
    with pytest.raises(SchemaError, match=r"no kind 'numbr'\. Did you mean 'number'"):
        InputSpec("a", "numbr", ("a",))
    with pytest.raises(SchemaError, match="'text' has 2 columns: expected one"):
        InputSpec("a", "text", ("a", "b"))
    with pytest.raises(SchemaError, match="'y' is used twice"):
        Schema((spec, InputSpec("y", "number", ("y",))), ("y",), "label")
    with pytest.raises(SchemaError, match="input name 'a' is used twice"):
        Schema((spec, InputSpec("a", "number", ("b",))), ("y",), "label")


def test_check_lists_missing_and_new(frame):
    schema = infer(frame, "y", id="said", weight="c5", time="c4")
    schema.check(frame.drop(columns=["y", "c5", "c4"]).assign(more=1), need_target=False)
    schema.check(frame.drop(columns="c4"), need_target=True)
    with pytest.raises(SchemaError) as caught:
        schema.check(frame.rename(columns={"city": "City_"}).drop(columns="c1").assign(more=1), need_target=False)
    text = str(caught.value)
    assert "'city' ('City_' is new: renamed?)" in text
    assert "'c1'," in text.split("New columns")[0] + ","
    assert "New columns: 'City_', 'more'" in text
    for name in ("y", "c5", "said"):
        with pytest.raises(SchemaError, match=f"Missing columns: '{name}'"):
            schema.check(frame.drop(columns=name), need_target=True)


def test_describe_reads_as_a_table(frame):
    lines = infer(frame, "y", groups={"s00": "c0:c3"}, id="said").describe().splitlines()
    assert lines[1].split() == ["input", "s00", "number", "4:", "c0", "...", "c3"]
    assert lines[-2].split() == ["target", "y", "label", "y"]
    assert lines[-1].split() == ["id", "said", "said"]
    assert len({line.index(word) for line, word in zip(lines[:2], ("kind", "number"), strict=True)}) == 1


# Targets and roles of a schema, in rows


def of(output="label", targets=("y",), roles=None, **kinds):
    inputs = tuple(InputSpec(name, kind, (name,)) for name, kind in kinds.items())
    return Schema(inputs, targets, output, **(roles or {}))


def test_missing_labels_count_only_when_needed():
    frame = pd.DataFrame({"x": range(6), "y": ["a", None, "b", " ", "a", "b"]})
    found = check_rows(frame, of(x="number"), need_target=True)
    assert found.kept.tolist() == [0, 2, 4, 5]
    assert found.problems[1] == "row 2, column 'y': expected a class as the target, got a missing value"
    assert found.frame["y"].tolist() == ["a", "b", "a", "b"]
    assert check_rows(frame, of(x="number")).problems == {}
    assert list(check_rows(frame[["x"]], of(x="number")).frame) == ["x"]
    with pytest.raises(SchemaError, match="Missing columns: 'y'"):
        check_rows(frame[["x"]], of(x="number"), need_target=True)


def test_labels_that_a_missing_one_made_floats_are_whole_again():
    frame = pd.DataFrame({"x": range(4), "y": [3.0, np.nan, 1.0, 3.0]})
    found = check_rows(frame, of(x="number"), need_target=True).frame["y"]
    assert found.tolist() == [3, 1, 3]
    assert found.dtype == np.int64
    assert check_rows(frame, of("number", x="number"), need_target=True).frame["y"].dtype == np.float64


def test_number_and_several_targets():
    frame = pd.DataFrame({"x": range(8), "y": [*"1234", "low", "inf", "", "5"], "z": [0, 1, 2, None, 1, 0, 1, True]})
    found = check_rows(frame, of("number", x="number"), need_target=True)
    assert found.frame["y"].tolist() == [1, 2, 3, 4, 5]
    assert [found.problems[row].split("expected ")[1] for row in (4, 6)] == [
        "a number, got 'low'",
        "a number as the target, got a missing value",
    ]
    frame["y"] = [0, 1] * 4
    both = check_rows(frame, of("multilabel", ("y", "z"), x="number"), need_target=True)
    assert both.frame["z"].tolist() == [0, 1, 1, 0, 1, 1]
    assert both.problems[2] == "row 3, column 'z': expected 0 or 1, got 2.0"
    loose = check_rows(frame.assign(y="?"), of("number", x="number"))
    assert loose.problems == {}
    assert loose.frame["y"].isna().all()


def test_duplicate_and_missing_ids():
    frame = pd.DataFrame({"x": range(6), "uid": [7, 8, 7, None, 9, 7]})
    found = check_rows(frame, of(x="number", roles={"id": "uid"}))
    assert found.frame["uid"].tolist() == [7, 8, 9]
    assert found.frame["uid"].dtype == np.int64
    assert found.problems[2] == "row 3, column 'uid': expected a new id, got 7.0 of row 1 again"
    assert "of row 1 again" in found.problems[5]
    assert "expected an id, got a missing value" in found.problems[3]
    texts = check_rows(frame.assign(uid=list("abcabd")), of(x="number", roles={"id": "uid"}))
    assert texts.kept.tolist() == [0, 1, 2, 5]


def test_weights():
    frame = pd.DataFrame({"x": range(8), "y": [*"abababab"], "w": [1, 0, -1, None, np.inf, 2, "0.5", "much"]})
    found = check_rows(frame, of(x="number", roles={"weight": "w"}), need_target=True)
    assert found.frame["w"].tolist() == [1, 0, 2, 0.5]
    assert "expected a weight of 0 or more, got -1.0" in found.problems[2]
    assert "expected a weight, got a missing value" in found.problems[3]
    assert list(found.problems) == [2, 3, 4, 7]
    with pytest.raises(SchemaError, match="Missing columns: 'w'"):
        check_rows(frame[["x", "y"]], of(x="number", roles={"weight": "w"}), need_target=True)


@pytest.mark.parametrize(
    ("roles", "column", "cells", "mend"),
    [
        ({"weight": "w"}, "w", ["many", "few", "much", 1], r"A weight is a finite number of 0 or more in every row: 2"),
        (
            {"weight": "w"},
            "w",
            [-1, -2, -1, 1],
            r"got -1\.0\. A weight is .* name another column as the weight, or none",
        ),
        ({"id": "w"}, "w", [1, 1, 1, 1], r"got 1 of row 1 again\. An id is another value in each row\. Name another"),
        ({}, "y", [None, None, "a", None], r"Name another column as the target, say what it holds"),
    ],
)
def test_a_bad_column_that_is_no_input_is_not_mended_by_a_kind(roles, column, cells, mend):
    frame = pd.DataFrame({"x": range(4), "y": [*"abab"]}).assign(**{column: cells})
    with pytest.raises(DataError, match=rf"Column '{column}' is bad in 3 of 4 rows; row .*{mend}") as caught:
        check_rows(frame, of(x="number", roles=roles), need_target=True)
    assert "kinds" not in str(caught.value)


def test_an_infinite_weight_is_raised_with_its_own_mend():
    frame = pd.DataFrame({"x": range(4), "y": [*"abab"], "w": [1, np.inf, 1, 1]})
    with pytest.raises(
        DataError, match=r"got inf \(such values in 1 rows\)\. A weight is a finite number of 0 or more"
    ):
        check_rows(frame, of(x="number", roles={"weight": "w"}), need_target=True, infinite="raise")


@pytest.mark.parametrize("frame", [pd.DataFrame({"y": [*"abab"]}), pd.DataFrame({"x": range(4), "y": "a"})])
def test_sentences_are_spaced_once(frame):
    with pytest.raises((DataError, SchemaError)) as caught:
        infer(frame, "y")
    assert "  " not in str(caught.value)


def test_time_and_group_pass():
    frame = pd.DataFrame({"x": range(2), "t": ["2020", "2021"], "g": ["a", "b"], "more": 0})
    found = check_rows(frame, of(x="number", roles={"time": "t", "group": "g"}))
    assert list(found.frame) == ["x", "t", "g"]
    assert found.frame["t"].tolist() == ["2020", "2021"]


def test_a_column_of_another_kind_is_refused_in_training():
    frame = pd.DataFrame({"x": ["1", "a", "b", "c", "2"], "y": list("ababa")})
    with pytest.raises(DataError, match=r"'x' is bad in 3 of 5 rows; row 2, .*got 'a'.*kinds=\{'x': ...\}.*mend"):
        check_rows(frame, of(x="number"), need_target=True)
    assert len(check_rows(frame, of(x="number")).problems) == 3
    frame["x"] = ["1", "a", "2", "3", "b"]
    assert len(check_rows(frame, of(x="number"), need_target=True).problems) == 2


def test_no_row_left_is_refused_in_training():
    frame = pd.DataFrame({"a": ["x", "1"], "b": ["1", "x"], "y": ["p", "q"]})
    with pytest.raises(DataError, match=r"No row of 2 can be used\. Mend row 1, column 'a'.*row 2, column 'b'"):
        check_rows(frame, of(a="number", b="number"), need_target=True)
    nothing = check_rows(frame, of(a="number", b="number"))
    assert (len(nothing.frame), nothing.kept.tolist(), list(nothing.problems)) == (0, [], [0, 1])
