"""Source statistics: what a model keeps of its training data. Moments, never rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.attention.state import load_tensors, under
from aet.cells import CELLS
from aet.errors import RunError
from aet.monitoring.performance import HeldOut
from aet.monitoring.reference import Reference
from aet.plain_rows import picked
from aet.schema import Schema
from aet.token_moments import TokenMoments

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

HELD_OUT, WATCH = "held_out.", "watch."

NAMED, OTHER = 50, "other values"
"""Categories of a column that are kept by name, the commonest, and the name of all others together."""


@dataclass
class Moments:
    """Mean and standard deviation per channel of one layer's activations over unpadded tokens, (dim,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, tokens: Tensor, mask: Tensor | None = None) -> Moments:
        """Moments of tokens (B, T, dim), those where mask (B, T) is False aside; keeps the gradient.

        Of the k members of an ensemble, tokens (B·k, T, dim), the mask is each row's own.
        """
        if mask is not None and len(mask) != len(tokens):
            mask = mask.repeat_interleave(len(tokens) // len(mask), 0)
        flat = tokens.flatten(0, 1) if mask is None else tokens[mask]  # (N, dim)
        mean = flat.mean(0)
        # The root is kept away from zero, where its slope is infinite.
        return cls(mean, ((flat - mean).square().mean(0) + 1e-6).sqrt())


@dataclass
class SourceStatistics:
    """Per layer: activation moments. Per output: label mix, confusion, entropy. Per column: quantiles or shares."""

    layers: list[Moments]
    label_mix: Tensor | None
    """Share of each class, (C,)."""
    confusion: Tensor | None
    """Row: true class, column: predicted, on validation rows; joint shares (C, C)."""
    entropy: Tensor
    """101 quantiles of the uncertainty on validation rows."""
    columns: dict[str, dict[str, Any]]
    attention: list[float]
    """Mean focus on each token."""
    tokens: TokenMoments | None = None
    """What rows like the training rows are drawn from; None where that would take too much room."""
    classes: list[Moments] | None = None
    """Per layer: activation moments of the rows of each class, (C, dim); None without classes or with very many."""
    fisher: dict[str, Tensor] | None = None
    """Per dial: mean squared slope of -log p(the row's own class) at the source; None without probabilities."""
    norms: dict[str, Moments] | None = None
    """Per norm, by its name: moments of its output over unpadded tokens; None for a model of an older version."""
    confusion_rows: int | None = None
    """Of how many rows `confusion` is."""

    inputs: dict[str, Tensor] | None = None
    """Per input with a gain and an offset: quantile levels of each class, (C, K, D); C is 1 for other answers."""
    rehearsals: dict[str, Tensor] | None = None
    """What came of adaptation in simulated worlds (`aet.adaptation.rehearsed`)."""
    held_out: HeldOut | None = None
    """How sure and how right the answers to the held-out rows were; None for numbers, and for runs written before."""
    watch: Reference | None = None
    """What drift is measured against (`aet.monitoring.watching`); None for runs written before."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by name."""
        named = {"entropy": self.entropy}
        for i, layer in enumerate(self.layers):
            named |= {f"layers.{i}.mean": layer.mean, f"layers.{i}.std": layer.std}
        for i, layer in enumerate(self.classes or []):
            named |= {f"classes.{i}.mean": layer.mean, f"classes.{i}.std": layer.std}
        for sort, kept in (("fisher", self.fisher), ("inputs", self.inputs), ("rehearsals", self.rehearsals)):
            named |= {f"{sort}.{name}": t for name, t in (kept or {}).items()}
        for name, norm in (self.norms or {}).items():
            named |= {f"norms.{name}.mean": norm.mean, f"norms.{name}.std": norm.std}
        if self.confusion_rows is not None:
            named["confusion_rows"] = torch.tensor(self.confusion_rows)
        for name, tensor in (("label_mix", self.label_mix), ("confusion", self.confusion)):
            if tensor is not None:
                named[name] = tensor
        named |= self.tokens.tensors() if self.tokens else {}
        if self.held_out is not None:
            named |= {f"{HELD_OUT}{n}": torch.from_numpy(a) for n, a in self.held_out.to_arrays().items()}
        if self.watch is not None:
            named |= {f"{WATCH}{n}": torch.from_numpy(np.asarray(a)) for n, a in self.watch.to_arrays().items()}
        return {name: t.detach().cpu().contiguous() for name, t in named.items()}

    @classmethod
    def load(cls, path: Path, summary: Mapping[str, Any]) -> SourceStatistics:
        """Read what `tensors` gave, saved as safetensors, and the JSON-able rest."""
        named = load_tensors(path)
        try:
            return cls(
                layers=stored_moments(named, "layers"),
                label_mix=named.get("label_mix"),
                confusion=named.get("confusion"),
                entropy=named["entropy"],
                columns=dict(summary["columns"]),
                attention=list(summary["attention"]),
                tokens=TokenMoments.read(named),
                classes=stored_moments(named, "classes") or None,
                fisher=under("fisher.", named) or None,
                inputs=under("inputs.", named) or None,
                rehearsals=under("rehearsals.", named) or None,
                held_out=read_held_out(named),
                watch=read_watch(named),
                norms=stored_norms(named) or None,
                confusion_rows=int(named["confusion_rows"]) if "confusion_rows" in named else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} and schema.json hold other statistics than expected: {error} is missing or of a wrong type. "
                "Copy the run folder again as a whole, or train again."
            ) from error


def stored_moments(named: Mapping[str, Tensor], sort: str) -> list[Moments]:
    """Moments of each layer from tensors named `{sort}.{layer}.mean` and `.std`."""
    count = sum(name.endswith(".mean") for name in under(f"{sort}.", named))
    return [Moments(named[f"{sort}.{i}.mean"], named[f"{sort}.{i}.std"]) for i in range(count)]


def read_held_out(named: Mapping[str, Tensor]) -> HeldOut | None:
    """What `SourceStatistics.tensors` wrote of it; None where it wrote nothing."""
    own = {name: t.numpy() for name, t in under(HELD_OUT, named).items()}
    return HeldOut.from_arrays(own) if own else None


def read_watch(named: Mapping[str, Tensor]) -> Reference | None:
    """The same of the reference for drift."""
    own = {name: t.numpy() for name, t in under(WATCH, named).items()}
    return Reference.from_arrays(own) if own else None


def stored_norms(named: Mapping[str, Tensor]) -> dict[str, Moments]:
    """Moments of each norm from tensors named `norms.{norm}.mean` and `.std`."""
    norms = [name.removesuffix(".mean") for name in under("norms.", named) if name.endswith(".mean")]
    return {norm: Moments(named[f"norms.{norm}.mean"], named[f"norms.{norm}.std"]) for norm in norms}


def describe_columns(frame: pd.DataFrame, schema: Schema) -> dict[str, dict[str, Any]]:
    """Quantiles of numbers, shares of categories, of other kinds quantiles of what is measured: enough to see drift.

    >>> import pandas as pd
    >>> from aet.schema import infer
    >>> frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": ["a", "b", "a"]})
    >>> describe_columns(frame, infer(frame, "y"))["x"]["quantiles"][2]
    1.0
    """
    return describe_measured(measured(frame, schema), schema)


def describe_measured(
    frame: pd.DataFrame, schema: Schema, source: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """`describe_columns` of what `measured` gave; with `source`, its own result there, categories are the source's."""
    kinds = {column: (spec.name, spec.kind) for spec in schema.inputs for column in spec.columns}
    known = source or {}
    return {
        column: {"input": name, "kind": kind, **describe(frame[column], kind, known.get(column, {}).get("shares"))}
        for column, (name, kind) in kinds.items()
    }


def measured(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """What is compared of each input cell, a few bytes: categories as text, else a number; missing cells stay so."""
    kinds = {column: spec.kind for spec in schema.inputs for column in spec.columns}
    if set(kinds.values()) == {"number"}:
        return picked(frame, list(kinds)).astype(np.float64)
    return pd.DataFrame({column: CELLS[kind].measured(frame[column]) for column, kind in kinds.items()}, frame.index)


def describe(cells: pd.Series, kind: str, known: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Summary of one measured column; `known` are the shares of the source, where there is one."""
    missing = float(cells.isna().mean()) if len(cells) else 0.0
    if kind != "category":
        return {"missing": missing, **quantiles(cells.to_numpy(np.float64))}
    shares = {str(value): float(share) for value, share in cells.value_counts(normalize=True).items()}
    # New values keep their names where the source has named all of its own.
    named = list(shares)[:NAMED] if known is None else known if OTHER in known else shares
    return {"missing": missing, "shares": pooled(shares, named)}


def pooled(shares: Mapping[str, float], named: Iterable[str]) -> dict[str, float]:
    """Shares of the values `named`; of all others together, under OTHER.

    >>> pooled({"a": 0.5, "b": 0.25, "c": 0.25}, ["a", "z"])
    {'a': 0.5, 'other values': 0.5}
    """
    kept = {name: shares[name] for name in named if name in shares and name != OTHER}
    rest = sum(share for name, share in shares.items() if name not in kept)
    return {**kept, OTHER: rest} if rest else kept


def quantiles(values: np.ndarray) -> dict[str, Any]:
    """Five quantiles and the 21 that `monitoring.drift` compares."""
    values = values[~np.isnan(values)]
    if not len(values):
        return {"quantiles": [], "grid": []}
    return {
        "quantiles": np.quantile(values, QUANTILES).tolist(),
        "grid": np.quantile(values, np.linspace(0, 1, 21)).tolist(),
    }


def merged_columns(
    old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]], seen: float, given: float
) -> dict[str, dict[str, Any]]:
    """Summaries of `seen` and of `given` rows as one: quantiles of the mixture of their grids, shares in proportion.

    >>> one, two = ({"x": {"missing": 0.0, "shares": {"a": share, "b": 1 - share}}} for share in (1.0, 0.5))
    >>> merged_columns(one, two, 30, 10)["x"]["shares"]
    {'a': 0.875, 'b': 0.125}
    """
    parts = [seen / (seen + given), given / (seen + given)]
    merged: dict[str, dict[str, Any]] = {}
    for column, first in old.items():
        pair = (first, new[column])
        both = {**first, "missing": sum(p * d["missing"] for p, d in zip(parts, pair, strict=True))}
        there = [p * (1 - d["missing"]) for p, d in zip(parts, pair, strict=True)]
        total = sum(there) or 1.0
        if "shares" in first:
            shares: dict[str, float] = {}
            for part, d in zip(there, pair, strict=True):
                for name, share in d["shares"].items():
                    shares[name] = shares.get(name, 0.0) + part * share / total
            common = sorted((name for name in shares if name != OTHER), key=lambda name: -shares[name])
            both["shares"] = pooled(shares, common[:NAMED])
        else:
            grids = [(part, np.asarray(d["grid"])) for part, d in zip(there, pair, strict=True) if len(d["grid"])]
            both |= mixed_quantiles(grids) if grids else {}
        merged[column] = both
    return merged


def mixed_quantiles(grids: Sequence[tuple[float, np.ndarray]]) -> dict[str, Any]:
    """Quantiles of a mixture, each part given by its share and by evenly spaced quantiles."""
    fine = np.linspace(0, 1, 501)
    values = np.concatenate([np.interp(fine, np.linspace(0, 1, len(grid)), grid) for _, grid in grids])
    weights = np.repeat([part for part, _ in grids], len(fine))
    return {
        name: np.quantile(values, levels, weights=weights, method="inverted_cdf").tolist()
        for name, levels in (("quantiles", QUANTILES), ("grid", np.linspace(0, 1, 21)))
    }


@torch.no_grad()
def label_shares(target: Tensor, classes: int) -> Tensor:
    """Share of each class, none quite zero: (n_c + 1/2) / (n + C/2), (C,)."""
    counts = torch.bincount(target, minlength=classes).double() + 0.5
    return (counts / counts.sum()).float()
