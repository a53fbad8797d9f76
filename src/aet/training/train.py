"""`aet.train`: a table in, a model out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from aet.config import Config
from aet.model import Model
from aet.rows import check_rows
from aet.schema import Schema, infer
from aet.tables import read_table
from aet.training.display import epoch_bar, say
from aet.training.gather import gather
from aet.training.loop import fit
from aet.training.split import split


def train(
    source: Any,
    target: str | list[str] | None = None,
    *,
    seed: int | None = None,
    groups: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    id: str | None = None,
    time: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    ignore: Any = None,
    header: bool | str | None = None,
    out: str | Path | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    progress: bool = False,
) -> Model:
    """Train a model on a table.

    Args:
        source: CSV, TSV, Parquet, JSONL (each may be .gz), NumPy, pandas, polars, Arrow or a Hugging Face data set.
        target: the column to answer; several 0/1 columns for several yes-or-no answers.
        groups: several number columns as one token, `{"s00": ["s00_f0", "s00_f1"]}` or `{"s00": "s00_f0:s00_f7"}`.
        kinds: column kinds where the inferred ones are wrong: number, category, text, image, ignore.
        id, time, group, weight: columns with these roles; time and group decide what is held out for validation.
        out: run folder; a run that was interrupted there is taken up again exactly.
        config: settings (`aet.config.Config`) as YAML file or mapping; arguments above may stand there under `data`.
        progress: show a progress bar.

    Raises:
        DataError, SchemaError, ConfigError, RunError: each says what was wrong and how to mend it.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame, target="sign", config={"train": {"epochs": 10}})
    >>> model.predict(frame.head(2)).columns.tolist()
    ['id', 'prediction', 'confidence', 'problem']
    """
    settings = Config.read(config) if seed is None else Config.read(config, seed=seed)
    given = {
        "target": target,
        "groups": groups,
        "kinds": kinds,
        "id": id,
        "time": time,
        "group": group,
        "weight": weight,
        "ignore": ignore,
        "header": header,
    }
    data = {**settings.data, **{name: value for name, value in given.items() if value is not None}}
    settings = settings.model_copy(update={"data": data})
    options = dict(data)
    frame = read_table(source, header=options.pop("header", "infer"))
    schema = infer(frame, options.pop("target", None), **options)
    return train_on(frame, schema, settings, Path(out) if out is not None else None, progress)


def train_on(frame: Any, schema: Schema, config: Config, out: Path | None = None, progress: bool = False) -> Model:
    """Train on a table whose schema is known."""
    started = time.monotonic()
    checked = check_rows(frame, schema, need_target=True)
    rows, held = split(checked.frame, schema, config.train.valid, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Model(schema, config).fit_columns(checked.frame.iloc[rows])
    train_rows, valid_rows = (model.encode(checked.frame.iloc[index], target=True) for index in (rows, held))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if progress:
        say(schema, len(rows), len(held), checked.problems, config)
    with epoch_bar(config.train.epochs, model.output.metric, shown=progress) as on_epoch:
        history = fit(model, train_rows, valid_rows, out, on_epoch)
    assert valid_rows.target is not None
    model.output.calibrate(model.logits(valid_rows), valid_rows.target)
    model.statistics = gather(model, checked.frame.iloc[rows], train_rows, valid_rows)
    model.report = {
        "rows": len(rows),
        "quarantined": len(checked.problems),
        "valid": model.output.metrics(model.logits(valid_rows), valid_rows.target),
        "history": history,
        "seconds": round(time.monotonic() - started, 3),
    }
    if out is not None:
        model.save(out)
        (out / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in history), encoding="utf-8")
        (out / "checkpoint.safetensors").unlink(missing_ok=True)
    return model
