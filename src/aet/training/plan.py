"""What an update starts from: the new rows, the kept ones, the grown copy of the model, and the settings."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch
from aet.config import Config
from aet.errors import ConfigError, DataError, SchemaError
from aet.model import Model
from aet.rows import check_rows
from aet.schema import Schema
from aet.series_windows import table_of
from aet.training.cost import Rows, afforded
from aet.training.optimizers import own_rate
from aet.training.split import split

FASTER = 2.0
"""The rate of an update over that of the training."""
WITH_ROWS: dict[str, dict[str, Any]] = {}
WITHOUT_ROWS: dict[str, dict[str, Any]] = {"moment_replay": {}}
AT_EACH_PLACE: dict[str, dict[str, Any]] = {"lwf": {}}
"""Switches that are on by default where rows are kept, and where they are not."""


@dataclass(frozen=True)
class Parts:
    """Checked rows, and which of them are trained on and which are held out."""

    frame: pd.DataFrame
    rows: np.ndarray
    held_rows: np.ndarray
    aside: int = 0
    """Rows that could not be used."""

    @classmethod
    def of(cls, model: Model, frame: pd.DataFrame, known: bool = False) -> Parts:
        """A table, split as `aet.train` splits it; with `known`, of rows that have an answer the model can give."""
        checked = check_rows(frame, model.schema, need_target=True)
        good = checked.frame
        if known:
            _, fits = model.output.encode_known(good)
            if not fits.any():
                raise DataError(
                    "No row of `old` has an answer that the model can give. Give the rows it was trained on."
                )
            good = good[fits].reset_index(drop=True)
        rows, held = split(good, model.schema, model.config.train.valid, model.config.seed)
        return cls(good, rows, held, len(checked.problems))

    @property
    def train(self) -> pd.DataFrame:
        """The rows to train on."""
        return self.frame.iloc[self.rows]

    @property
    def held(self) -> pd.DataFrame:
        """The others."""
        return self.frame.iloc[self.held_rows]


@dataclass(frozen=True)
class Plan:
    """One update, ready to be learned."""

    model: Model
    """As it was; it does not change."""
    grown: Model
    """The copy that learns, with a place for every class."""
    classes: list[Any]
    """Those that were added."""
    new: Parts
    old: Parts | None
    """What the user gave to measure and compare with."""
    train: Batch
    valid: Batch
    kept: Batch | None
    """The reservoir's rows that are replayed, and those held out, weighted by what they stand for."""
    kept_held: Batch | None
    settings: Config

    @classmethod
    def of(cls, model: Model, source: Any, old: Any, config: Mapping[str, Any] | str | Path | None) -> Plan:
        """Read, check, split and encode; errors as in `update`."""
        frame = table_of(source, model.config.data)
        refuse_columns(frame, model.schema)
        new = Parts.of(model, frame)
        known = None if old is None else Parts.of(model, table_of(old, model.config.data), known=True)
        grown = copy.deepcopy(model)
        grown.output.grown = 0
        classes = grown.output.grow(new.train)
        train, valid = (weighed(grown.encode(part, target=True), model.schema) for part in (new.train, new.held))
        kept, kept_held = (model.reservoir.part(held) if model.reservoir else None for held in (False, True))
        rows = Rows(*(len(a) + (0 if b is None else len(b)) for a, b in ((train, kept), (valid, kept_held))))
        settings = update_config(model, config, len(train), rows)
        return cls(model, grown, classes, new, known, train, valid, kept, kept_held, settings)

    @property
    def everything(self) -> Batch:
        """New and replayed rows."""
        return joined(self.train, self.kept)

    @property
    def judged(self) -> Batch:
        """New and old held-out rows, by which the best epoch is chosen."""
        return joined(self.valid, self.kept_held)

    @property
    def measure(self) -> pd.DataFrame | Batch | None:
        """Old held-out rows that forgetting is measured on: of the user's, else of the reservoir's, else none."""
        return self.old.held if self.old is not None else self.kept_held

    @property
    def tasks(self) -> Tensor | None:
        """With which training or update each of these rows came, where it is known."""
        if self.old is not None or self.kept_held is None or self.model.reservoir is None:
            return None
        return self.model.reservoir.task[self.model.reservoir.held]

    @property
    def last(self) -> dict[str, Any]:
        """The record of the update before; empty for a trained model."""
        return dict(self.model.report.get("update", {}))

    @property
    def seen(self) -> int:
        """Rows that the model has learned so far."""
        return seen(self.model)


def seen(model: Model) -> int:
    """Rows that a model has learned so far."""
    known = model.reservoir.seen if model.reservoir else model.report.get("seen", model.report.get("rows", 0))
    return int(known)


def refuse_columns(frame: pd.DataFrame, schema: Schema) -> None:
    """SchemaError where a column is missing or new."""
    schema.check(frame, need_target=True)
    known = {*schema.input_columns, *schema.targets, *schema.roles.values(), *schema.ignored}
    new = [str(name) for name in frame.columns if name not in known]
    if new:
        shown = ", ".join(map(repr, new[:5])) + ", ..." * (len(new) > 5)
        raise SchemaError(
            f"The new rows have columns that the model was not trained with: {shown}. An update learns rows, not "
            f"columns: expected {len(schema.input_columns)} inputs and {', '.join(map(repr, schema.targets))}. Leave "
            "them out of the table, or train anew on all rows with them."
        )


def update_config(model: Model, given: Mapping[str, Any] | str | Path | None, new: int, rows: Rows) -> Config:
    """Settings of an update with so many new rows, and `rows` in all; ConfigError for what it cannot set or lacks."""
    chosen = Config.read(given).model_dump(exclude_unset=True)
    if other := sorted(set(chosen) - {"train"}):
        raise ConfigError(
            f"An update takes settings of its own under train alone, got {', '.join(other)}: the rest is the trained "
            "model's. Train anew to change it."
        )
    own, asked = model.config.train.model_dump(), dict(chosen.get("train", {}))
    without = AT_EACH_PLACE if model.output.reads == "last" else WITHOUT_ROWS
    switches = asked.get("switches", WITH_ROWS if model.reservoir else without)
    epochs, worlds = afforded(model, retrained_on(model, new), rows, switches)
    epochs = asked.get("epochs", epochs)
    rate = model.report.get("lr") or own_rate(model.config.train)
    fitted = {"epochs": epochs, "patience": epochs, "lr": FASTER * rate, "switches": switches, "rehearsals": worlds}
    # A server's retraining must not speak to a tracker that the first training was followed with.
    train = {**own, **fitted, "track": {}, **asked}
    if "ewc" in train["switches"] and not model.reservoir and not model.fisher:
        raise ConfigError(
            "The switch 'ewc' has to know which weights matter to the old rows, and this model keeps neither rows nor "
            "that. Train with train.keep_rows above 0 or with train.keep_fisher, or leave it out."
        )
    # The start is part of what a checkpoint is known by.
    data = {**model.config.data, "start": fingerprint(model)}
    return model.config.model_copy(update={"train": type(model.config.train).checked("train", train), "data": data})


def retrained_on(model: Model, new: int) -> Rows:
    """The rows of a retraining on everything, with so many new ones to train on."""
    share = model.config.train.valid
    # The reservoir has seen the held-out rows too.
    old = seen(model) * (1 - share) if model.reservoir else seen(model)
    return Rows(round(old + new), round((old + new) * share / (1 - share)))


def fingerprint(model: Model) -> str:
    """Sum of the weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weighed(rows: Batch, schema: Schema) -> Batch:
    """The rows with weights, 1 where none are declared; DataError where none counts."""
    if rows.weight is None:
        return replace(rows, weight=torch.ones(len(rows)))
    if not rows.weight.any():
        raise DataError(
            f"The weight column {schema.weight!r} is 0 in all new rows that are trained on, or in all that are held "
            "out: expected a weight above 0 among them, or nothing counts. Add rows that count."
        )
    return rows


def joined(new: Batch, kept: Batch | None) -> Batch:
    """New rows and kept ones; the latter count for as many rows as they stand for."""
    return new if kept is None else Batch.concat([new, kept])
