"""`aet.train`: a table in, a model out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from aet.batch import Batch
from aet.config import Config
from aet.errors import ConfigError, DataError, RunError, nearest
from aet.inputs.selection import select
from aet.model import Model
from aet.ranks import leads
from aet.rows import check_rows
from aet.run import load, make_folder, write_history
from aet.schema import Schema, infer
from aet.series_windows import windowed
from aet.training import checkpoint
from aet.training.display import epoch_bar, say, say_acted, say_rate
from aet.training.gather import gather
from aet.training.loop import CHECKPOINT, fit, own_random
from aet.training.optimizers import own_schedule
from aet.training.parts import Switches, known_beforehand, turned_on, without
from aet.training.pretrain import PRETRAINED
from aet.training.reservoir import Reservoir
from aet.training.schedule import SCHEDULES
from aet.training.split import answerable, split
from aet.training.switch import switched_on
from aet.training.switches.ewc import FISHER, fisher
from aet.training.tracking import Track, Tracking, flat, followed
from aet.training.tunings import tunings
from aet.training.worth import FOLDER as COMPARE
from aet.training.worth import worth


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
    until: str | None = None,
    windows: Mapping[str, Any] | None = None,
    part: str | None = None,
    ignore: str | Sequence[str] | None = None,
    output: str | Mapping[str, str] | None = None,
    header: bool | str | None = None,
    out: str | Path | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    switches: Switches | None = None,
    compare: bool = False,
    track: Track | None = None,
    progress: bool = False,
) -> Model:
    """Train a model on a table.

    Args:
        source: CSV, TSV, CoNLL, Parquet, JSONL (each may be .gz), NumPy, pandas, polars, Arrow or a Hugging Face data
            set.
        target: the column to answer; several 0/1 columns for several yes-or-no answers.
        seed: of the split, the weights and the drift; the same seed on the same rows gives the same bits.
        groups: several number columns as one token, `{"s00": ["s00_f0", "s00_f1"]}` or `{"s00": "s00_f0:s00_f7"}`.
        kinds: column kinds where the inferred ones are wrong: number, category, text, image, audio, words, series,
            events, ignore.
        id: column with one name a row, given back with the answers.
        time: column by which rows are ordered; the latest are held out for validation.
        group: column whose groups are held out as a whole; with `time` too, those that end latest.
        weight: column that says how much a row counts in the loss; 2 is the row given twice, 0 the row left out.
        until: column of times at which the answers are known, where that is later than `time`: training rows whose
            answer came after the first row held out are left out, so that nothing of what is held out is seen.
        windows: how to cut a table of measurements into rows to forecast, `{"lookback": 96, "horizon": 24}`; then
            `time` and the `target` columns are those of the table (see `aet.windows`).
        part: column that says of each row whether it is in "train" or in "valid", which is held out.
        ignore: column or columns to leave out.
        output: kind of the answer where the inferred one is wrong: label, multilabel, number, tags, forecast, rank,
            policy; sequence for texts of their own; several for targets of different kinds, or those kinds, `{"gas":
            "label", "ppm": "number"}`.
        header: whether a delimited file's first row holds names; found out by itself unless given.
        out: run folder; a run that was interrupted there is taken up again exactly.
        config: settings (`aet.config.Config`) as YAML file or mapping; arguments above may stand there under `data`.
            What is known beforehand stands under `graph` (a path, a list of edges, networkx) and `rules`.
        switches: adaptive parts of training to turn on: names, or names with their settings, `{"sam": {"rho": 0.1}}`.
        compare: train once more without each part that is on; `model.report["worth"]` says what each was worth.
        track: trackers that get the figures too: "tensorboard", "mlflow", "wandb", several of them in a list, or names
            with their settings, `{"mlflow": {"experiment": "gas"}}`.
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
    given = {
        "target": target,
        "groups": groups,
        "kinds": kinds,
        "id": id,
        "time": time,
        "group": group,
        "weight": weight,
        "until": until,
        "windows": windows,
        "part": part,
        "ignore": ignore,
        "output": output,
        "header": header,
    }
    frame, schema, settings = read_rows(source, given, config, seed, switches)
    settings = followed(settings, track)
    return train_on(frame, schema, settings, Path(out) if out is not None else None, progress, compare)


def read_rows(
    source: Any,
    given: Mapping[str, Any],
    config: Config | Mapping[str, Any] | str | Path | None,
    seed: int | None,
    switches: Switches | None = None,
) -> tuple[pd.DataFrame, Schema, Config]:
    """The table, its schema and the settings; `given` are the arguments that may stand under `data` too."""
    settings = Config.read(config) if seed is None else Config.read(config, seed=seed)
    for name in settings.data:
        if name not in given:
            raise ConfigError(f"The setting data.{name} is unknown. {nearest(name, given)}")
    data = plain({**settings.data, **{name: value for name, value in given.items() if value is not None}})
    options, frame = windowed(dict(data), source)
    schema = infer(frame, options.pop("target", None), **options)
    return frame, schema, turned_on(settings.model_copy(update={"data": data}), switches or {})


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, dicts, texts and numbers only, as the run folder keeps them: a pandas index of names becomes a list."""

    def unpacked(value: Any) -> Any:
        return dict(value) if isinstance(value, Mapping) else list(value)

    try:
        kept: dict[str, Any] = json.loads(json.dumps(data, default=unpacked))
    except TypeError as error:
        raise ConfigError(f"Column names and kinds must be texts, alone or in lists: {error}. Got {data}.") from error
    return kept


def train_on(
    frame: Any,
    schema: Schema,
    config: Config,
    out: Path | None = None,
    progress: bool = False,
    compare: bool = False,
    split_seed: int | None = None,
    keep: bool = False,
    watch: Callable[[dict[str, Any]], None] = lambda record: None,
) -> Model:
    """Train on a table whose schema is known.

    `split_seed` draws the held-out rows in place of the run's own seed; with `keep` a model in `out` that was made
    with it, of the same rows and settings, is given back as it is. `watch` sees the record of each epoch, and may end
    training by raising.
    """
    if compare and not without(config):
        raise ConfigError("There is nothing to compare: nothing is on. Turn a switch on, or leave compare out.")
    # What the settings alone show to be wrong is said before any row is read.
    switched_on(config.train.switches)
    tracking = Tracking(config.train.track, out, flat(config, len(frame)))
    SCHEDULES[own_schedule(config.train)]
    started, progress = time.monotonic(), progress and leads()
    checked = check_rows(frame, schema, need_target=True)
    rows, held = split(checked.frame, schema, config.train.valid, config.seed if split_seed is None else split_seed)
    chosen, columns = select(checked.frame.iloc[rows], schema, config.columns)

    def fresh(settings: Config) -> tuple[Model, Batch, Batch]:
        """An untrained model with its training and validation rows."""
        with own_random():
            torch.manual_seed(settings.seed)
            made = Model(chosen, settings).fit_columns(checked.frame.iloc[rows])
        fit_to = answerable(made.output, checked.frame, held)
        train_rows, valid_rows = (made.encode(checked.frame.iloc[index], target=True) for index in (rows, fit_to))
        return made, train_rows, valid_rows

    model, train_rows, valid_rows = fresh(config)
    for name, part in (("training", train_rows), ("validation", valid_rows)):
        if part.weight is not None and not part.weight.any():
            raise DataError(
                f"The weight column {schema.weight!r} is 0 in all {len(part)} {name} rows: expected a weight above 0 "
                "among them, or nothing counts. Add rows that count, or leave the weight undeclared."
            )
    if out is not None:
        make_folder(out)
    mark = checkpoint.fingerprint(model, config.deciding(), train_rows, valid_rows) if keep else None
    if mark and out is not None and (finished := made_before(out, mark)):
        return finished
    if progress:
        say(schema, len(rows), len(held), checked.problems, config)
    with tracking, epoch_bar(config.train.epochs, model.output.metric, shown=progress) as on_epoch:

        def seen(record: dict[str, Any]) -> None:
            on_epoch(record)
            tracking.epoch(record)
            watch(record)

        history = fit(model, train_rows, valid_rows, out, seen, frame=checked.frame.iloc[rows])
    if progress and config.train.lr == "auto":
        say_rate(model.report["lr"])
    assert valid_rows.target is not None
    logits = model.logits(valid_rows)
    model.output.calibrate(logits, valid_rows.target)
    model.statistics = gather(model, checked.frame.iloc[rows], train_rows, valid_rows, logits)
    from aet.adaptation.rehearse import rehearse  # it loads every method, and only a training needs them

    model.statistics.rehearsals = rehearse(model, valid_rows, logits)
    model.reservoir, model.fisher = kept(model, train_rows, valid_rows)
    model.report |= {
        "rows": len(rows),
        "quarantined": len(checked.problems),
        "valid": model.output.metrics(logits, valid_rows.target),
        "columns": columns if model.gate is None else {**columns, "weights": model.column_weights()},
        "history": history,
        "switches": switch_records(model, history),
        "seconds": round(time.monotonic() - started, 3),
        **({"mark": mark} if mark else {}),
    }
    if progress:
        say_acted(model.report["switches"])
    if compare:
        took = sum(record["seconds"] for record in history)
        model.report["worth"] = worth(model, fresh, took, out, progress, checked.frame.iloc[rows])
    if told := tracking.end(model.report):
        model.report["tracked"] = told
    if out is not None and leads():
        model.save(out)
        write_history(out, history)
        for file in (CHECKPOINT, PRETRAINED):
            checkpoint.remove(out / file)
        if compare:
            shutil.rmtree(out / COMPARE, ignore_errors=True)
    return model


def made_before(folder: Path, mark: str) -> Model | None:
    """The finished model in a folder if it has this mark; one that is damaged is to be trained anew."""
    if not (folder / "schema.json").is_file():
        return None
    try:
        model = load(folder)
    except RunError:
        return None
    return model if model.report.get("mark") == mark else None


def switch_records(model: Model, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each switch and mechanism that was on, what trained of a network, their settings, and what they did."""
    acted, config = history[-1].get("acted", {}), model.config
    on = {**{s.name: s.settings for s in tunings(model)}, **config.train.switches, **config.model.attention}
    on |= known_beforehand(config)
    return [{"name": name, "settings": settings, "acted": acted[name]} for name, settings in on.items()]


def kept(model: Model, train: Batch, valid: Batch) -> tuple[Reservoir | None, dict[str, Tensor] | None]:
    """What `model.update` goes on from, where the settings want it kept: rows, and how much each weight matters."""
    settings, reservoir = model.config.train, None
    if settings.keep_rows:
        reservoir = Reservoir.empty(settings.keep_rows).after(train, valid, task=0, seed=model.config.seed)
    return reservoir, fisher(model, train, FISHER["rows"]) if settings.keep_fisher else None
