"""Places among a reference: uniform and independent, whatever the column."""

import numpy as np
import pytest
from scipy.stats import kstest

from aet.errors import ConfigError
from aet.monitoring.sketch import Sketch, Urn, as_numbers, hashed


def drawn(kind, rng, size):
    if kind == "normal":
        return rng.normal(size=size)
    if kind == "counts":
        return rng.poisson(0.7, size).astype(float)
    return np.where(rng.random(size) < 0.3, np.inf, 0.0)


@pytest.mark.parametrize("kind", ["normal", "counts", "missing"])
@pytest.mark.parametrize("rows", [7, 60])
def test_places_of_rows_like_the_reference_are_uniform_and_independent(kind, rows):
    rng = np.random.default_rng(0)
    columns = 1500  # as many references and streams
    known = drawn(kind, rng, (rows, columns))
    urn = Urn(Sketch.of({str(j): known[:, j] for j in range(columns)}))
    u = urn.place(drawn(kind, rng, (6, columns)), rng)
    assert min(kstest(row, "uniform").pvalue for row in u) > 0.002
    assert np.abs(np.corrcoef(u) - np.eye(6)).max() < 0.1


def test_bins_are_those_of_sorting():
    rng = np.random.default_rng(1)
    known = rng.integers(0, 5, 40).astype(float)
    sketch = Sketch.of({"x": known}, edges=9)
    assert sketch.rows == 40
    assert sketch.ranks.sum() == 41
    values, draws = np.arange(-1.0, 6)[:, None], np.full((7, 1), 0.5)
    pairs = list(zip(sketch.edges[:, 0], sketch.ties[:, 0], strict=True))
    assert pairs == sorted(pairs)
    expected = [sum(pair < (value, 0.5) for pair in pairs) for value in values[:, 0]]
    assert sketch.bins(values, draws)[:, 0].tolist() == expected


def test_piece_by_piece_is_the_same_as_at_once():
    rng = np.random.default_rng(2)
    sketch = Sketch.of({"x": rng.normal(size=50), "y": rng.normal(size=50)})
    bins, draws = rng.integers(0, 22, (150, 2)), rng.random((150, 2))
    one, other = Urn(sketch), Urn(sketch)
    together = np.concatenate([one._place(bins[i : i + 50], draws[i : i + 50]) for i in (0, 50, 100)])
    singly = np.concatenate([other._place(bins[i : i + 1], draws[i : i + 1]) for i in range(150)])
    assert together == pytest.approx(singly)
    assert one.later == pytest.approx(other.later)
    assert one.recent == pytest.approx(other.recent)


def test_names_stand_at_their_hash_and_what_is_missing_last():
    cells = as_numbers(np.array(["b", None, "a", float("nan"), "b"], dtype=object))
    assert cells[0] == cells[4] == hashed("b")
    assert np.isinf(cells[[1, 3]]).all()
    assert 0 <= cells[2] < 1


def test_the_newest_rows_count_most():
    urn = Urn(Sketch.of({"x": np.arange(200.0)}))
    rng = np.random.default_rng(3)
    urn.place(np.full((500, 1), 999.0), rng)
    assert urn.outside()[1][0] == pytest.approx(1)
    urn.place(rng.uniform(0, 199, (1000, 1)), rng)
    assert urn.outside()[1][0] < 0.05
    assert urn.moved()[0] < 0.3


def test_a_sketch_goes_to_arrays_and_back():
    sketch = Sketch.of({"a": [0.25, 0.5, np.nan], "ü": ["x", None, "y"]})
    again = Sketch.from_arrays(sketch.to_arrays())
    assert again.names == ("a", "ü")
    assert again.categories == sketch.categories == {"ü"}
    assert np.array_equal(again.edges, sketch.edges)
    with pytest.raises(ValueError, match="a sketch of 2 columns"):
        Sketch.from_arrays({**sketch.to_arrays(), "ranks": np.ones(3)})


@pytest.mark.parametrize("columns", [{"x": []}, {"x": [1.0], "y": [1.0, 2.0]}])
def test_no_rows_and_other_lengths_are_refused(columns):
    with pytest.raises(ConfigError):
        Sketch.of(columns)
