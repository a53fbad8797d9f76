"""CoNLL files and lists of words as tables."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from aet.cells.words import objects
from aet.errors import DataError
from aet.rows import check_rows
from aet.schema import infer
from aet.tables import iter_tables, read_table

TEXT = "EU\tB-ORG\nrejects\tO\n\n\nPeter\tB-PER\nBlackburn\tI-PER\n\nyes\tO\n"
ROWS = {
    "words": [["EU", "rejects"], ["Peter", "Blackburn"], ["yes"]],
    "tags": [["B-ORG", "O"], ["B-PER", "I-PER"], ["O"]],
}


def written(folder, text, name="news.conll"):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["news.conll", "news.conll.gz"])
def test_sentences_are_rows(tmp_path, name):
    assert read_table(written(tmp_path, TEXT, name)).to_dict("list") == ROWS


def test_four_columns_divided_by_blanks_and_documents(tmp_path):
    text = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP B-PER\n"
    frame = read_table(written(tmp_path, text))
    assert frame.to_dict("list") == {"words": [["EU", "rejects"], ["Peter"]], "tags": [["B-ORG", "O"], ["B-PER"]]}


def test_tokens_alone_have_no_tags(tmp_path):
    assert read_table(written(tmp_path, "EU\nrejects\n\n#\n")).to_dict("list") == {"words": [["EU", "rejects"], ["#"]]}


def test_pieces_of_a_file(tmp_path):
    assert [len(piece) for piece in iter_tables(written(tmp_path, TEXT), rows=2)] == [2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EU\tB-ORG\nrejects\n", r"line 2: expected 2 columns.*got 'rejects'"),
        ("EU\tB-ORG\n\tO\n", r"line 2: expected 2 columns"),
        ("\n\n", "has no rows"),
    ],
)
def test_broken_files_are_told_with_their_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path, text))


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        [dict(zip(ROWS, pair, strict=True)) for pair in zip(*ROWS.values(), strict=True)],
        pd.DataFrame({name: objects([np.array(cell) for cell in cells]) for name, cells in ROWS.items()}),
        pd.DataFrame({name: objects([tuple(cell) for cell in cells]) for name, cells in ROWS.items()}),
    ],
)
def test_lists_of_texts_are_words_and_tags(source):
    frame = read_table(source)
    schema = infer(frame, "tags")
    assert [(spec.name, spec.kind) for spec in schema.inputs] == [("words", "words")]
    assert schema.output == "tags"
    assert check_rows(frame, schema, need_target=True).frame.to_dict("list") == ROWS


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_lists_of_texts_in_files(tmp_path, suffix):
    path = tmp_path / f"news.{suffix}"
    if suffix == "parquet":
        pd.DataFrame(ROWS).to_parquet(path)
    else:
        rows = [dict(zip(ROWS, pair, strict=True)) for pair in zip(*ROWS.values(), strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)))
    frame = read_table(path)
    assert check_rows(frame, infer(frame, "tags"), need_target=True).frame.to_dict("list") == ROWS


def test_texts_are_cut_at_blanks_where_they_are_said_to_be_words():
    frame = pd.DataFrame({"s": ["EU rejects", "yes"], "t": ["B-ORG O", "O"]})
    schema = infer(frame, "t", kinds={"s": "words"}, output="tags")
    assert check_rows(frame, schema, need_target=True).frame.to_dict("list") == {
        "s": [["EU", "rejects"], ["yes"]],
        "t": [["B-ORG", "O"], ["O"]],
    }


def test_rows_that_cannot_be_tagged_are_kept_aside():
    words = [["a", "b"], None, [], ["a"] * 129, ["a", "b"], ["a"], ["a", "b"], ["a"]]
    tags = [["O", "O"], ["O"], ["O"], ["O"] * 129, ["O"], None, ["B-X", "O"], ["O"]]
    frame = pd.DataFrame({"words": objects(words), "tags": objects(tags)})
    schema = infer(frame, "tags")
    checked = check_rows(frame, schema, need_target=True)
    assert checked.kept.tolist() == [0, 6, 7]
    assert checked.problems == {
        1: "row 2, column 'words': expected a list of 1 to 128 words, got a missing value",
        2: "row 3, column 'words': expected a list of 1 to 128 words, got []",
        3: "row 4, column 'words': expected a list of 1 to 128 words, got 129 words. Cut it into sentences",
        4: "row 5, column 'tags': expected one tag a word, got 1 tags for 2 words",
        5: "row 6, column 'tags': expected one tag a word, got a missing value",
    }
    served = check_rows(frame, schema)  # where tags are not needed, wrong ones are none
    assert served.kept.tolist() == [0, 4, 5, 6, 7]
    assert served.frame["tags"].tolist() == [["O", "O"], None, None, ["B-X", "O"], ["O"]]
