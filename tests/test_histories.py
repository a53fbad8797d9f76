"""A long table of events as histories: each event an answer once, nothing known before its time."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import aet
from aet.cli import app
from aet.errors import ConfigError, DataError, SchemaError


def events(users=7, seed=0):
    """Shuffled events, times without ties."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 14, users)
    table = pd.DataFrame({"who": np.repeat([f"u{n}" for n in range(users)], counts)})
    table["what"] = rng.integers(0, 9, len(table))
    table["at"] = rng.permutation(len(table)) * 60.0
    return table.assign(stars=rng.integers(1, 6, len(table))).sample(frac=1, random_state=seed)


def in_time(table, user):
    return table[table["who"] == user].sort_values("at")["what"].tolist()


def test_each_event_but_those_held_out_is_an_answer_of_the_training_once():
    table = events()
    rows = aet.histories(table, "who", "what", "at", length=4, split="leave_last_out")
    for user in table["who"].unique():
        own, known = rows[rows["who"] == user], in_time(table, user)
        train = own[own["part"] == "train"]
        answered = [[*[event["item"] for event in row.history][1:], row.next] for row in train.itertuples()]
        first = [train.iloc[0]["history"][0]["item"]] if len(train.iloc[0]["history"]) else []
        # A short first history begins with the beginning, after which its first event came.
        assert [*first, *(item for part in answered for item in part)] == trained_items(known)


def trained_items(known):
    return known[:-2] if len(known) > 2 else known


def test_the_last_event_is_the_test_and_the_one_before_the_validation():
    table = events()
    rows = aet.histories(table, "who", "what", "at", length=5, split="leave_last_out")
    for user in table["who"].unique():
        own, known = rows[rows["who"] == user].set_index("part"), in_time(table, user)
        if len(known) < 3:
            assert set(own.index) == {"train"}
            continue
        for part, end in (("valid", len(known) - 2), ("test", len(known) - 1)):
            assert own.loc[part, "next"] == known[end]
            assert [event["item"] for event in own.loc[part, "history"]] == known[max(0, end - 5) : end]


def test_no_history_holds_an_event_of_its_answers_time_or_later():
    rows = aet.histories(events(), "who", "what", "at", length=3, split="leave_last_out")
    assert all(event["time"] < row.time for row in rows.itertuples() for event in row.history)


def test_after_cuts_by_time():
    table = events()
    cut = float(table["at"].median())
    rows = aet.histories(table, "who", "what", "at", length=50, after=cut)
    test = rows[rows["part"] == "test"]
    assert len(test) == (table["at"] >= cut).sum()
    assert (test["time"] >= cut).all()
    train = rows[rows["part"] == "train"]
    assert (train["time"] < cut).all()
    longest = test.loc[test["history"].map(len).idxmax()]
    assert [event["item"] for event in longest["history"]] == in_time(table, longest["who"])[:-1]


def test_content_travels_with_each_event_and_rows_keep_their_order_without_a_time():
    table = pd.DataFrame({"who": [1, 1, 1], "what": ["c", "a", "b"], "stars": [3, 5, 1]})
    rows = aet.histories(table, "who", "what", content=["stars"])
    assert rows["history"].iloc[-1] == [
        {"item": "c", "time": None, "stars": 3},
        {"item": "a", "time": None, "stars": 5},
    ]
    assert rows["next"].tolist() == ["b"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"user": "nobody"}, SchemaError, "no column 'nobody'"),
        ({"content": ["price"]}, SchemaError, "no column 'price'"),
        ({"split": "random"}, ConfigError, "expected 'leave_last_out' or None"),
        ({"length": 0}, ConfigError, "1 or more, got 0"),
        ({"after": 3, "split": "leave_last_out"}, ConfigError, "no `split` beside it"),
        ({"time": "what"}, DataError, "cannot be put in order"),
    ],
)
def test_what_cannot_be_is_an_error_with_the_mend(change, error, said):
    table = events().astype({"what": str}).assign(what=lambda t: "item " + t["what"])
    with pytest.raises(error, match=said):
        aet.histories(table, **{"user": "who", "item": "what", "time": "at", **change})


def test_an_event_without_an_item_is_an_error_with_its_row():
    table = pd.DataFrame({"who": [1, 1], "what": ["a", None]})
    with pytest.raises(DataError, match="row 2, column 'what'"):
        aet.histories(table, "who", "what")


def test_from_the_command_line(tmp_path):
    events().to_csv(tmp_path / "events.csv", index=False)
    given = ["histories", str(tmp_path / "events.csv"), "--user", "who", "--item", "what", "--time", "at"]
    done = CliRunner().invoke(
        app, [*given, "--split", "leave_last_out", "--out", str(tmp_path / "rows.jsonl"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    expected = aet.histories(events(), "who", "what", "at", split="leave_last_out")
    assert told["rows"] == len(written) == len(expected)
    assert [row["next"] for row in written] == expected["next"].tolist()
    assert told["parts"] == expected["part"].value_counts().to_dict()
