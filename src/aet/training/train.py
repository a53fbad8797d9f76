"""`aet.train`: a table in, a model out."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aet.config import Config
from aet.errors import ConfigError, DataError, nearest
from aet.inputs.selection import select
from aet.model import Model
from aet.rows import check_rows
from aet.run import make_folder
from aet.schema import Schema, infer
from aet.tables import read_table
from aet.training import checkpoint
from aet.training.display import epoch_bar, say
from aet.training.gather import gather
from aet.training.loop import CHECKPOINT, fit, own_random
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
    ignore: str | Sequence[str] | None = None,
    output: str | None = None,
    header: bool | str | None = None,
    out: str | Path | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    progress: bool = False,
) -> Model:
    """Train a model on a table.

    Args:
        source: CSV, TSV, Parquet, JSONL (each may be .gz), NumPy, pandas, polars, Arrow or a Hugging Face data set.
        target: the column to answer; several 0/1 columns for several yes-or-no answers.
        seed: of the split, the weights and the drift; the same seed on the same rows gives the same bits.
        groups: several number columns as one token, `{"s00": ["s00_f0", "s00_f1"]}` or `{"s00": "s00_f0:s00_f7"}`.
        kinds: column kinds where the inferred ones are wrong: number, category, text, image, ignore.
        id: column with one name a row, given back with the answers.
        time: column by which rows are ordered; the latest are held out for validation.
        group: column whose groups are held out as a whole; with `time` too, those that end latest.
        weight: column that says how much a row counts in the loss; 2 is the row given twice, 0 the row left out.
        ignore: column or columns to leave out.
        output: kind of the answer where the inferred one is wrong: label, multilabel, number.
        header: whether a delimited file's first row holds names; found out by itself unless given.
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
        "output": output,
        "header": header,
    }
    for name in settings.data:
        if name not in given:
            raise ConfigError(f"The setting data.{name} is unknown. {nearest(name, given)}")
    data = plain({**settings.data, **{name: value for name, value in given.items() if value is not None}})
    settings = settings.model_copy(update={"data": data})
    options = dict(data)
    frame = read_table(source, header=options.pop("header", "infer"))
    schema = infer(frame, options.pop("target", None), **options)
    return train_on(frame, schema, settings, Path(out) if out is not None else None, progress)


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, dicts, texts and numbers only, as the run folder keeps them: a pandas index of names becomes a list."""

    def unpacked(value: Any) -> Any:
        return dict(value) if isinstance(value, Mapping) else list(value)

    try:
        kept: dict[str, Any] = json.loads(json.dumps(data, default=unpacked))
    except TypeError as error:
        raise ConfigError(f"Column names and kinds must be texts, alone or in lists: {error}. Got {data}.") from error
    return kept


def train_on(frame: Any, schema: Schema, config: Config, out: Path | None = None, progress: bool = False) -> Model:
    """Train on a table whose schema is known."""
    started = time.monotonic()
    checked = check_rows(frame, schema, need_target=True)
    rows, held = split(checked.frame, schema, config.train.valid, config.seed)
    schema, columns = select(checked.frame.iloc[rows], schema, config.columns)
    with own_random():
        torch.manual_seed(config.seed)
        model = Model(schema, config).fit_columns(checked.frame.iloc[rows])
    train_rows, valid_rows = (model.encode(checked.frame.iloc[index], target=True) for index in (rows, held))
    for name, part in (("training", train_rows), ("validation", valid_rows)):
        if part.weight is not None and not part.weight.any():
            raise DataError(
                f"The weight column {schema.weight!r} is 0 in all {len(part)} {name} rows: expected a weight above 0 "
                "among them, or nothing counts. Add rows that count, or leave the weight undeclared."
            )
    if out is not None:
        make_folder(out)
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
        "columns": columns if model.gate is None else {**columns, "weights": model.column_weights()},
        "history": history,
        "seconds": round(time.monotonic() - started, 3),
    }
    if out is not None:
        model.save(out)
        (out / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in history), encoding="utf-8")
        checkpoint.remove(out / CHECKPOINT)
    return model
