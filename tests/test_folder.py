"""A folder of Parquet files in, a folder of answers out: once each, whatever came between."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.errors import ConfigError, DataError
from aet.folder import predict_folder

from .made import quick, signs

DAYS = {"monday": 40, "tuesday": 30, "deep/wednesday": 20}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return aet.train(signs(), target="y", config=quick(2)).save(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def data(tmp_path):
    for seed, (name, rows) in enumerate(DAYS.items()):
        path = tmp_path / "rows" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        signs(rows, seed).to_parquet(path)
    return tmp_path / "rows"


def test_every_row_of_every_file_is_answered_as_alone(run, data, tmp_path):
    report = aet.predict_folder(run, data, tmp_path / "answers", proba=True)
    assert (report.files, report.rows, report.left_out, report.failed) == (3, 90, 0, {})
    model = aet.load(run)
    for name in DAYS:
        given = pd.read_parquet(tmp_path / "answers" / f"{name}.parquet")
        alone = model.predict(data / f"{name}.parquet", proba=True)
        assert given.pop("problem").isna().all()
        pd.testing.assert_frame_equal(given, alone.drop(columns="problem"), check_dtype=False)
    assert not list((tmp_path / "answers").rglob("*.partial"))


def test_what_is_answered_is_not_answered_again(run, data, tmp_path, monkeypatch):
    out, told = tmp_path / "answers", []

    def interrupted(one):
        told.append(one.name)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_folder(run, data, out, seen=interrupted)
    assert len(list(out.rglob("*.parquet"))) == 2
    report = predict_folder(run, data, out)
    assert (report.files, report.skipped) == (3, 2)
    assert predict_folder(run, data, out).skipped == 3
    signs(7, 9).to_parquet(data / "monday.parquet")
    (out / "tuesday.parquet").write_bytes(b"damaged")
    report = predict_folder(run, data, out)
    assert (report.skipped, report.rows) == (1, 7 + 30)
    assert predict_folder(run, data, out, proba=True).skipped == 0, "other columns are asked for"
    other = aet.train(signs(seed=3), target="y", config=quick(2)).save(tmp_path / "other")
    assert predict_folder(other, data, out, proba=True).skipped == 0, "another model"
    about = json.loads(pq.read_schema(out / "monday.parquet").metadata[b"aet"])
    assert about["size"] == (data / "monday.parquet").stat().st_size


def test_memory_holds_pieces_not_files(run, data, tmp_path, monkeypatch):
    from aet.answering import Answering

    sizes, encode = [], Answering.check

    def counted(self, frame, *given, **named):
        sizes.append(len(frame))
        return encode(self, frame, *given, **named)

    monkeypatch.setattr(Answering, "check", counted)
    signs(20_000).to_parquet(data / "large.parquet", row_group_size=500)
    report = predict_folder(run, data, tmp_path / "answers")
    assert report.rows == 20_090
    assert max(sizes) <= 8192


def test_a_file_that_cannot_be_read_is_reported_and_the_others_go_on(run, data, tmp_path):
    (data / "broken.parquet").write_bytes(b"PAR1")
    signs(5).drop(columns="a").to_parquet(data / "short.parquet")
    report = predict_folder(run, data, tmp_path / "answers")
    assert set(report.failed) == {"broken.parquet", "short.parquet"}
    assert "'a'" in report.failed["short.parquet"]
    assert report.rows == 90
    assert not (tmp_path / "answers" / "short.parquet").exists()


def test_folders_that_cannot_be(run, data, tmp_path):
    for out in (data, data / "answers"):
        with pytest.raises(ConfigError, match="Name a folder beside it"):
            predict_folder(run, data, out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no Parquet file"):
        predict_folder(run, tmp_path / "empty", tmp_path / "answers")
    with pytest.raises(DataError, match="is no folder"):
        predict_folder(run, tmp_path / "none", tmp_path / "answers")


def test_over_the_command_line(run, data, tmp_path):
    out = tmp_path / "answers"
    called = CliRunner().invoke(app, ["predict", str(run), str(data), "--out", str(out), "--json"])
    assert called.exit_code == 0
    assert json.loads(called.stdout)["rows"] == 90
    lacks = CliRunner().invoke(app, ["predict", str(run), str(data), "--json"])
    assert lacks.exit_code == 2
    assert "--out DIR" in json.loads(lacks.stdout)["error"]["message"]
    (data / "broken.parquet").write_bytes(b"PAR1")
    called = CliRunner().invoke(app, ["predict", str(run), str(data), "--out", str(out), "--json"])
    assert called.exit_code == 2
    assert "1 of 4 files could not be answered" in json.loads(called.stdout)["error"]["message"]
