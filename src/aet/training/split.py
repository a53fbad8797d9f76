"""Which rows are held out for validation."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from aet.cells.number import dates, parse_numbers
from aet.errors import DataError
from aet.schema import Schema

if TYPE_CHECKING:
    from aet.outputs import Output


class SplitWarning(UserWarning):
    """Rows are used neither to train nor to validate, or far more are held out than were asked for."""


def split(frame: pd.DataFrame, schema: Schema, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the validation rows.

    A part column says which they are. With a time column the latest rows are held out (rows without a time are
    trained on); with a group column whole groups are, so that no group is on both sides; with both, whole groups from
    the one that ends latest on, as many
    as come nearest to the share, so that no group ends later than a held one. Else rows are drawn, class by class
    where there are classes. Held rows of a class that no training row has are left out, with a SplitWarning: they can
    neither train nor validate.

    With a column `until` of the times at which answers are known, training rows whose answer was not known before the
    first held row are left out: they would tell of what is held out, as windows of a series do that overlap.

    Raises DataError if there are too few rows or groups, or times that cannot be read.

    >>> import pandas as pd
    >>> from aet.schema import InputSpec, Schema
    >>> schema = Schema((InputSpec("x", "number", ("x",)),), ("y",), "label", time="t")
    >>> frame = pd.DataFrame({"x": range(10), "y": list("ab") * 5, "t": range(10, 0, -1)})
    >>> split(frame, schema, 0.2, seed=0)[1].tolist()
    [0, 1]
    """
    rng = np.random.default_rng(seed)
    count = len(frame)
    if count < 4:
        short = "history" in frame and schema.until is not None
        longer = ": windows of so many values do not fit. Make data.windows.lookback smaller, or add rows."
        raise DataError(f"Training needs at least 4 usable rows, got {count}{longer if short else '. Add rows.'}")
    held = min(max(1, round(share * count)), count - 1)
    if schema.part is not None and schema.part in frame:
        return told_parts(frame[schema.part])
    times = instants(frame[schema.time]) if schema.time is not None and schema.time in frame else None
    groups = frame[schema.group] if schema.group is not None and schema.group in frame else None
    classes = [target for target in schema.targets if schema.kind_of(target) == "label"]
    if times is not None and groups is not None:
        valid = latest_groups(groups, times, held)
    elif times is not None:
        valid = np.argsort(times, kind="stable")[-held:]
    elif groups is not None:
        valid = held_groups(groups, held, rng)
    elif classes:
        valid = held_classes(frame[classes[0]], share, rng)
    elif schema.output == "tags":
        valid = held_tags(frame[schema.target], held, rng)
    elif schema.output == "multilabel":
        valid = held_labels(frame[list(schema.targets)], held, rng)
    else:
        valid = rng.permutation(count)[:held]
    chosen = np.zeros(count, dtype=bool)
    chosen[valid] = True
    rows, valid = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    if times is not None and schema.until is not None and schema.until in frame:
        rows = known_before(rows, instants(frame[schema.until]), float(times[valid].min()), schema.until)
    for target in classes:
        valid = known_classes(frame[target], rows, valid)
    if schema.output == "tags":
        valid = known_tags(frame[schema.target], rows, valid)
    return rows, valid


def known_before(rows: np.ndarray, until: np.ndarray, first: float, name: str) -> np.ndarray:
    """Those of the `rows` whose answer was known before the time `first`; DataError where none is.

    >>> known_before(np.arange(4), np.array([2.0, 3.0, 4.0, 5.0]), 4.0, "until").tolist()
    [0, 1, 2]
    """
    kept: np.ndarray = rows[until[rows] <= first]
    if not len(kept):
        raise DataError(
            f"No row to train on was answered ({name!r}) before the first row that is held out: expected a table that "
            "lasts several times as long as answers take. Add earlier rows, or lower train.valid or the horizon."
        )
    return kept


def told_parts(parts: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Rows of "train" and of "valid"; DataError for any other part, such as test rows that were left in.

    >>> told_parts(pd.Series(["train", "valid", "train"]))
    (array([0, 2]), array([1]))
    """
    wrong = ~parts.isin(["train", "valid"])
    if wrong.any():
        others = [f"{one!r:.40}" for one in parts[wrong].astype(object).drop_duplicates().head(4)]
        shown = ", ".join(others[:3]) + ", ..." * (len(others) > 3)
        mend = "Name another column as the part." if wrong.all() else "Leave those rows out."
        raise DataError(
            f"The part column {parts.name!r} says which rows are held out: expected 'train' or 'valid' in each row, "
            f"got neither in {int(wrong.sum())} of {len(parts)} rows ({shown}). {mend}"
        )
    rows, held = np.flatnonzero(parts == "train"), np.flatnonzero(parts == "valid")
    if not len(rows) or not len(held):
        raise DataError(
            f"The part column {parts.name!r} has {len(rows)} rows of 'train' and {len(held)} of 'valid': expected some "
            "of each. Leave the part undeclared, and a share of the rows is held out."
        )
    return rows, held


def known_classes(labels: pd.Series, rows: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Those of the `valid` rows whose class some training row has."""
    texts = labels.astype(str)
    known = (texts.iloc[valid].isin(texts.iloc[rows]) | labels.iloc[valid].isna()).to_numpy()
    if known.all():
        return valid
    new = sorted(texts.iloc[valid[~known]].unique())
    return without_new(valid, known, "The classes {} of the target " + repr(labels.name), new)


def answerable(output: Output, frame: pd.DataFrame, valid: np.ndarray) -> np.ndarray:
    """Those of the `valid` rows whose answer the output can give; most are left out before, by what the rows show."""
    _, known = output.encode_known(frame.iloc[valid])
    if known.all():
        return valid
    new = sorted({str(cell) for cell in frame[output.targets[0]].iloc[valid[~known]]})
    return without_new(valid, known, f"The answers {{}} of the target {output.targets[0]!r}", new)


def without_new(valid: np.ndarray, known: np.ndarray, what: str, new: Sequence[str]) -> np.ndarray:
    """The `valid` rows that are `known`; a warning, or DataError where none is, names what only the others have."""
    sentence = (
        f"{what.format(', '.join(new[:5]) + ', ...' * (len(new) > 5))} are only among the held-out rows, the latest "
        f"times or other groups ({(~known).sum()} rows, left out): the model will not know them. Add earlier rows or "
        "groups with them, or leave time and group undeclared."
    )
    if not known.any():
        raise DataError(sentence)
    warnings.warn(sentence, SplitWarning, stacklevel=4)
    kept: np.ndarray = valid[known]
    return kept


def instants(times: pd.Series) -> np.ndarray:
    """Times as numbers in their order, (N,); -inf where missing."""
    values, wrong = parse_numbers(times)
    if wrong.any():
        missing = np.isnan(values) & ~wrong
        values, _ = parse_numbers(dates(times))
        wrong = np.isnan(values) & ~missing
    if wrong.any():
        raise DataError(
            f"The time column {times.name!r} cannot be put in order: expected numbers or dates like 2024-05-31 or "
            f"2024-05-31T12:00:00, got {times.iloc[int(wrong.argmax())]!r:.40}. Write it in one of these ways."
        )
    return np.where(np.isnan(values), -np.inf, values)


def coded_groups(groups: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The group of each row as a number (N,), and the sizes of the groups; no group counts as a group."""
    codes, names = pd.factorize(groups.astype(str), use_na_sentinel=False)
    if len(names) < 2:
        raise DataError(
            f"The group column {groups.name!r} has one group: expected two or more, to hold out whole groups. "
            "Leave it undeclared."
        )
    return codes, np.bincount(codes)


def latest_groups(groups: pd.Series, times: np.ndarray, held: int) -> np.ndarray:
    """Rows of the whole groups whose last rows are latest, as near to `held` of them as this order comes.

    Warns if that is more than twice as many, since a large group that is still running leaves little to train on.

    >>> import numpy as np, pandas as pd
    >>> latest_groups(pd.Series(list("aabbcc")), np.array([1, 6, 2, 3, 4, 5]), held=2).tolist()
    [0, 1]
    """
    codes, sizes = coded_groups(groups)
    ends = np.full(len(sizes), -np.inf)
    np.maximum.at(ends, codes, times)
    order = np.argsort(ends, kind="stable")[:0:-1]  # latest first; the earliest is trained on
    taken = order[: np.abs(sizes[order].cumsum() - held).argmin() + 1]
    if (rows := int(sizes[taken].sum())) > 2 * held:
        warnings.warn(
            f"{rows} of {len(codes)} rows are held out instead of {held}: a group of {groups.name!r} is held "
            "out as a whole, and the one that ends latest is that large. Declare finer groups, or time or group alone.",
            SplitWarning,
            stacklevel=3,
        )
    return np.flatnonzero(np.isin(codes, taken))


def held_groups(groups: pd.Series, held: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of random whole groups, as near to `held` of them as a random order comes."""
    codes, sizes = coded_groups(groups)
    taken: list[int] = []
    missing = held
    for group in rng.permutation(len(sizes)).tolist()[:-1]:
        if abs(missing - sizes[group]) < missing:
            taken.append(group)
            missing -= sizes[group]
    return np.flatnonzero(np.isin(codes, taken or [int(sizes.argmin())]))


def held_labels(labels: pd.DataFrame, held: int, rng: np.random.Generator) -> np.ndarray:
    """Random rows, but the last row that has a label on, or off, stays in training."""
    on = labels.to_numpy() > 0.5  # (N, K)
    left = np.stack([on.sum(0), (~on).sum(0)])  # rows still in training with each label on, off
    order = rng.permutation(len(labels))
    chosen: list[int] = []
    for row in order.tolist():
        use = np.stack([on[row], ~on[row]])
        if len(chosen) < held and (left[use] > 1).all():
            chosen.append(row)
            left -= use
    return np.array(chosen) if chosen else order[:held]


def held_tags(tags: pd.Series, held: int, rng: np.random.Generator) -> np.ndarray:
    """Random rows, but the last row with an entity of a type stays in training."""
    types = [entity_types(row) for row in tags]
    left = Counter(name for row in types for name in row)  # rows still in training with each type
    chosen: list[int] = []
    for row in rng.permutation(len(types)).tolist():
        if len(chosen) < held and all(left[name] > 1 for name in types[row]):
            chosen.append(row)
            left.subtract(types[row])
    return np.array(chosen) if chosen else rng.permutation(len(types))[:held]


def known_tags(tags: pd.Series, rows: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Those of the `valid` rows all of whose entities have a type that some training row has."""
    there = set().union(*(entity_types(row) for row in tags.iloc[rows]))
    new = [entity_types(row) - there for row in tags.iloc[valid]]
    known = np.array([not names for names in new], dtype=bool)
    return valid if known.all() else without_new(valid, known, "Entities of type {}", sorted(set().union(*new)))


def entity_types(tags: list[str]) -> set[str]:
    """What stands behind B- and I-."""
    return {tag[2:] for tag in tags if tag != "O"}


def held_classes(labels: pd.Series, share: float, rng: np.random.Generator) -> np.ndarray:
    """The same share of each class; a class of one row stays in training."""
    chosen = []
    for rows in labels.groupby(labels.astype(str).fillna("")).indices.values():
        number = min(len(rows) - 1, max(1, round(share * len(rows)))) if len(rows) > 1 else 0
        chosen.append(rng.permutation(rows)[:number])
    held = np.concatenate(chosen)
    return held if len(held) else rng.permutation(len(labels))[:1]
