"""`aet.train_ensemble`: a table in, several models of it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aet.config import Config
from aet.ensemble import DESCRIPTION, Ensemble, member_name
from aet.errors import ConfigError, RunError
from aet.rows import check_rows
from aet.run import make_folder
from aet.training.display import say_member
from aet.training.parts import Switches
from aet.training.split import split
from aet.training.tracking import Track, followed
from aet.training.train import read_rows, train_on


def train_ensemble(
    source: Any,
    target: str | list[str] | None = None,
    *,
    members: int = 5,
    seed: int | None = None,
    groups: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    id: str | None = None,
    time: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    until: str | None = None,
    part: str | None = None,
    ignore: str | Sequence[str] | None = None,
    output: str | Mapping[str, str] | None = None,
    header: bool | str | None = None,
    out: str | Path | None = None,
    config: Config | Mapping[str, Any] | str | Path | None = None,
    switches: Switches | None = None,
    track: Track | None = None,
    progress: bool = False,
) -> Ensemble:
    """Train several models on the same rows of one table, with the seeds `seed`, `seed + 1`, ...

    The first is the model that `aet.train` gives. All hold the same rows out, on which their mixture is calibrated.

    `members` says how many. In the folder `out` members that are done are not trained again, and one that was
    interrupted goes on exactly. All other arguments are those of `aet.train`.

    Raises:
        DataError, SchemaError, ConfigError, RunError: each says what was wrong and how to mend it.

    >>> import numpy as np, pandas as pd, aet
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> ensemble = aet.train_ensemble(frame, target="sign", members=2, config={"train": {"epochs": 5}})
    >>> len(ensemble.members), ensemble.predict(frame.head(2)).columns.tolist()
    (2, ['id', 'prediction', 'confidence', 'problem'])
    """
    if isinstance(members, bool) or not isinstance(members, int) or members < 2:
        raise ConfigError(f"An ensemble has 2 members or more; got members={members!r}. For one model use aet.train.")
    given = {
        "target": target,
        "groups": groups,
        "kinds": kinds,
        "id": id,
        "time": time,
        "group": group,
        "weight": weight,
        "until": until,
        "part": part,
        "ignore": ignore,
        "output": output,
        "header": header,
    }
    frame, schema, settings = read_rows(source, given, config, seed, switches)
    settings = followed(settings, track)
    folder = None if out is None else Path(out)
    if folder is not None:
        make_folder(folder)
        if (folder / "schema.json").is_file():
            raise RunError(f"{folder} holds a single model. Name another folder for the ensemble.")
        (folder / DESCRIPTION).unlink(missing_ok=True)
    made = []
    for number in range(members):
        own = settings.model_copy(update={"seed": settings.seed + number})
        place = None if folder is None else folder / member_name(number)
        if progress:
            say_member(number, members)
        made.append(train_on(frame, schema, own, place, progress, split_seed=settings.seed, keep=True))
    ensemble = Ensemble(made)
    rows = check_rows(frame, schema, need_target=True).frame
    ensemble.calibrate(rows.iloc[split(rows, schema, settings.train.valid, settings.seed)[1]])
    if folder is not None:
        ensemble.describe(folder)
    return ensemble
