"""The runs that an update is shown beside, and how all of them are measured."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch
from aet.config import Config
from aet.model import Model
from aet.training import checkpoint
from aet.training.display import console, epoch_bar
from aet.training.loop import CHECKPOINT, fit, own_random
from aet.training.plan import Plan, joined
from aet.training.worth import paired


@dataclass
class Learned:
    """A trained model, its history and the seconds of its training."""

    model: Model
    history: list[dict[str, Any]]
    seconds: float


def learn(
    model: Model,
    settings: Config,
    train: Batch,
    valid: Batch,
    folder: Path | None,
    shown: str,
    watch: Callable[[dict[str, Any]], None] = lambda record: None,
) -> Learned:
    """`fit` under other settings than the model's own, which it keeps; an interrupted run counts the epochs it did.

    `watch` sees the record of each epoch.
    """
    own, started = model.config, time.monotonic()
    model.config = settings
    try:
        if shown:
            console().print(f"{shown}:", highlight=False, markup=False)
        with epoch_bar(settings.train.epochs, model.output.metric, shown=bool(shown)) as on_epoch:

            def seen(record: dict[str, Any]) -> None:
                on_epoch(record)
                watch(record)

            history = fit(model, train, valid, folder, seen)
    finally:
        model.config = own
    spent = max(time.monotonic() - started, sum(record["seconds"] for record in history))
    return Learned(model, history, round(spent, 3))


def measured_runs(
    plan: Plan, run: Learned, compare: bool, folder: Path | None, progress: bool
) -> tuple[dict[str, Any], list[str]]:
    """Figures of the model before, of the update and of the runs beside it; and what is missing, in sentences."""
    was = None if plan.measure is None else scores(plan.model, plan.measure)
    made: dict[str, Learned | None] = {"update": run}
    if compare:
        place = folder / "beside" if folder else None
        made["scratch"] = from_scratch(plan, place, progress)
        made["fine_tuning"] = fine_tuned(plan, place, progress)
    runs = {"before": measured(plan, plan.model, was)}
    for name, learned in made.items():
        if learned is not None:
            runs[name] = {**measured(plan, learned.model, was), "seconds": learned.seconds}
    missing = []
    if was is None:
        missing.append("Forgetting is not known: there are no old rows to measure it on.")
    if compare and "scratch" not in runs:
        missing.append(
            "Retraining from scratch on everything needs the old rows: give them as `old`, or train with "
            "train.keep_rows above 0."
        )
    elif compare and plan.old is None:
        missing.append("Retrained from scratch on the kept rows, each for as many as it stands for, not on all.")
    return runs, missing


def from_scratch(plan: Plan, folder: Path | None, progress: bool) -> Learned | None:
    """A model of the same settings trained on everything: all old rows if given, else the kept; None without either."""
    old, grown = plan.old, plan.grown
    if old is None and plan.kept is None:
        return None
    with own_random():
        torch.manual_seed(grown.config.seed)
        fresh = Model(grown.schema, grown.config)
        if old is not None:
            frames = [pd.concat(pair) for pair in ((old.train, plan.new.train), (old.held, plan.new.held))]
            fresh.fit_columns(frames[0].reset_index(drop=True))
            train, valid = (fresh.encode(frame[fresh.output.encode_known(frame)[1]], target=True) for frame in frames)
        else:
            for (_, part), (_, source) in zip(fresh.parts(), grown.parts(), strict=True):
                part.load_settings(source.settings())
            fresh.output.load_settings(grown.output.settings())
            fresh.build()
            learned = {name: t for name, t in grown.named_buffers() if name in fresh.state_dict()}
            fresh.load_state_dict(learned, strict=False)
            train, valid = joined(plan.train, plan.kept), joined(plan.valid, plan.kept_held)
    return aside(fresh, grown.config, train, valid, folder, "retraining from scratch" if progress else "")


def fine_tuned(plan: Plan, folder: Path | None, progress: bool) -> Learned:
    """From the same start with the same settings on the new rows alone, and nothing against forgetting."""
    plain = copy.deepcopy(plan.model)
    plain.output.grow(plan.new.train)
    train = plan.settings.train.model_copy(update={"switches": {}})
    alone = plan.settings.model_copy(update={"train": train})
    shown = "fine-tuning on the new rows alone" if progress else ""
    return aside(plain, alone, plan.train, plan.valid, folder, shown)


def aside(model: Model, settings: Config, train: Batch, valid: Batch, folder: Path | None, shown: str) -> Learned:
    """`learn`, taken up again where it was interrupted; nothing of it stays."""
    if folder is None:
        return learn(model, settings, train, valid, None, shown)
    folder.mkdir(parents=True, exist_ok=True)
    made = learn(model, settings, train, valid, folder, shown)
    checkpoint.remove(folder / CHECKPOINT)
    folder.rmdir()
    return made


def scores(model: Model, rows: pd.DataFrame | Batch) -> Tensor:
    """How right each row is (N,); 0 where the answer is one that the model cannot give."""
    if isinstance(rows, Batch):
        assert rows.target is not None
        return model.output.scores(model.logits(rows), rows.target).double()
    target, known = model.output.encode_known(rows)
    found = torch.zeros(len(rows), dtype=torch.float64)
    if known.any():
        right = model.output.scores(model.logits(model.encode(rows[known])), target)
        found[torch.from_numpy(known)] = right.double()
    return found


def measured(plan: Plan, model: Model, was: Tensor | None) -> dict[str, Any]:
    """Scores on old and on new held-out rows; forgetting, its 95 % interval and backward transfer in points."""
    found: dict[str, Any] = {"old": None, "new": float(scores(model, plan.new.held).mean())}
    if plan.measure is None or was is None:
        return found
    now = scores(model, plan.measure)
    mean, half = (100 * min(value, 1.0) for value in paired(was - now))
    found |= {"old": float(now.mean()), "forgetting": mean, "interval": [mean - half, mean + half]}
    learned = plan.last.get("learned", []) or [float(was.mean())]
    found["backward_transfer"] = backward_transfer(now, plan.tasks, learned, was)
    return found


def backward_transfer(now: Tensor, task: Tensor | None, learned: list[float], was: Tensor) -> float:
    """Mean over earlier tasks of the score now less the score when the task was learned, in points.

    Without tasks all old rows are one, learned when they scored `was`.

    >>> now, task = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1])
    >>> backward_transfer(now, task, [1.0, 1.0], now)
    -25.0
    """
    if task is None:
        return 100 * float((now - was).mean())
    gains = [float(now[task == i].mean()) - score for i, score in enumerate(learned) if bool((task == i).any())]
    return 100 * sum(gains) / max(len(gains), 1)
