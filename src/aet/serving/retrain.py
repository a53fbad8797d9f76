"""Retraining from the store: learn the labels that came, compare on the newest of them, add as a version."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from aet.adaptation.given import label_frame
from aet.errors import ConfigError, DataError
from aet.model import Model
from aet.serving.cards import forgot
from aet.serving.compared import Comparison, compare
from aet.serving.store import Store
from aet.serving.versions import Version, Versions

SERVICE = "service"
"""Where a retrained model's report says which labels it has learned."""


@dataclass(frozen=True)
class Retrained:
    """What retraining did; `comparison` is with the serving version on labels that neither has learned."""

    version: Version
    comparison: Comparison
    rows: int
    masked: int
    promoted: bool
    forgot: str
    """What it lost on old rows, in a sentence."""

    @property
    def text(self) -> str:
        """That in words."""
        learned = f"Version {self.version.number} learned {self.rows:,} labelled rows"
        masked = f", {self.masked:,} of them with personal data replaced" if self.masked else ""
        serves = "It serves now." if self.promoted else "It does not serve: promote it if you want that."
        return f"{learned}{masked}. {self.comparison.text} {self.forgot} {serves}"


def retrain(
    store: Store,
    versions: Versions,
    name: str,
    *,
    since: datetime | None = None,
    held: float = 0.2,
    least: int = 50,
    promote: bool = False,
    gate: float | None = None,
    config: Mapping[str, Any] | None = None,
    note: str = "",
) -> Retrained:
    """Update the serving version with the store's labelled rows; the newest labels are held out to compare.

    The new version serves only if `promote` is set and the 95 % interval of its gain lies above 0.

    Args:
        store: where the rows are.
        versions: the registry; the new version is added to it.
        name: the model's name in the store.
        since: take labels from this moment on; by default all that the serving version has not learned.
        held: share of the labels, the newest, that is held out.
        least: fewest labelled rows to begin with.
        promote: let the new version serve if it is surely better.
        gate: the most points that may be forgotten of old rows, as in `model.update`.
        config: settings of the update, as in `model.update`.
        note: a line for the card.

    Raises:
        DataError: too few labelled rows, or none that can be used. UpdateRefused: it forgets more than `gate` allows.
    """
    if not 0 < held < 1:
        raise ConfigError(f"held is the share of labels to compare on, between 0 and 1; got {held}.")
    serving = versions.serving
    before = serving.load()
    done = int(before.report.get(SERVICE, {}).get("learned_until", 0))
    found = [row for row in store.labelled(name, since) if row.number > done]
    if len(found) < least:
        raise DataError(
            f"Version {serving.number} of {name!r} has {len(found):,} labelled rows that it has not learned, and "
            f"retraining takes {least:,} or more. Give more labels, or a smaller `least`; rows whose values are not "
            "kept do not count."
        )
    learned = found[: len(found) - max(1, round(held * len(found)))]
    frame = frame_of(before, [row.values for row in found], [row.label for row in found])
    update = before.update(frame.iloc[: len(learned)], compare=False, gate=gate, config=config)
    comparison = compare(before, update.model, frame.iloc[len(learned) :].reset_index(drop=True))
    masked = sum(row.masked for row in learned)
    update.model.report[SERVICE] = {
        "learned_until": learned[-1].number,
        "rows": len(learned),
        "masked": masked,
        "from_version": serving.number,
    }
    with tempfile.TemporaryDirectory() as folder:
        note = note or f"Version {serving.number}, updated with {len(learned):,} labelled rows of the store"
        version = versions.add(update.write(folder), note, comparison)
    serves = promote and comparison.better
    if serves:
        versions.promote(version.number, f"retrained: {comparison.text}")
    return Retrained(version, comparison, len(learned), masked, serves, forgot(update.model.report))


def frame_of(model: Model, values: list[Mapping[str, Any]], labels: list[Any]) -> pd.DataFrame:
    """Kept rows with their true answers as the table that the model trains on; other columns are left out."""
    schema = model.schema
    given = pd.DataFrame.from_records(values)
    columns = [column for spec in schema.inputs for column in spec.columns]
    columns += [name for name in (schema.time, schema.group, schema.weight) if name is not None and name in given]
    rows = given.reindex(columns=columns)
    if schema.id is not None:  # two streams may have given the same id
        rows[schema.id] = range(len(rows))
    truth = label_frame(labels, schema.targets)
    return pd.concat([rows, truth], axis=1)
