"""`model.update`: learn new rows from the trained weights, without forgetting the old ones, and show what it cost.

The new rows, and the kept ones each for as many rows as it stands for, go through the loop of `aet.train` from the
trained weights on. Where no rows are kept, rows like the old ones are drawn from moments (the switch `moment_replay`).
Inputs keep their scales and vocabularies: unseen categories and words stay unseen. Classes that are new are added.

Of a score R (accuracy, closeness) on held-out rows, in points, with R⁰ before the update and R after it:

    forgetting = R⁰(old) - R(old)
    backward transfer = mean over earlier tasks i of R(i) - R_i(i),   R_i after task i was learned

(Lopez-Paz and Ranzato 2017, 1706.08840; a task is the training, or one update.) Held-out rows choose the best epoch
too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from aet.adaptation.rehearse import rehearse
from aet.batch import Batch, some_rows
from aet.errors import ConfigError, UpdateRefused
from aet.model import Model
from aet.run import make_folder, write_history
from aet.statistics import describe_columns, merged_columns
from aet.training import checkpoint
from aet.training.beside import learn, measured_runs
from aet.training.display import console
from aet.training.gather import ROWS, gathered
from aet.training.loop import CHECKPOINT
from aet.training.plan import Plan
from aet.training.switches.ewc import FISHER, fisher
from aet.training.tracking import Tracking, flat


@dataclass
class Update:
    """What `model.update` gives: a new model, and the record that stands in its report as well."""

    model: Model
    report: dict[str, Any]

    def write(self, folder: str | Path) -> Path:
        """Write the new model as a run folder."""
        written = self.model.save(folder)
        write_history(written, self.model.report["history"])
        return written


def update(
    model: Model,
    source: Any,
    *,
    old: Any = None,
    out: str | Path | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    gate: float | None = None,
    compare: bool = True,
    progress: bool = False,
) -> Update:
    """Learn new rows without forgetting the old.

    Args:
        model: where to go on from; it does not change.
        source: the new rows with their answers, any table that `aet.train` takes. A part of them is held out.
        old: the rows that the model was trained on, to measure forgetting and to retrain from scratch; by default the
            kept rows (`train.keep_rows`) serve for both. They are not trained on. The rows held out are those that
            `aet.train` held out if it is the same table.
        out: run folder of the new model; an update that was interrupted there is taken up again exactly.
        config: settings of this update under `train`, on top of those of the training; `switches` stand alone.
        gate: the most points of the score on old held-out rows that may be lost.
        compare: also retrain from scratch on everything and fine-tune on the new rows alone, for the report.
        progress: show progress bars.

    Raises:
        UpdateRefused: it forgets more than `gate` allows; nothing is written.
        SchemaError: a column is missing or new. DataError, ConfigError, RunError: as `aet.train`.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(300, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> model = aet.train(frame[:200], target="sign", config={"train": {"epochs": 10, "keep_rows": 50}})
    >>> update = model.update(frame[200:], compare=False)
    >>> update.model.predict(frame.head(2)).columns.tolist(), update.report["old"].get("rows")
    (['id', 'prediction', 'confidence', 'problem'], 50)
    """
    plan = Plan.of(model, source, old, config)
    if gate is not None and plan.measure is None:
        raise ConfigError(
            "A gate needs old rows that forgetting can be measured on, and this model keeps none. Give the rows it was "
            "trained on as `old`, or train with train.keep_rows above 0."
        )
    folder = Path(out) if out is not None else None
    if folder is not None:
        make_folder(folder)
    if progress:
        announce(plan)
    grown, everything, judged = plan.grown, plan.everything, plan.judged
    with Tracking(plan.settings.train.track, folder, flat(plan.settings, len(everything))) as tracking:
        title = "update" if progress else ""
        run = learn(grown, plan.settings, everything, judged, folder, title, tracking.epoch)
    assert judged.target is not None
    logits = grown.logits(judged)
    grown.output.calibrate(logits, judged.target)
    carry_on(plan, everything, judged, logits)
    runs, missing = measured_runs(plan, run, compare, folder, progress)
    record = described(plan, runs, missing, gate)
    grown.report = {
        "rows": len(everything),
        "seen": plan.seen + len(plan.train),
        "trained": plan.model.report.get("trained", len(plan.model.report.get("history", ()))),
        "quarantined": plan.new.aside,
        "valid": grown.output.metrics(logits, judged.target),
        "history": run.history,
        "seconds": run.seconds,
        "update": record,
    }
    if told := tracking.end(grown.report):
        grown.report["tracked"] = told
    made = Update(grown, record)
    if folder is not None:
        checkpoint.remove(folder / CHECKPOINT)
    refuse(made, gate, folder)
    if folder is not None:
        made.write(folder)
    return made


def described(plan: Plan, runs: dict[str, Any], missing: list[str], gate: float | None) -> dict[str, Any]:
    """The record of an update."""
    reservoir, measure = plan.model.reservoir, plan.measure
    learned = plan.last.get("learned", []) or ([runs["before"]["old"]] if measure is not None else [])
    return {
        "number": plan.last.get("number", 0) + 1,
        "score": plan.grown.output.score_name,
        "new": {
            "rows": len(plan.new.rows),
            "held": len(plan.new.held_rows),
            "quarantined": plan.new.aside,
            "classes": plan.classes,
        },
        "old": {
            "rows": 0 if reservoir is None else len(reservoir),
            "replayed": 0 if plan.kept is None else len(plan.kept),
            "stand_for": 0 if reservoir is None else reservoir.seen,
            "held": 0 if measure is None else len(measure),
            "from": None if measure is None else "kept rows" if plan.old is None else "old rows",
        },
        "settings": {name: getattr(plan.settings.train, name) for name in ("epochs", "lr", "switches")},
        "gate": gate,
        "runs": runs,
        "missing": missing,
        "learned": [*learned, runs["update"]["new"]] if learned else [],
    }


def refuse(made: Update, gate: float | None, folder: Path | None) -> None:
    """UpdateRefused where more was forgotten than the gate allows; an empty folder goes."""
    figures = made.report["runs"]["update"]
    if gate is None or figures["forgetting"] <= gate:
        return
    if folder is not None and not any(folder.iterdir()):
        folder.rmdir()
    raise UpdateRefused(
        f"The update forgets {figures['forgetting']:.1f} points of {made.report['score']} on "
        f"{made.report['old']['held']} old held-out rows: at most {gate:g} are allowed, and no model was written. Keep "
        "more rows (train.keep_rows), give more epochs or a lower rate (train.epochs, train.lr), retrain from scratch, "
        "or allow more.",
        report=made.report,
    )


def carry_on(plan: Plan, everything: Batch, judged: Batch, logits: Tensor) -> None:
    """What the new model keeps: the reservoir after the new rows, F, and statistics over all there is."""
    model, grown, seed = plan.model, plan.grown, plan.model.config.seed
    if model.reservoir is not None:
        grown.reservoir = model.reservoir.after(plan.train, plan.valid, plan.last.get("number", 0) + 1, seed)
    if model.fisher is not None:
        settings = {**FISHER, **plan.settings.train.switches.get("ewc", {})}
        now = fisher(grown, plan.train, int(settings["rows"]))
        for name, before in model.fisher.items():
            now[name][tuple(slice(0, size) for size in before.shape)] += float(settings["decay"]) * before
        grown.fisher = now
    new = describe_columns(plan.new.frame, model.schema)
    columns = merged_columns(model.known_statistics().columns, new, plan.seen, len(plan.new.frame))
    index = some_rows(len(everything), ROWS, seed)
    grown.statistics = gathered(grown, columns, everything, index, judged, logits)
    grown.statistics.rehearsals = rehearse(grown, judged, logits, plan.settings.train.rehearsals)


def announce(plan: Plan) -> None:
    """What is about to happen, on standard error."""
    said = [f"{len(plan.train):,} new rows to learn, {len(plan.valid):,} held out."]
    if plan.new.aside:
        said.append(f"{plan.new.aside:,} rows kept aside: they cannot be used.")
    if plan.classes:
        said.append(f"New classes: {', '.join(map(str, plan.classes))}.")
    if plan.kept is not None and plan.model.reservoir:
        said.append(f"{len(plan.kept):,} kept rows are replayed, each for {plan.model.reservoir.stands_for:.1f}.")
    else:
        said.append("No rows are kept to be replayed.")
    settings = plan.settings.train
    said.append(f"{settings.epochs} epochs; switches: {', '.join(settings.switches) or 'none'}.")
    console().print("\n".join(said), highlight=False, markup=False)
