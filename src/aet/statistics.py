"""Source statistics: what a model keeps of its training data. Moments, never rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.attention.state import load_tensors
from aet.errors import RunError
from aet.schema import Schema

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass
class Moments:
    """Mean and standard deviation per channel of one layer's activations over unpadded tokens, (dim,) each."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, tokens: Tensor, mask: Tensor | None = None) -> Moments:
        """Moments of tokens (B, T, dim), those where mask (B, T) is False aside; keeps the gradient."""
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

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by name."""
        named = {"entropy": self.entropy}
        for i, layer in enumerate(self.layers):
            named |= {f"layers.{i}.mean": layer.mean, f"layers.{i}.std": layer.std}
        for name, tensor in (("label_mix", self.label_mix), ("confusion", self.confusion)):
            if tensor is not None:
                named[name] = tensor
        return {name: t.detach().cpu().contiguous() for name, t in named.items()}

    @classmethod
    def load(cls, path: Path, summary: Mapping[str, Any]) -> SourceStatistics:
        """Read what `tensors` gave, saved as safetensors, and the JSON-able rest."""
        named = load_tensors(path)
        try:
            count = sum(name.endswith(".mean") for name in named)
            layers = [Moments(named[f"layers.{i}.mean"], named[f"layers.{i}.std"]) for i in range(count)]
            return cls(
                layers=layers,
                label_mix=named.get("label_mix"),
                confusion=named.get("confusion"),
                entropy=named["entropy"],
                columns=dict(summary["columns"]),
                attention=list(summary["attention"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} and schema.json hold other statistics than expected: {error} is missing or of a wrong type. "
                "Copy the run folder again as a whole, or train again."
            ) from error


def describe_columns(frame: pd.DataFrame, schema: Schema) -> dict[str, dict[str, Any]]:
    """Quantiles of numbers, shares of categories, lengths of texts, brightness of images: enough to see drift.

    >>> import pandas as pd
    >>> from aet.schema import infer
    >>> frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": ["a", "b", "a"]})
    >>> describe_columns(frame, infer(frame, "y"))["x"]["quantiles"][2]
    1.0
    """
    kinds = {column: (spec.name, spec.kind) for spec in schema.inputs for column in spec.columns}
    return {
        column: {"input": name, "kind": kind, **describe(frame[column], kind)} for column, (name, kind) in kinds.items()
    }


def describe(cells: pd.Series, kind: str) -> dict[str, Any]:
    """Summary of one column."""
    missing = float(cells.isna().mean()) if len(cells) else 0.0
    if kind == "category":
        shares = cells.dropna().astype(str).value_counts(normalize=True)
        return {"missing": missing, "shares": {str(k): float(v) for k, v in shares.iloc[:50].items()}}
    return {"missing": missing, **quantiles(measure(cells, kind))}


def measure(cells: pd.Series, kind: str) -> np.ndarray:
    """A number a row: the value, the length of a text, the mean brightness of an image."""
    if kind == "number":
        return cells.to_numpy(np.float64)
    if kind == "text":
        return cells.fillna("").astype(str).str.len().to_numpy(np.float64)
    from aet.inputs.image import read_image

    return np.array([float(read_image(cell).mean()) for cell in cells])


def quantiles(values: np.ndarray) -> dict[str, Any]:
    """Five quantiles and the 21 that `monitoring.drift` compares."""
    values = values[~np.isnan(values)]
    if not len(values):
        return {"quantiles": [], "grid": []}
    return {
        "quantiles": np.quantile(values, QUANTILES).tolist(),
        "grid": np.quantile(values, np.linspace(0, 1, 21)).tolist(),
    }


@torch.no_grad()
def label_shares(target: Tensor, classes: int) -> Tensor:
    """Share of each class, none quite zero: (n_c + 1/2) / (n + C/2), (C,)."""
    counts = torch.bincount(target, minlength=classes).double() + 0.5
    return (counts / counts.sum()).float()
