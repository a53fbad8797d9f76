"""Gas sensor batches: two ways of writing them, three places to find them, and what is said when they are not there."""

from __future__ import annotations

import gzip
import zipfile
from urllib.error import URLError

import numpy as np
import pytest

from aet.demo import DEMOS, gas_files
from aet.errors import DataError


def measurements(count, seed):
    drawn = np.random.default_rng(seed)
    return drawn.integers(0, 6, count), drawn.normal(scale=100, size=(count, 128)).round(6)


def as_csv(gases, values):
    return "\r\n".join(
        ",".join([gas_files.GASES[gas], "10.000000", *(f"{v:.6f}" for v in row)])
        for gas, row in zip(gases, values, strict=True)
    ).encode()


def as_uci(gases, values, concentration):
    lines = []
    for gas, row in zip(gases, values, strict=True):
        head = f"{gas + 1};10.000000" if concentration else f"{gas + 1}"
        lines.append(" ".join([head, *(f"{place}:{v:.6f}" for place, v in enumerate(row, 1))]) + " ")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """UCI's archive with three small batches; nothing of the data on this machine is found."""
    path = tmp_path / "uci.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in (10, 1, 2):
            archive.writestr(f"Dataset/batch{number}.dat", as_uci(*measurements(5, number), concentration=number == 1))
        archive.writestr("Dataset/README.txt", "1 1:2")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(gas_files, "folders", lambda: iter([tmp_path / "nothing"]))
    monkeypatch.setattr(gas_files, "URL", path.as_uri())
    first = gas_files.parse(as_csv(*measurements(5, 1)), 1)
    monkeypatch.setattr(gas_files, "CONTENT", gas_files.content(first))
    return path


def test_all_ways_of_writing_are_the_same_rows():
    gases, values = measurements(20, 0)
    values[0, 0] = -0.0
    read = [
        gas_files.parse(raw, 1)
        for raw in (as_csv(gases, values), as_uci(gases, values, True), as_uci(gases, values, False))
    ]
    assert read[0].equals(read[1])
    assert read[1].equals(read[2])
    assert read[0]["s15_f7"].tolist() == values[:, 127].tolist()
    assert len({gas_files.content(rows) for rows in (*read, read[0].iloc[::-1])}) == 1
    changed = read[0].copy()
    changed.loc[3, "s07_f2"] += 0.001
    assert gas_files.content(changed) != gas_files.content(read[0])


@pytest.mark.parametrize(
    "line", ["Ethanol,10,1,2,3", "Perfume,10" + ",1" * 128, "7 1:1", "1;10 " + "1:5 " * 128, "1;10 1:x", "nothing"]
)
def test_broken_lines_are_named(line):
    raw = as_csv(*measurements(2, 0)) + b"\n\n" + line.encode()
    with pytest.raises(DataError, match=r"Batch 4 of the gas sensors, line 4.*AET_DATA"):
        gas_files.parse(raw, 4)


def test_batches_are_fetched_once(archive, tmp_path, capsys):
    read = gas_files.read_batches()
    assert list(read) == [1, 2, 10]
    assert "Fetching" in capsys.readouterr().err
    archive.unlink()
    assert gas_files.read_batches()[10].equals(read[10])
    assert "Fetching" not in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cache" / "aet").iterdir()] == ["gas_sensor_drift.zip"]


def test_a_folder_goes_before_the_network(archive, tmp_path, monkeypatch):
    folder = tmp_path / "own" / "gas_sensor_drift"
    folder.mkdir(parents=True)
    (folder / "batch1.dat.gz").write_bytes(gzip.compress(as_csv(*measurements(5, 1))))
    (folder / "batch3.dat").write_bytes(as_uci(*measurements(5, 3), True))
    monkeypatch.undo()
    monkeypatch.setenv("AET_DATA", str(tmp_path / "own"))
    first = gas_files.parse(as_csv(*measurements(5, 1)), 1)
    monkeypatch.setattr(gas_files, "CONTENT", gas_files.content(first))
    assert list(gas_files.read_batches()) == [1, 3]
    (folder / "batch3.dat").unlink()
    with pytest.raises(DataError, match=r"batches \[1\] are there"):
        gas_files.read_batches()
    (folder / "batch1.dat.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(DataError, match="expected a whole gzip file"):
        gas_files.read_batches()


def test_without_network_the_error_says_what_to_do(archive, tmp_path, monkeypatch):
    def refuse(url, timeout):
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError) as raised:
        gas_files.read_batches()
    for words in ("no route to host", "By hand: download", str(tmp_path / "cache" / "aet" / "gas_sensor_drift.zip")):
        assert words in str(raised.value)
    assert list((tmp_path / "cache" / "aet").iterdir()) == []


def test_other_data_are_not_kept(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(gas_files, "CONTENT", "another")
    with pytest.raises(DataError, match="other data"):
        gas_files.read_batches()
    archive.write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match="expected a zip file"):
        gas_files.read_batches()
    assert list((tmp_path / "cache" / "aet").iterdir()) == []


def test_the_real_batches(real_data):
    real_data("gas_sensor_drift")
    demo = DEMOS["gas"](0)
    assert (demo.rows.shape, demo.target) == ((445, 129), "gas")
    assert [name for name, _ in demo.parts][:3] == ["batch 2", "batch 3", "batch 4"]
    assert sum(len(columns) for columns in demo.training["groups"].values()) == 128
