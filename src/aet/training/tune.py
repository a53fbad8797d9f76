"""Search over switches and rates with Optuna (Akiba et al. 2019, 1907.10902): resumable, within a time budget.

A part of the rows is held out of the whole search. Each trial trains on the rest and is judged by its best validation
loss, plain and drifted rows alike; a trial that lags behind the median of the others at the same epoch is stopped. At
the end the settings found and the settings given are trained with the same seed and compared on the rows held out,
which neither has seen: what the search was worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from aet.config import Config
from aet.errors import ConfigError, nearest
from aet.model import Model
from aet.rows import check_rows
from aet.run import make_folder
from aet.schema import Schema
from aet.training.display import trial_bar
from aet.training.space import as_given, searchable, suggest
from aet.training.split import split
from aet.training.switch import SWITCHES
from aet.training.train import read_rows, train_on
from aet.training.worth import difference

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

COLUMNS = ("groups", "kinds", "id", "time", "group", "weight", "until", "windows", "ignore", "output", "header")
JOURNAL, BEST, TRIALS = "tune.journal", "best.yaml", "trials.csv"


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    config: Config
    """The best settings, for `aet.train(config=...)`."""
    trials: pd.DataFrame
    """One row a trial, the best first."""
    worth: dict[str, float]
    """Score on the rows held out with the settings found, and without: those that were given; paired."""
    score: str
    """What the score is."""
    model: Model
    """Trained with the best settings on all rows but those held out."""


def tune(
    source: Any,
    target: str | list[str] | None = None,
    *,
    out: str | Path,
    trials: int = 30,
    minutes: float | None = None,
    switches: Sequence[str] | None = None,
    seed: int | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    progress: bool = False,
    **columns: Any,
) -> Tuned:
    """Search for the settings that fit a table.

    Args:
        source: as in `aet.train`.
        target: as in `aet.train`.
        out: folder of the search; the same call goes on with what was begun there.
        trials: how many settings are tried in all.
        minutes: time after which no further trial begins; None is no limit.
        switches: names to search over; all that need no settings, unless given.
        seed: as in `aet.train`, and of the search.
        config: as in `aet.train`; what the search does not move stays as given.
        progress: show a bar.
        **columns: `groups`, `kinds`, `id`, `time`, `group`, `weight`, `ignore`, `output`, `header` as in `aet.train`.

    Raises:
        ConfigError: an unknown switch, another search in the folder, no trial within the time, or Optuna is missing.
        DataError, SchemaError: as in `aet.train`.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise ConfigError(f"tune has no argument {unknown[0]!r}. {nearest(unknown[0], COLUMNS)}")
    given = {"target": target, **dict.fromkeys(COLUMNS), **columns}
    frame, schema, settings = read_rows(source, given, config, seed)
    if settings.train.track:
        raise ConfigError(
            f"A search is not tracked: expected no train.track, got {', '.join(settings.train.track)}. {TRIALS} has "
            "every trial; take train.track out, and track the training with the settings found."
        )
    return search(frame, schema, settings, Path(out), trials, minutes, switches, progress=progress)


def search(
    frame: pd.DataFrame,
    schema: Schema,
    base: Config,
    out: Path,
    trials: int = 30,
    minutes: float | None = None,
    switches: Sequence[str] | None = None,
    held: float = 0.2,
    progress: bool = False,
) -> Tuned:
    """Search on a table whose schema is known; arguments as in `aet.tune`."""
    names = chosen(switches)
    checked = check_rows(frame, schema, need_target=True)
    rows, last = split(checked.frame, schema, held, base.seed)
    inside, outside = checked.frame.iloc[rows], checked.frame.iloc[last]
    make_folder(out)
    study = open_study(out / JOURNAL, base, names, rows=len(inside))
    with trial_bar(trials, shown=progress) as bar:

        def objective(trial: Trial) -> float:
            return attempt(trial, inside, schema, suggest(trial, base, names))

        def after(study: Study, trial: FrozenTrial) -> None:
            bar(len(finished(study)), best_of(study))
            if len(finished(study)) >= trials:
                study.stop()

        bar(len(finished(study)), best_of(study))
        if len(finished(study)) < trials:
            study.optimize(objective, timeout=None if minutes is None else 60 * minutes, callbacks=[after])
    if finished(study):
        trial_table(study).to_csv(out / TRIALS, index=False)
    if best_of(study) is None:
        raise ConfigError(
            f"No trial was finished in {minutes:g} minutes: expected one at least. Give more time, fewer epochs "
            "(train.epochs) or a smaller model; the same command goes on with what was begun."
            if minutes is not None
            else f"None of {trials} trials came to its end. {refusal(study)}{out / TRIALS} says what stopped each."
        )
    return concluded(study, inside, outside, schema, base, out)


def chosen(switches: Sequence[str] | None) -> list[str]:
    """The switches to search over, all that can be unless named."""
    names = searchable() if switches is None else list(switches)
    for name in names:
        SWITCHES[name]()
    return names


def open_study(path: Path, base: Config, names: Sequence[str], rows: int) -> Study:
    """The search in this folder, begun or taken up; ConfigError if it was begun with other settings or rows."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise ConfigError(
            f"Searching needs Optuna ({error}). Install it: pip install 'attention-elastic-training[tune]'."
        ) from error

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="aet",
        storage=JournalStorage(JournalFileBackend(str(path))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=5),
        load_if_exists=True,
    )
    # A search that goes on must not draw what it has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=base.seed + len(study.get_trials(deepcopy=False)))
    asked = {"settings": base.model_dump(mode="json"), "switches": list(names), "rows": rows}
    for key, value in asked.items():
        if study.user_attrs.setdefault(key, value) != value:
            raise ConfigError(
                f"The search in {path.parent} was begun with other {key}. Name another folder with --out, or remove "
                "this one."
            )
        study.set_user_attr(key, value)
    if not finished(study):  # an interrupted first trial is tried again
        study.enqueue_trial(as_given(base, names))
    return study


def attempt(trial: Trial, frame: pd.DataFrame, schema: Schema, config: Config) -> float:
    """The best validation loss of one trial; settings that cannot train end it with the reason."""
    from optuna import TrialPruned

    def watch(record: dict[str, Any]) -> None:
        trial.report(record["valid_loss"], record["epoch"])
        if trial.should_prune():
            raise TrialPruned

    trial.set_user_attr("settings", config.model_dump(mode="json"))
    try:
        model = train_on(frame, schema, config, watch=watch)
    except ConfigError as error:
        trial.set_user_attr("why", str(error))
        raise TrialPruned from error
    trial.set_user_attr("valid", model.report["valid"])
    return min(float(record["valid_loss"]) for record in model.report["history"])


def finished(study: Study) -> list[FrozenTrial]:
    """Trials that ended, stopped early or not; one that was interrupted is as if it had not been."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in ("COMPLETE", "PRUNED")]


def refusal(study: Study) -> str:
    """Why trials did not train, where all have the same reason: it is then in what stays as given."""
    reasons = {trial.user_attrs.get("why") for trial in finished(study)}
    only = reasons.pop() if len(reasons) == 1 else None
    return f"All for the same reason: {only} " if only else "Give more trials. "


def best_of(study: Study) -> float | None:
    """The least loss so far."""
    return min((trial.value for trial in finished(study) if trial.value is not None), default=None)


def concluded(
    study: Study,
    inside: pd.DataFrame,
    outside: pd.DataFrame,
    schema: Schema,
    base: Config,
    out: Path,
) -> Tuned:
    """The best settings, compared on the rows held out, and written."""
    import yaml

    config = Config.read(study.best_trial.user_attrs["settings"])
    model = train_on(inside, schema, config)
    plain = model if config == base else train_on(inside, schema, base)
    target, known = model.output.encode_known(outside)
    batch = replace(model.encode(outside[known]), target=target)
    table = trial_table(study)
    (out / BEST).write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    return Tuned(config, table, difference(model, plain, batch), model.output.score_name, model)


def trial_table(study: Study) -> pd.DataFrame:
    """One row a trial, the best first: number, state, loss, seconds, what was on, and what it was set to."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "valid_loss": trial.value,
            "seconds": trial.duration.total_seconds() if trial.duration else None,
            "on": " ".join(trial.user_attrs.get("settings", {}).get("train", {}).get("switches", {})),
            "why": trial.user_attrs.get("why"),
            **trial.params,
        }
        for trial in finished(study)
    ]
    return pd.DataFrame(rows).sort_values("valid_loss", na_position="last", ignore_index=True)
