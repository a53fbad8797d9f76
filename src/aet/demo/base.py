"""What a demonstration is, and how it runs: train, then serve what comes later, with few and late labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from aet.adaptation.replay import Replay, replay
from aet.model import Model
from aet.registry import Registry
from aet.training.display import row_bar
from aet.training.train import train

LABELS, DELAY = 48, 64
"""Late labels a part, and rows served before one comes."""


@dataclass(frozen=True)
class Demo:
    """Rows to train on, arguments of `aet.train`, and the parts that are served afterwards, in order."""

    title: str
    rows: pd.DataFrame
    target: str
    parts: Sequence[tuple[str, pd.DataFrame]]
    training: Mapping[str, Any] = field(default_factory=dict)
    methods: Sequence[str] = ()


DEMOS: Registry[Callable[[int], Demo]] = Registry("demo")
"""Functions that prepare a demonstration from a seed."""


def learn(demo: Demo, out: Path, seed: int = 0, progress: bool = False) -> Model:
    """Train on the demonstration's rows, into the run folder `out`."""
    return train(demo.rows, demo.target, seed=seed, out=out, progress=progress, **demo.training)


def serve(demo: Demo, model: Model, seed: int = 0, progress: bool = False) -> Replay:
    """Replay the demonstration's parts as a deployed stream."""
    return replay(
        model,
        demo.parts,
        labels=LABELS,
        delay=DELAY,
        adapt="auto",
        guard="earned",
        methods=demo.methods,
        seed=seed,
        title=demo.title,
        bar=row_bar if progress else None,
    )
