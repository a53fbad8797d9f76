import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from aet.errors import ConfigError, DataError, SchemaError
from aet.tables import DecimalWarning, HeaderWarning, iter_tables, read_table

DATA = Path(os.environ.get("AET_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "age": [41, 25, 33],
            "height": [1.5, np.nan, 2.25],
            "city": ["Oslo", "Rome, north", None],
            "said": ['a "word"', "two\nlines", "plain"],
            "member": [True, False, True],
        }
    )


def write(frame, path):
    name = path.name.removesuffix(".gz")
    if name.endswith((".parquet", ".pq")):
        frame.to_parquet(path)
    elif name.endswith((".jsonl", ".ndjson")):
        frame.to_json(path, orient="records", lines=True)
    elif name.endswith(".json"):
        frame.to_json(path, orient="records")
    else:
        frame.to_csv(path, index=False, sep={".dat": ";", ".data": "|", ".txt": "\t"}.get(Path(name).suffix, ","))
    return path


def same(found, expected):
    assert list(found.columns) == list(expected.columns)
    assert found.index.equals(pd.RangeIndex(len(expected)))
    for name in expected:
        left, right = found[name], expected[name].reset_index(drop=True)
        assert left.isna().tolist() == right.isna().tolist()
        assert left.dropna().tolist() == right.dropna().tolist()


def data_error(source, *words, **settings):
    with pytest.raises(DataError) as caught:
        read_table(source, **settings)
    for word in words:
        assert word in str(caught.value)
    return caught.value


FORMATS = [
    "csv",
    "csv.gz",
    "dat",
    "data.gz",
    "parquet",
    "pq",
    "jsonl",
    "jsonl.gz",
    "ndjson",
    "json",
    "json.gz",
]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_file_format_comes_back(frame, tmp_path, suffix):
    same(read_table(write(frame, tmp_path / f"rows.{suffix}")), frame)


@pytest.mark.parametrize("suffix", FORMATS)
def test_pieces_join_to_the_whole(frame, tmp_path, suffix):
    path = write(pd.concat([frame] * 5), tmp_path / f"rows.{suffix}")
    pieces = list(iter_tables(str(path), rows=4))
    assert [len(piece) for piece in pieces] == [4, 4, 4, 3]
    assert pieces[1]["age"].tolist() == [25, 33, 41, 25]
    assert all(piece.index.equals(pd.RangeIndex(len(piece))) for piece in pieces)


def test_types_of_delimited_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(
        "whole,number,flag,text,mixed,none, spaced ,big\n"
        "1,1,true,a,1,NA, 3.5 ,9007199254740993\n"
        "2,,FALSE, b ,x,, +4 ,1\n"
        "3,1e3,True,NA,2.5,null,-1.,2\n"
    )
    found = read_table(path)
    assert found["whole"].dtype == np.int64
    assert found["number"].dtype == np.float64
    assert found["number"].isna().tolist() == [False, True, False]
    assert found["flag"].tolist() == [True, False, True]
    assert found["text"].tolist()[:2] == ["a", "b"]
    assert pd.isna(found["text"][2])
    assert found["mixed"].tolist() == [
        "1",
        "x",
        "2.5",
    ]  # as written: `aet.rows` tells the numbers from the rest
    assert found["none"].isna().all()
    assert found["spaced"].tolist() == [3.5, 4.0, -1.0]
    assert found["big"][0] == 9007199254740993


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_found(tmp_path, delimiter):
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(delimiter.join(row) for row in [("a", "note"), ("1", "x: y"), ("2", "z")]) + "\n")
    assert read_table(path).to_dict("list") == {"a": [1, 2], "note": ["x: y", "z"]}


def test_one_column_of_sentences_is_not_cut(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("text\nwell, yes\nno\nhm, well, no\n")
    assert read_table(path)["text"].tolist() == ["well, yes", "no", "hm, well, no"]


def test_marks_in_tab_separated_text_swallow_no_row(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text('id\ttext\n1\t"Never," he said\n2\t"quoted ""whole"" cell"\n3\tsix" pipe\n4\tend\n')
    assert read_table(path)["text"].tolist() == [
        '"Never," he said',
        'quoted "whole" cell',
        'six" pipe',
        "end",
    ]


def test_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffname,n\r\nÅse,1\r\n\r\nBjørn,2\r\n".encode())
    assert read_table(path).to_dict("list") == {"name": ["Åse", "Bjørn"], "n": [1, 2]}


def headerless(path, rows=60):
    rng = np.random.default_rng(0)
    gases = np.array(["Ethanol", "Ethylene", "Acetone"])[rng.integers(0, 3, rows)]
    lines = [f"{g},10.000000," + ",".join(f"{v:.6f}" for v in rng.normal(size=128)) for g in gases]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["batch.dat", "batch.dat.gz"])
def test_headerless_file_is_named_and_told(tmp_path, name):
    path = headerless(tmp_path / name)
    with pytest.warns(HeaderWarning, match=r"looks like data \(Ethanol|Ethylene|Acetone.*header=True"):
        found = read_table(path)
    assert found.shape == (60, 130)
    assert list(found.columns[[0, 1, 129]]) == ["c0", "c1", "c129"]
    assert found["c2"].dtype == np.float64


def test_header_can_be_forced(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("2019,2020\n1,2\n3,4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_table(path, header=True).columns) == ["2019", "2020"]
        assert read_table(path, header=False)["c0"].tolist() == [2019, 1, 3]
    with pytest.warns(HeaderWarning):
        assert len(read_table(path)) == 3
    path.write_text("id,2020,2021,note,\n1,2,3,x,9\n")
    assert list(read_table(path).columns) == ["id", "2020", "2021", "note", "c4"]


def test_one_fraction_in_the_first_row_is_enough(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("1_1\t0.4\tA fine day\n1_2\t-2\tRain\n")
    with pytest.warns(HeaderWarning):
        assert read_table(path)["c1"].tolist() == [0.4, -2.0]


def test_a_text_late_in_a_numeric_column_is_kept_as_written(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "1.50,0\n" * 30_000 + "abc,1\n")
    found = read_table(path)
    assert found["x"].iloc[[0, -1]].tolist() == ["1.50", "abc"]
    kinds = [piece["x"].dtype == np.float64 for piece in iter_tables(path, rows=10_000)]
    assert kinds == [True, True, True, False]


def test_delimited_file_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,text\n" + f"1.5,{'some text here ' * 40}\n" * 500_000)  # 320 MB
    before = pa.total_allocated_bytes()
    most = 0
    for piece in iter_tables(path, rows=1000):
        most = max(most, pa.total_allocated_bytes() - before)
        assert len(piece) == 1000
    assert most < 120e6  # 32 blocks are read ahead


def test_columns_are_chosen_in_order(frame, tmp_path):
    for source in (write(frame, tmp_path / "a.csv"), write(frame, tmp_path / "a.parquet"), frame):
        assert list(read_table(source, columns=["city", "age"]).columns) == ["city", "age"]
        with pytest.raises(SchemaError, match="no column 'agee'\\. Did you mean 'age'"):
            read_table(source, columns=["agee"])
    with pytest.raises(ConfigError, match=r"Write columns=\['age'\]"):
        read_table(frame, columns="age")


# Errors


def test_missing_file_suggests_neighbours(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    data_error(tmp_path / "row.csv", "does not exist", "Did you mean", "rows.csv")
    data_error(tmp_path / "elephant", "does not exist", "The folder holds: rows.csv")
    data_error(tmp_path / "no" / "rows.csv", "folder", "does not exist either")
    data_error(tmp_path, "is a folder", "rows.csv")


def test_unknown_suffix_lists_the_known(tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"x")
    data_error(tmp_path / "rows.xlsx", "'.xlsx'", ".parquet", ".jsonl", ".gz", "export")
    (tmp_path / "rows.parquet.gz").write_bytes(b"x")
    data_error(tmp_path / "rows.parquet.gz", "'.parquet.gz'")


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \n"])
def test_empty_file(tmp_path, content):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    data_error(path, "is empty", "again")
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(content))
    data_error(path, "is empty", "again")


def test_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n")
    (tmp_path / "a.jsonl").write_text("\n")
    (tmp_path / "a.json").write_text("[]")
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    for source in [*tmp_path.iterdir(), pd.DataFrame({"a": []}), [], {"a": []}, np.zeros((0, 2))]:
        data_error(source, "has no rows", "at least one")
        with pytest.raises(DataError, match="has no rows"):
            list(iter_tables(source))


@pytest.mark.parametrize("cut", [3, 100, 0.5, -1])
def test_truncated_parquet(frame, tmp_path, cut):
    path = write(pd.concat([frame] * 200), tmp_path / "rows.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: cut if isinstance(cut, int) else int(cut * len(content))])
    error = data_error(path, "rows.parquet", "expected a whole Parquet file", "PAR1", "Copy or export it again")
    assert error.__cause__ is not None


def test_damaged_parquet_pages(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=5000)}), path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:600] = bytes(596)
    path.write_bytes(content)
    data_error(path, "whole Parquet file", "again")


@pytest.mark.parametrize("suffix", ["csv.gz", "jsonl.gz", "json.gz"])
def test_truncated_gzip(frame, tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = write(pd.DataFrame(rng.normal(size=(3000, 3)), columns=list("abc")), tmp_path / f"rows.{suffix}")
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"plain text", content[:500] + bytes(50) + content[550:]):
        path.write_bytes(damaged)
        data_error(path, "expected a whole gzip file", "Copy it again", "gzip -dc")


def test_twice_the_same_name(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,a\n1,2,3\n")
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    twice = pd.DataFrame([[1, 2]], columns=["a", "a"])
    sources = [tmp_path / "a.csv", tmp_path / "a.parquet", twice, pa.table([[1], [2]], names=["a", "a"])]
    for source in [*sources, {"a": np.ones((2, 1)), "a0": [1, 2]}]:
        data_error(source, "two columns 'a", "Rename")


@pytest.mark.parametrize(("row", "got"), [("4,5", "got 2"), ("4,5,6,7", "got 4"), ('4,"5,6', "line 3")])
def test_ragged_rows_are_named(tmp_path, row, got):
    path = tmp_path / "rows.csv"
    path.write_text(f"a,b,c\n1,2,3\n{row}\n7,8,9\n")
    data_error(path, "line 3", got, "quot")
    with pytest.raises(DataError, match="line 3"):
        list(iter_tables(path))


def test_ragged_row_far_down(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 50_000 + "1\n")
    data_error(path, "line 50002: expected 2 cells as in the first row, got 1", "Mend that row")


@pytest.mark.parametrize("text", ['"a" b,c\n1,2\n', 'a,b\n1,"2" x\n3,"4" y\n', 'a,b\n1,"open\n2,3\n'])
def test_stray_quotation_marks(tmp_path, text):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    data_error(path, "quotation mark", "twice", "line")


def test_bytes_that_are_no_utf8(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("name,n\nOslo,1\nTromsø,2\n".encode("latin1"))
    data_error(path, "line 3", "0xf8", "expected UTF-8", "iconv")
    for name, content in [("a.jsonl", '{"a": "ø"}'), ("a.json", '[{"a": "ø"}]')]:
        (tmp_path / name).write_bytes(content.encode("latin1"))
        data_error(tmp_path / name, "line 1", "UTF-8", "iconv")


def test_json_that_is_none(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    data_error(path, "line 2", "expected one JSON object on each line", "again")
    path.write_text('{"a": 1}\n[1, 2]\n')
    data_error(path, "line 2", "one JSON object on each line")
    path = tmp_path / "rows.json"
    for text in ('{"a": [1, 2]}', '[{"a": 1}', "[1, 2]"):
        path.write_text(text)
        data_error(path, "expected a JSON list of objects")


def test_numpy_files_that_are_none(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    data_error(tmp_path / "a.npy", "without Python objects", "Save it again")
    (tmp_path / "b.npy").write_bytes(b"nothing of the sort")
    data_error(tmp_path / "b.npy", "numpy.save")
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(100))
    (tmp_path / "c.npz").write_bytes(buffer.getvalue()[:200])
    data_error(tmp_path / "c.npz", "whole file")
    np.save(tmp_path / "d.npy", np.ones(3))
    data_error(tmp_path / "d.npy", "(N, D)", "got ndarray(3,)", "Convert")


@pytest.mark.parametrize("source", [42, None, ["a.csv", "b.csv"], {1, 2}, pd.Series([1])])
def test_what_is_no_table(source):
    error = data_error(source, "Expected a path", "list of dicts", "Convert")
    assert type(source).__name__ in str(error)


def test_columns_that_do_not_fit():
    data_error({"a": [1, 2], "b": [1]}, "different lengths", "'a': 2", "'b': 1")
    data_error({"a": 3}, "'a'", "got int", "{'a': [value]}")
    data_error(np.ones((2, 2, 2, 2, 2)), "(2, 2, 2, 2, 2)")


def test_settings_out_of_range(frame):
    with pytest.raises(ConfigError, match=r"header: expected True, False or 'infer', got 'yes'"):
        read_table(frame, header="yes")
    with pytest.raises(ConfigError, match="1 or more, got 0"):
        iter_tables(frame, rows=0)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("gas_sensor_drift/batch1.dat.gz", (445, 130)),
        ("beijing_pm25/pollution.csv.gz", (43_824, 13)),
        ("banking77/train.csv", (10_003, 2)),
        ("vader_sentiment/nytEditorialSnippets_GroundTruth.txt.gz", (5190, 3)),
        ("wall_following_robot/sensor_readings_24.data.gz", (5456, 25)),
    ],
)
@pytest.mark.filterwarnings("ignore::aet.tables.HeaderWarning")
def test_real_files(name, shape):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not in the data folder")
    assert read_table(DATA / name).shape == shape


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_arrow_is_given_no_python_file(tmp_path, monkeypatch, name):
    """Its threads outlive the reader and would abort an interpreter that ends, now and then."""
    given, opened = [], pc.open_csv
    monkeypatch.setattr(pc, "open_csv", lambda stream, *rest: given.append(stream) or opened(stream, *rest))
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"a,b\n") if path.suffix == ".gz" else b"a,b\n")
    data_error(path, "has no rows")
    assert isinstance(given[0], pa.NativeFile)
    assert not isinstance(given[0], pa.PythonFile)


def test_decimal_commas_are_named_and_stay_texts(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("width;count;city;pair\n1,5;1,500;Oslo;1,2\n-2,25;3;Rome, old;1,2,3\n;7;NA;x\n")
    with pytest.warns(DecimalWarning, match=r"decimal commas, in 'width': .*sep=';', decimal=','"):
        frame = read_table(path)
    assert frame["width"].tolist()[:2] == ["1,5", "-2,25"]
    assert frame["count"].tolist() == ["1,500", "3", "7"]
    assert frame["pair"].tolist() == ["1,2", "1,2,3", "x"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("Temp, C;Druck, bar\n3,5;4,5\n2,5;1,25\n", ["Temp, C", "Druck, bar"]),
        ("1,5;2,5\n3,5;4,5\n", ["c0", "c1"]),
        ("1,5\t2,5\t7\n3,5\t4,5\t8\n", ["c0", "c1", "c2"]),
        ("tags,n\na|b,1\nc|d,2\n", ["tags", "n"]),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_decimal_comma_cuts_no_cell(tmp_path, text, columns):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    frame = read_table(path)
    assert frame.columns.tolist() == columns
    assert len(frame) == 2


def test_quoted_commas_between_commas_are_no_decimals(tmp_path, recwarn):
    path = tmp_path / "rows.csv"
    path.write_text('place,n\n"1,5",2\n"2,5",3\n')
    assert read_table(path)["place"].tolist() == ["1,5", "2,5"]
    assert not recwarn.list


@pytest.mark.parametrize("cells", ["1,500;2", "a;2.5", "1,2,3;4"])
def test_commas_that_may_be_another_thing_are_left_alone(tmp_path, cells, recwarn):
    path = tmp_path / "rows.csv"
    path.write_text(f"a;b\n{cells}\n")
    assert read_table(path)["a"].tolist() == [cells.split(";")[0]]
    assert not recwarn.list


def test_a_file_that_is_cut_off_meanwhile_harms_nobody(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n" + "1.5,2\n" * 2_000_000)
    pieces = iter_tables(path, rows=1000)
    rows = len(next(pieces))
    os.truncate(path, 5000)
    rows += sum(map(len, pieces))
    assert 1000 <= rows <= 2_000_000


def test_a_quotation_mark_at_the_beginning_is_seen(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('"a,b\n1,2\n3,4\n')
    with pytest.raises(DataError, match="quotation mark"):
        read_table(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_named(tmp_path, encoding):
    path = tmp_path / "rows.csv"
    path.write_bytes(("\ufeff" + "a,b\n1,2\n").encode(encoding))
    with pytest.raises(DataError, match="iconv -f utf-16 -t utf-8"):
        read_table(path)
