"""Bad input, end to end: what stops with the mend, and what is kept aside while the rest goes on."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import aet
from aet.errors import AetError, DataError, RunError, SchemaError
from aet.schema import SchemaWarning

from .made import mixed, quick, shapes, signs

CONFIG = quick(1)


@pytest.fixture(scope="module")
def model():
    return aet.train(signs(80), target="y", config=CONFIG)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A frame of image files."""
    folder, frame = tmp_path_factory.mktemp("pictures"), shapes(40)
    paths = []
    for row, cell in enumerate(frame["picture"]):
        paths.append(str(folder / f"{row}.png"))
        Image.fromarray((cell * 255).clip(0, 255).astype(np.uint8)).save(paths[-1])
    return frame.assign(picture=paths)


def test_a_missing_target_column_names_the_nearest():
    with pytest.raises(SchemaError, match=r"target: there is no column 'yy'. Did you mean 'y'\?"):
        aet.train(signs(40), target="yy", config=CONFIG)
    with pytest.raises(SchemaError, match=r"No target was named: say target="):
        aet.train(signs(40), config=CONFIG)


def test_missing_targets_are_kept_aside_with_their_rows():
    frame = signs(80)
    frame.loc[[3, 10], "y"] = None
    trained = aet.train(frame, target="y", config=CONFIG)
    assert trained.report["quarantined"] == 2
    assert 60 <= trained.report["rows"] <= 64  # four fifths of the other 78
    problems = trained.check(frame, need_target=True).problems
    assert problems == {
        3: "row 4, column 'y': expected a class as the target, got a missing value",
        10: "row 11, column 'y': expected a class as the target, got a missing value",
    }


def test_a_target_without_any_value_says_so():
    with pytest.raises(DataError, match=r"The target 'y' has no value: expected at least two"):
        aet.train(signs(40).assign(y=None), target="y", config=CONFIG)


@pytest.mark.parametrize("value", ["plus", 1, 0.1, True])
def test_a_target_with_one_class_says_so(value):
    with pytest.raises(DataError, match=r"The target 'y' has only .*: expected at least two"):
        aet.train(signs(40).assign(y=value), target="y", config=CONFIG)


def test_one_class_after_the_others_were_kept_aside_says_so():
    frame = signs(40).assign(y="plus")
    frame.loc[[0, 1], "y"] = "minus"
    frame.loc[[0, 1], "a"] = np.inf
    with pytest.raises(DataError, match=r"The target 'y' has one class, \['plus'\]: expected at least two"):
        aet.train(frame, target="y", config=CONFIG)


def test_a_column_without_values_is_left_out_and_later_ignored():
    with pytest.warns(SchemaWarning, match="'gone' is left out"):
        trained = aet.train(signs(60).assign(gone=None), target="y", config=CONFIG)
    assert len(trained.predict(signs(5))) == 5


def test_a_column_may_lose_all_its_values_in_service(model):
    answers = model.predict(signs(5).assign(a=np.nan))
    assert answers["prediction"].notna().all()
    for column in ("number", "category", "text"):
        trained = aet.train(mixed(80), target="y", kinds={"text": "text"}, config=CONFIG)
        assert trained.predict(mixed(5).assign(**{column: None}))["prediction"].notna().all()


def test_infinite_values_are_kept_aside_and_the_rest_is_learned_and_answered():
    frame = signs(80)
    frame.loc[[5, 6], "a"] = [np.inf, -np.inf]
    trained = aet.train(frame, target="y", config=CONFIG)
    assert trained.report["quarantined"] == 2
    answers = trained.predict(frame)
    assert answers["problem"].notna().sum() == 2
    assert "row 6, column 'a': expected a finite number" in answers["problem"][5]
    assert answers["prediction"].isna().sum() == 2


def test_a_word_among_ten_thousand_numbers_is_kept_aside_by_row_and_column(tmp_path):
    frame = signs(10_050)
    frame["a"] = frame["a"].astype(object)
    frame.loc[10_000, "a"] = "broken"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    trained = aet.train(tmp_path / "rows.csv", target="y", config=quick(1, batch_size=2048))
    assert {spec.name: spec.kind for spec in trained.schema.inputs} == {"a": "number", "b": "number"}
    assert trained.report["quarantined"] == 1
    answers = trained.predict(tmp_path / "rows.csv")
    assert answers["problem"].notna().sum() == 1
    assert answers["problem"][10_000] == "row 10001, column 'a': expected a number, got 'broken'"
    assert answers["prediction"].isna().sum() == 1
    assert answers["id"].tolist() == list(range(10_050))


def test_a_column_that_is_missing_or_renamed_in_service_is_named(model):
    with pytest.raises(SchemaError, match=r"Missing columns: 'b'. New columns: none"):
        model.predict(signs(5)[["a"]])
    with pytest.raises(SchemaError, match=r"Missing columns: 'a' \('A' is new: renamed\?\)"):
        model.predict(signs(5).rename(columns={"a": "A"}))
    assert len(model.predict(signs(5).assign(more=1)[["more", "b", "a"]])) == 5


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "json", "npy", "csv.gz"])
def test_an_empty_file_is_named(tmp_path, model, suffix):
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(b"")
    for use in (lambda: aet.train(path, target="y", config=CONFIG), lambda: model.predict(path)):
        with pytest.raises(DataError, match=rf"rows\.{suffix} is empty \(0 bytes\): expected a table"):
            use()


def test_a_file_with_names_only_has_no_rows(tmp_path, model):
    (tmp_path / "rows.csv").write_text("a,b,y\n")
    for use in (aet.train, lambda path, **_: model.predict(path)):
        with pytest.raises(DataError, match=r"rows\.csv has no rows: expected at least one"):
            use(tmp_path / "rows.csv", target="y")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_parquet_file_that_is_cut_off_is_named(tmp_path, model, share):
    path = tmp_path / "rows.parquet"
    signs(400).to_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    for use in (lambda: aet.train(path, target="y", config=CONFIG), lambda: model.predict(path)):
        with pytest.raises(DataError, match=r"rows\.parquet: expected a whole Parquet file .* Copy or export it again"):
            use()


def test_a_broken_image_is_kept_aside_in_training_and_in_service(pictures, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(pictures["picture"][0]).read_bytes()[:60])
    frame = pictures.copy()
    frame.loc[7, "picture"] = str(broken)
    frame.loc[9, "picture"] = str(tmp_path / "nowhere.png")
    trained = aet.train(frame, target="y", config=CONFIG)
    assert trained.report["quarantined"] == 2
    answers = trained.predict(frame)
    assert answers["problem"].notna().sum() == 2
    assert "row 8, column 'picture': expected an image" in answers["problem"][7]
    assert "broken.png" in answers["problem"][7]
    assert "where there is no file" in answers["problem"][9]


def test_images_of_another_size_and_depth_are_answered(pictures):
    trained = aet.train(pictures, target="y", config=CONFIG)
    cells = np.empty(3, dtype=object)
    cells[:] = [np.zeros((30, 9, 3)), np.zeros((8, 8), dtype=np.uint16), np.zeros((1, 1), dtype=bool)]
    assert trained.predict(pd.DataFrame({"picture": cells}))["prediction"].notna().all()


def test_an_id_given_twice_is_kept_aside_the_second_time():
    frame = signs(60).assign(key=[f"k{i}" for i in range(60)])
    frame.loc[12, "key"] = "k3"
    frame.loc[13, "key"] = None
    trained = aet.train(frame, target="y", id="key", config=CONFIG)
    assert trained.report["quarantined"] == 2
    answers = trained.predict(frame)
    assert answers["problem"][12] == "row 13, column 'key': expected a new id, got 'k3' of row 4 again"
    assert "expected an id, got a missing value" in answers["problem"][13]
    assert answers["id"][3] == "k3"
    assert answers["prediction"].isna().sum() == 2


@pytest.mark.parametrize("name", ["config.yaml", "schema.json", "model.safetensors", "statistics.safetensors"])
def test_a_damaged_run_folder_is_named_with_the_mend(model, tmp_path, name):
    model.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    with pytest.raises(RunError, match=r"Copy the folder again as a whole, or train again"):
        aet.load(tmp_path)


def test_no_row_that_can_be_used_stops_training_and_not_service(model):
    bad = signs(20).assign(a=np.inf)
    with pytest.raises(DataError, match=r"Column 'a' is bad in 20 of 20 rows"):
        aet.train(bad, target="y", config=CONFIG)
    answers = model.predict(bad)
    assert answers["prediction"].isna().all()
    assert answers["problem"].notna().all()


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_too_few_rows_say_how_many_are_needed(rows):
    frame = signs(40).groupby("y").head(2).head(rows)
    with pytest.raises(DataError):
        aet.train(frame, target="y", config=CONFIG)


def test_four_rows_are_enough():
    frame = signs(40).groupby("y").head(2)
    assert len(aet.train(frame, target="y", config=CONFIG).predict(frame)) == 4


def test_weights_that_are_none_are_kept_aside():
    frame = signs(60).assign(w=1.0)
    frame.loc[[1, 2, 3], "w"] = [-1.0, np.nan, np.inf]
    assert aet.train(frame, target="y", weight="w", config=CONFIG).report["quarantined"] == 3


def test_numbers_far_outside_the_training_range_are_answered(model):
    answers = model.predict(signs(4).assign(a=[3e38, -3e38, 1e-300, 0.0]))
    assert answers["problem"].isna().all()
    assert np.isfinite(answers["confidence"].astype(float)).all()


def test_strange_column_names_and_cells_go_all_the_way(tmp_path):
    names = {"a": "spa ce.d/ot[0]", "b": "漢字 🦊", "y": "'quoted\"\n"}
    frame = signs(60).replace({"plus": "jå\n", "minus": "nej;"}).rename(columns=names)
    trained = aet.train(frame, target=names["y"], config=CONFIG, out=tmp_path)
    again = aet.load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(frame), trained.predict(frame))
    assert set(again.output.classes) == {"jå\n", "nej;"}


@pytest.mark.parametrize(
    "content",
    [
        "a,b,y\n1,2,plus\n3,4\n",
        'a,b,y\n1,"2,plus\n3,4,minus\n',
        "a,a,y\n1,2,plus\n",
        "\n\n\n",
        "\x00\x00\x00",
    ],
)
def test_tables_that_are_none_are_told_in_a_sentence(tmp_path, content):
    (tmp_path / "rows.csv").write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(AetError) as caught:
            aet.train(tmp_path / "rows.csv", target="y", config=CONFIG)
    assert len(str(caught.value)) > 40


def test_json_lines_that_break_off_are_named_by_their_line(tmp_path, model):
    lines = [json.dumps({"a": 1.0, "b": 2.0}) for _ in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + '\n{"a": 1.0, "b')
    with pytest.raises(DataError, match=r"rows\.jsonl, line 6: expected one JSON object"):
        model.predict(tmp_path / "rows.jsonl")
