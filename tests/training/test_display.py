"""What people see goes to standard error, and only if they ask."""

from aet.config import Config
from aet.schema import infer
from aet.training.display import epoch_bar, say

from ..made import signs


def test_rows_kept_aside_are_named_up_to_five(capsys):
    schema = infer(signs(20), "y")
    say(schema, 1600, 400, {row: f"row {row}, column 'a'" for row in range(9)}, Config())
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "1,600 rows to train on, 400 held out" in seen.err
    assert seen.err.count("column 'a'") == 5
    assert "4 more rows" in seen.err
    assert "strength 1" in seen.err


def test_wide_tables_are_cut_and_shift_off_is_said(capsys):
    frame = signs(20).join(signs(20)[["a"] * 40].set_axis([f"c{i}" for i in range(40)], axis=1))
    say(infer(frame, "y"), 16, 4, {}, Config.read({"train": {"drift": 0}}))
    seen = capsys.readouterr().err
    assert "more columns" in seen
    assert "Training for shift is off" in seen


def test_the_bar_shows_the_figures_or_nothing(capsys):
    record = {"epoch": 1, "loss": 0.5, "valid_metric": 0.75, "valid_metric_drifted": 0.25}
    for shown in (False, True):
        with epoch_bar(2, "accuracy", shown) as on_epoch:
            on_epoch(record)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "training" in seen.err
