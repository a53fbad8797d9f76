"""What is kept of a column's reference rows, and where later rows stand among them: places, never rows.

Of n reference values, ties broken by a uniform draw each, K order statistics are kept as edges, with w_k, the number of
ranks between two of them (Σ w = n + 1). Whatever the distribution, its mass between the edges is then Dirichlet(w)
(Wilks 1962), so if later values are drawn as the reference was, the bins b_1, b_2, ... that they fall into are those of
a Pólya urn, and with s_k, the later values so far in bin k,

    u = (Σ_{k < b} (w + s)_k + U (w + s)_b) / (n + 1 + Σ s),    U uniform

are independent and uniform on (0, 1): exactly, for any n, whether the column is continuous, discrete or a category. It
is a smoothed conformal p-value (Vovk, Gammerman and Shafer 2005) read off the bins. The later rows join the urn, since
that is what makes it exact: a shift that stays for many times n rows becomes the new normal.

Categories stand at a hash of their name, fixed before any row was seen; a missing cell stands last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aet.errors import ConfigError
from aet.monitoring.bets import running

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

EDGES = 21
"""Edges of a column."""
TIES = 7919
"""Beside the seed, so that draws are not those by which somebody drew the rows."""


def hashed(name: Any) -> float:
    """Where a category stands, in 0..1.

    >>> hashed("a") == hashed("a") != hashed("b")
    True
    """
    return int.from_bytes(blake2b(str(name).encode("utf-8", "surrogatepass"), digest_size=6).digest()) / 2.0**48


def as_numbers(cells: Any) -> Floats:
    """Cells (N,) as numbers: what is no number at its hash, what is missing at +inf.

    >>> as_numbers([0.5, None]).tolist(), as_numbers(["a", None])[1]
    ([0.5, inf], np.float64(inf))
    """
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "fiub":
        found = cells.astype(np.float64)
    else:
        values = pd.Series(cells)
        if not pd.api.types.is_numeric_dtype(values):
            values = values.astype(object).map(hashed, na_action="ignore")
        found = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(found), np.inf, found)


def table(columns: Mapping[str, Any], names: Sequence[str]) -> Floats:
    """The named columns as numbers (N, J); ConfigError for one that is missing or of another length."""
    missing = [name for name in names if name not in columns]
    if missing:
        raise ConfigError(
            f"The watch knows {len(names)} columns, and {len(missing)} are not among those given (first: "
            f"{missing[0]!r}). Give the columns that the reference was made of."
        )
    found = [as_numbers(columns[name]) for name in names]
    if len({len(column) for column in found}) > 1:
        raise ConfigError(f"Columns are of one length: got {sorted({len(column) for column in found})}.")
    return np.stack(found, 1) if found else np.empty((0, 0))


def names_in(columns: Mapping[str, Any]) -> frozenset[str]:
    """Which columns hold names rather than numbers.

    >>> sorted(names_in({"x": [1.0], "c": ["a"]}))
    ['c']
    """
    return frozenset(name for name, cells in columns.items() if not pd.api.types.is_numeric_dtype(pd.Series(cells)))


@dataclass(frozen=True)
class Sketch:
    """Edges (K, J) of J columns with the draws (K, J) that break their ties, and ranks between them w (K + 1,).

    `categories` are the columns of names: their places have no above and below.
    """

    names: tuple[str, ...]
    edges: Floats
    ties: Floats
    ranks: Floats
    categories: frozenset[str] = frozenset()

    @property
    def rows(self) -> int:
        """How many rows it was made of: n."""
        return int(self.ranks.sum()) - 1

    @classmethod
    def of(cls, columns: Mapping[str, Any], edges: int = EDGES, seed: int = 0) -> Sketch:
        """Of the reference rows, one array (n,) a column; ConfigError for no rows.

        >>> sketch = Sketch.of({"x": np.arange(99.0)}, edges=3)
        >>> sketch.edges[:, 0].tolist(), sketch.ranks.tolist()
        ([0.0, 49.0, 98.0], [1.0, 49.0, 49.0, 1.0])
        """
        values = table(columns, list(columns))
        if not len(values):
            raise ConfigError("A reference is of one row or more: got none.")
        draws = np.random.default_rng([seed, TIES]).random(values.shape)
        places = np.unique(np.round(np.linspace(0, len(values) - 1, edges)).astype(int))
        order = np.lexsort((draws, values), axis=0)[places]  # (K, J)
        ranks = np.diff(np.r_[0, places + 1, len(values) + 1]).astype(float)
        edged, ties = (np.take_along_axis(part, order, 0) for part in (values, draws))
        return cls(tuple(columns), edged, ties, ranks, names_in(columns))

    def only(self, names: Sequence[str]) -> Sketch:
        """Of some of the columns."""
        kept = [self.names.index(name) for name in names]
        return Sketch(tuple(names), self.edges[:, kept], self.ties[:, kept], self.ranks, self.categories)

    def bins(self, values: Floats, draws: Floats) -> Places:
        """Bins 0..K of values (N, J) whose ties are broken by draws (N, J)."""
        below = self.edges < values[:, None]  # (N, K, J)
        tied = (self.edges == values[:, None]) & (self.ties < draws[:, None])
        return np.asarray((below | tied).sum(1))

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        ties = self.ties.astype(np.float32)
        names = packed([self.names, sorted(self.categories)])
        return {"names": names, "edges": self.edges, "ties": ties, "ranks": self.ranks}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Sketch:
        """Take back what `to_arrays` gave; KeyError or ValueError if something is missing or does not fit."""
        names, categories = unpacked(arrays["names"])
        edges, ties, ranks = (np.asarray(arrays[name], float) for name in ("edges", "ties", "ranks"))
        if edges.shape != ties.shape or edges.shape != (len(ranks) - 1, len(names)):
            raise ValueError(f"a sketch of {len(names)} columns with edges {edges.shape} and ranks {ranks.shape}")
        return cls(tuple(names), edges, ties, ranks, frozenset(categories))


def packed(value: Any) -> npt.NDArray[np.uint8]:
    """Anything JSON-able as an array of bytes, to lie among arrays."""
    return np.frombuffer(json.dumps(value).encode(), np.uint8).copy()


def unpacked(array: Any) -> Any:
    """Take back what `packed` gave.

    >>> unpacked(packed(["a", 1]))
    ['a', 1]
    """
    return json.loads(np.asarray(array, np.uint8).tobytes())


class Urn:
    """Places u of later rows among the reference, and which bins the newest fell into.

    >>> urn = Urn(Sketch.of({"x": np.arange(1000.0)}))
    >>> u = urn.place(np.array([[-5.0], [500.0], [2000.0]]), np.random.default_rng(0))
    >>> u.shape, bool(u[0, 0] < 0.001), bool(u[2, 0] > 0.999)
    ((3, 1), True, True)
    """

    def __init__(self, sketch: Sketch, memory: float = 100.0) -> None:
        self.sketch = sketch
        self.kept = 1 - 1 / memory
        self.later = np.zeros((len(sketch.ranks), len(sketch.names)))
        """s (K + 1, J)."""
        self.recent = np.zeros_like(self.later)
        """The same, older rows discounted."""

    def place(self, values: Floats, rng: np.random.Generator) -> Floats:
        """Places u (N, J) of values (N, J), in order."""
        draws = rng.random((2, *values.shape))
        found = []
        for start in range(0, len(values), 64):
            piece = slice(start, start + 64)
            found.append(self._place(self.sketch.bins(values[piece], draws[0, piece]), draws[1, piece]))
        return np.concatenate(found) if found else np.empty(values.shape)

    def _place(self, bins: Places, draws: Floats) -> Floats:
        hits = np.zeros((len(bins), *self.later.shape))  # (N, K + 1, J)
        np.put_along_axis(hits, bins[:, None], 1.0, 1)
        start = (self.later + self.sketch.ranks[:, None])[None]
        after = running(np.add, np.concatenate([start, hits]))  # (N + 1, K + 1, J)
        reached = running(np.add, after[:-1].swapaxes(0, 1).copy())  # (K + 1, N, J), up to and with each bin
        last = np.take_along_axis(reached, bins[None], 0)[0]
        own = np.take_along_axis(after[:-1], bins[:, None], 1)[:, 0]
        self.later = after[-1] - self.sketch.ranks[:, None]
        ages = self.kept ** np.arange(len(bins) - 1, -1, -1.0)
        self.recent = self.recent * self.kept ** len(bins) + np.tensordot(ages, hits, 1)
        return np.asarray((last - own + draws * own) / reached[-1])

    def moved(self) -> Floats:
        """Total variation distance (J,) of the newest rows to the reference, over the bins: 0 the same, 1 apart."""
        shares = self.recent / np.maximum(self.recent.sum(0), 1e-12)
        known = (self.sketch.ranks / self.sketch.ranks.sum())[:, None]
        return np.asarray(0.5 * np.abs(shares - known).sum(0) * (self.recent.sum(0) > 0))

    def outside(self) -> tuple[Floats, Floats]:
        """Shares (J,) of the newest rows below the smallest reference value, and above the largest; 0 for names."""
        shares = self.recent / np.maximum(self.recent.sum(0), 1e-12)
        ordered = np.array([name not in self.sketch.categories for name in self.sketch.names])
        return shares[0] * ordered, shares[-1] * ordered

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved."""
        return {"later": self.later, "recent": self.recent}

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `to_arrays` gave."""
        self.later, self.recent = (np.array(arrays[name], float) for name in ("later", "recent"))
