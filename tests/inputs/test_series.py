"""Series as inputs: one size for every window, what is missing shown, dials, and what cells may hold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from aet.cells.words import objects
from aet.errors import ConfigError, DataError
from aet.inputs.normalise import NORMALISERS
from aet.inputs.series import SeriesInput
from aet.rows import check_rows
from aet.schema import InputSpec, Schema, infer

SPEC = InputSpec("past", "series", ("past",))


def waves(rows=40, length=24, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(length)[None] + rng.integers(0, 8, (rows, 1))
    return 20 + 3 * np.sin(np.pi * t / 4) + rng.normal(0, 0.3, t.shape)


def part_of(cells, **settings):
    torch.manual_seed(0)
    part = SeriesInput([SPEC], 8)
    part.fit(pd.DataFrame({"past": objects(list(cells))}), settings)
    part.build()
    return part.eval()


def tokens(part, *cells):
    return part(part.encode(pd.DataFrame({"past": objects(list(cells))})))[0]


@pytest.mark.parametrize("how", ["robust", "standard"])
def test_windows_have_one_size_and_come_back(how):
    x = torch.from_numpy(waves())
    centre, scale = NORMALISERS[how](x)
    z = (x - centre[:, None]) / scale[:, None]
    assert z.mean(-1).abs().max() < 0.05
    assert (z.std(-1) - 1).abs().max() < 0.1
    torch.testing.assert_close(centre[:, None] + scale[:, None] * z, x)


@pytest.mark.parametrize("how", ["robust", "standard"])
def test_gain_and_offset_of_a_window_are_those_of_its_measures(how):
    x = torch.from_numpy(waves())
    centre, scale = NORMALISERS[how](x)
    moved, larger = NORMALISERS[how](7 * x - 100)
    torch.testing.assert_close(moved, 7 * centre - 100, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(larger, 7 * scale, rtol=1e-4, atol=1e-4)


def test_one_wild_value_moves_the_robust_norm_little_and_the_plain_one_far():
    x = torch.from_numpy(waves())
    wild = x.clone()
    wild[:, 5] = 1e5
    moved = {how: (NORMALISERS[how](wild)[0] - NORMALISERS[how](x)[0]).abs().mean() for how in ("robust", "standard")}
    assert moved["robust"] < 0.6
    assert moved["standard"] > 1e3


def test_without_outliers_the_robust_norm_is_the_plain_one():
    x = torch.from_numpy(waves())
    for robust, plain in zip(NORMALISERS["robust"](x), NORMALISERS["standard"](x), strict=True):
        torch.testing.assert_close(robust, plain)


def test_patches_do_not_see_level_and_size_and_the_level_token_does():
    cells = waves()
    part = part_of(cells, level=True)
    one, other = tokens(part, cells[0], 5 * cells[0] + 300)
    level = part.token_names().index("past[level]")
    torch.testing.assert_close(one[:level], other[:level], rtol=1e-3, atol=1e-3)
    assert (one[level] - other[level]).abs().max() > 0.5


def test_a_constant_window_is_a_window():
    part = part_of([*waves(), np.full(24, 20.0)])
    found = tokens(part, np.full(24, 20.0), np.full(24, 1e9))
    assert torch.isfinite(found).all()


def test_a_shorter_series_is_missing_at_its_front():
    part = part_of(waves())
    short, padded = waves()[0][-10:], np.concatenate([np.full(14, np.nan), waves()[0][-10:]])
    torch.testing.assert_close(tokens(part, short), tokens(part, padded))
    values = part.encode(pd.DataFrame({"past": objects([short])}))
    assert values[0, 0, :14].isnan().all()
    assert values[0, 0, 14:].isfinite().all()


def test_what_is_missing_is_shown_to_its_patches_alone():
    part = part_of(waves(), tokens="patch", level=False, patch=4, stride=4)
    whole = waves()[1]
    middle = float(NORMALISERS["robust"](torch.from_numpy(whole)[None])[0])
    lost, there = whole.copy(), whole.copy()
    lost[8:12], there[8:12] = np.nan, middle
    one, other = tokens(part, lost, there)
    names = part.token_names()
    assert names == [f"past[{-24 + 4 * i}..{-21 + 4 * i}]" for i in range(6)]
    assert (one[2] - other[2]).abs().max() > 0.3
    assert (one[[0, 1, 3, 4, 5]] - other[[0, 1, 3, 4, 5]]).abs().max() < 0.3


def test_series_side_by_side_share_a_projection_and_have_tokens_of_their_own():
    both = [np.stack([row, -row], 1) for row in waves()]
    part = part_of(both, tokens="both", level=True)
    names = part.token_names()
    assert len(names) == len(set(names)) == 2 * (len(part.starts) + 2)
    assert names[-1] == "past[1:level]"
    assert tokens(part, both[0]).shape == (1, len(names), 8)


@pytest.mark.parametrize(("length", "patch", "stride"), [(10, 4, 3), (9, 4, 2), (8, 4, 3), (1, 1, 1), (7, 7, 7)])
def test_patches_hold_every_value(length, patch, stride):
    part = part_of(waves(length=length), patch=patch, stride=stride, normalise="none")
    behind, _ = part.behind(torch.arange(1.0, length + 5)[None, None])
    seen = {round(float(v), 4) for v in behind[~behind.isnan()]}
    wanted = part.seen(torch.arange(1.0, length + 5)[None, None])[0]
    assert {round(float(v), 4) for v in wanted.flatten()} <= seen


def test_a_stride_that_leaves_values_out_is_refused():
    with pytest.raises(ConfigError, match="stride of 9 leaves values out between patches of 4"):
        part_of(waves(), patch=4, stride=9)


def test_drift_leaves_alone_how_answers_are_measured():
    part = part_of(waves())
    values = part.encode(pd.DataFrame({"past": objects(list(waves(seed=1)))}))
    moved = part.augment(values, 2.0, torch.Generator().manual_seed(1))
    assert torch.equal(moved[..., -2:], values[..., -2:])
    assert not torch.equal(moved[..., :-2].nan_to_num(), values[..., :-2].nan_to_num())


def table(cells, **more):
    return pd.DataFrame({"past": objects(list(cells)), **more})


def test_lists_arrays_and_texts_of_json_are_the_same_series():
    cells = [[1, 2, 3.5, None], [4, 5, 6, 7]]
    frames = [table(cells), table(map(json.dumps, cells)), table([np.array(c, dtype=float) for c in cells])]
    schema = Schema((SPEC,), ("y",), "label")
    checked = [check_rows(frame, schema).frame["past"].map(repr).tolist() for frame in frames]
    assert checked[0] == checked[1] == checked[2]
    for frame in frames:
        assert infer(frame.assign(y=["a", "b"]), "y").inputs == (SPEC,)


def test_lists_go_through_files(tmp_path):
    from aet.tables import read_table

    frame = table([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], y=["a", "b"])
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    schema = Schema((SPEC,), ("y",), "label")
    for file in sorted(tmp_path.iterdir()):
        read = read_table(file)
        assert infer(read, "y").inputs == (SPEC,), file
        cells = check_rows(read, schema).frame["past"]
        np.testing.assert_array_equal(np.stack(cells), [[1, np.nan, 3], [4, 5, 6]])


def test_bad_cells_are_kept_aside_with_a_sentence():
    schema = Schema((SPEC,), ("y",), "label")
    cells = [[1.0, 2.0], "[1, 2", ["a", 2], 7, [1.0, np.inf], [], None, [[1.0, 2.0], [3.0, 4.0]], [3.0, 4.0]]
    checked = check_rows(table(cells), schema)
    assert checked.kept.tolist() == [0, 6, 8]
    assert checked.problems[1] == "row 2, column 'past': expected a list of numbers, got '[1, 2'"
    assert checked.problems[4].startswith("row 5, column 'past': expected a list of finite numbers, got [1.0, inf]")
    assert checked.problems[7] == "row 8, column 'past': expected 1 series side by side, got 2"
    with pytest.raises(DataError, match="expected finite numbers"):
        check_rows(table([[1.0, np.inf], [1.0, 2.0]]), schema, infinite="raise")
