"""What people give a stream, as it takes it: how many rows to ask for, ids of rows, and their true answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from aet.adaptation.guard import WAIT
from aet.errors import ConfigError, FeedbackError

if TYPE_CHECKING:
    from aet.model import Model


FARTHEST = 1e6
"""Standard deviations beyond which a number is taken for a mistake."""


def check_counts(count: Any, newest: Any) -> None:
    """ConfigError for numbers of rows that `Stream.ask` cannot take."""
    for name, value in (("count", count), ("newest", newest)):
        if not isinstance(value, int | np.integer):
            raise ConfigError(f"{name} is a whole number of rows; got {value!r}. Say {name}=16, for example.")
    if newest < 1:
        raise ConfigError(f"newest is a number of rows, 1 or more; got {newest}.")
    if count > WAIT:
        raise ConfigError(f"At most {WAIT} rows are asked for at a time, got {count}. Ask again once labels came.")


def label_frame(labels: Sequence[Any], targets: Sequence[str]) -> pd.DataFrame:
    """Labels as target columns: one value a row, or a sequence or mapping of them for several targets."""
    if len(targets) == 1:
        return pd.DataFrame({targets[0]: pd.Series(labels, dtype=object)})
    rows = []
    for label in labels:
        fits = isinstance(label, Mapping) and set(targets) <= set(label)
        if not fits and (isinstance(label, str | Mapping) or np.shape(label) != (len(targets),)):
            raise FeedbackError(
                f"Each row takes {len(targets)} answers, for {', '.join(targets)}, in this order or by name; got "
                f"{label!r}."
            )
        rows.append({name: label[name] for name in targets} if fits else dict(zip(targets, label, strict=True)))
    return pd.DataFrame(rows, columns=list(targets))


def truth(model: Model, ids: Sequence[Hashable], labels: Sequence[Any]) -> tuple[list[Hashable], Tensor]:
    """Ids as a stream knows them, and the labels as targets (N, ...).

    Raises FeedbackError unless each id has one label, and each label is one that the model can give.
    """
    ids, labels = [plain_id(i) for i in ids], list(labels)
    if len(ids) != len(labels):
        raise FeedbackError(f"Each id takes one label: got {len(ids)} ids and {len(labels)} labels.")
    targets = model.output.encode(label_frame(labels, model.schema.targets)) if ids else torch.empty(0)
    if targets.is_floating_point() and bool((targets.abs() > FARTHEST).any()):
        worst = ids[int(targets.abs().nan_to_num().reshape(len(ids), -1).amax(1).argmax())]
        raise FeedbackError(
            f"The label of row {worst!r} is more than {FARTHEST:,.0f} standard deviations of the training rows away: "
            "nothing else would be learned from then on. Check its unit, or leave it out."
        )
    return ids, targets


def plain_id(value: Any) -> Hashable:
    """NumPy scalars as Python's."""
    plain = value.item() if isinstance(value, np.generic | Tensor) else value
    if not isinstance(plain, Hashable):
        raise FeedbackError(f"An id is one value, as in the `id` column of the answers; got {plain!r}.")
    return plain
