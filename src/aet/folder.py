"""A folder of Parquet files in, a folder of answers out: file by file, in bounded memory, on one machine or many.

Each file of answers is written as a whole and says, in its own metadata, which file and which model it is of. So the
same call goes on where it was interrupted, and answers again what has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.errors import AetError, ConfigError, DataError
from aet.optional import optional

if TYPE_CHECKING:
    import pandas as pd

    from aet.ensemble import Ensemble
    from aet.model import Model

EXTRA = "pip install 'attention-elastic-training[scale]'"
KEY = b"aet"
"""Of the metadata that say what answers are of."""
SUFFIX = ".parquet"


@dataclass(frozen=True)
class Answered:
    """What became of one file."""

    name: str
    rows: int = 0
    left_out: int = 0
    """Rows without an answer; their `problem` says why."""
    skipped: bool = False
    """It was answered before, by the same model."""
    failed: str | None = None
    """Why it could not be answered at all."""


@dataclass(frozen=True)
class FolderReport:
    """What became of a folder; `failed` holds files that could not be answered, and why."""

    files: int = 0
    skipped: int = 0
    rows: int = 0
    left_out: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Iterable[Answered], seen: Callable[[Answered], None]) -> FolderReport:
        """The sum; `seen` is told of each as it comes."""
        files = skipped = rows = left_out = 0
        failed: dict[str, str] = {}
        for one in told:
            seen(one)
            files, skipped = files + 1, skipped + one.skipped
            rows, left_out = rows + one.rows, left_out + one.left_out
            if one.failed is not None:
                failed[one.name] = one.failed
        return cls(files, skipped, rows, left_out, failed)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def predict_folder(
    run: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    proba: bool = False,
    ray: bool = False,
    seen: Callable[[Answered], None] = lambda one: None,
) -> FolderReport:
    """Answer every row of every Parquet file below `data`; `out` gets a file of the same name for each.

    Rows are read and written in pieces. Without a declared id a row's id is its place in its file. A file that cannot
    be read is reported, and the others go on. A file of answers that is there, of the same rows and the same model, is
    left as it is.

    Args:
        run: folder that `aet train` wrote, an ensemble's too.
        data: folder of Parquet files, at any depth.
        out: where the answers go.
        proba: one more column a class.
        ray: let Ray Data share the files out over the machines of its cluster; all of them must reach the folders.
        seen: told of each file as it is done.

    Raises:
        ConfigError: `out` lies in `data`. DataError: there is no Parquet file. RunError: there is no run.
        MissingPackage: `ray` is not installed.

    >>> import tempfile, numpy as np, pandas as pd, aet
    >>> folder = Path(tempfile.mkdtemp())
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "sign": np.where(x.sum(1) > 0, "plus", "minus")})
    >>> run = aet.train(frame, target="sign", config={"train": {"epochs": 2}}).save(folder / "run")
    >>> (folder / "rows").mkdir()
    >>> frame[:50].to_parquet(folder / "rows" / "monday.parquet")
    >>> aet.predict_folder(run, folder / "rows", folder / "answers").rows
    50
    >>> aet.predict_folder(run, folder / "rows", folder / "answers").skipped
    1
    """
    given, place = Path(data), Path(out)
    if given.resolve() == place.resolve() or given.resolve() in place.resolve().parents:
        raise ConfigError(
            f"Answers cannot go to {place}, which lies in the folder of the rows, {given}: the next call would read "
            "them as rows. Name a folder beside it."
        )
    if not given.is_dir():
        raise DataError(f"{given} is no folder: expected one that holds Parquet files. Check its path.")
    names = sorted(str(path.relative_to(given)) for path in given.rglob(f"*{SUFFIX}") if path.is_file())
    if not names:
        raise DataError(f"{given} holds no Parquet file: expected names that end in {SUFFIX}. Check the folder.")
    answers = FolderAnswers(str(run), str(given), str(place), proba)
    told = on_ray(answers, names) if ray else map(answers, names)
    return FolderReport.of(told, seen)


class FolderAnswers:
    """Answers one file of a folder after the other, with a model that is loaded once."""

    def __init__(self, run: str, data: str, out: str, proba: bool) -> None:
        from aet.ensemble import load_any

        self.run, self.data, self.out, self.proba = run, Path(data), Path(out), proba
        self.model: Model | Ensemble = load_any(Path(run))
        self.mark = mark_of(Path(run), proba)

    def __call__(self, name: str) -> Answered:
        """Answer a file, unless that was done before."""
        source, target = self.data / name, self.out / name
        try:
            about = {"model": self.mark, **of_file(source)}
            if known(target) == about:
                return Answered(name, skipped=True)
            counted = Counted(self.model.predict_iter(source, self.proba))
            write(counted, target, self.model, about)
        except (AetError, OSError) as error:
            return Answered(name, failed=str(error))
        return Answered(name, counted.rows, counted.left_out)


class Counted:
    """Pieces that pass, their rows and those without an answer."""

    def __init__(self, pieces: Iterable[pd.DataFrame]) -> None:
        self.pieces, self.rows, self.left_out = pieces, 0, 0

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for piece in self.pieces:
            self.rows += len(piece)
            self.left_out += int(piece["problem"].notna().sum())
            yield piece


def write(pieces: Iterable[pd.DataFrame], path: Path, model: Model | Ensemble, about: dict[str, Any]) -> None:
    """A file of answers with what they are of, as a whole or not at all."""
    from aet.commands.answers import replaced, to_parquet

    with replaced(path) as partial:
        to_parquet(pieces, partial, model, {KEY: json.dumps(about).encode()})


def mark_of(run: Path, proba: bool) -> str:
    """What tells one model's answers from another's: the sums of the run's files."""
    described = next(run / name for name in ("schema.json", "ensemble.json") if (run / name).is_file())
    return hashlib.sha256(described.read_bytes() + bytes([proba])).hexdigest()[:16]


def of_file(path: Path) -> dict[str, Any]:
    """What tells a file from what it was before."""
    found = path.stat()
    return {"size": found.st_size, "changed": found.st_mtime_ns}


def known(path: Path) -> dict[str, Any] | None:
    """What a file of answers says that it is of; None if there is none, or it is damaged or another program's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return None
    try:
        return dict(json.loads((pq.read_schema(path).metadata or {}).get(KEY, b"{}")))
    except (pa.ArrowInvalid, ValueError):
        return None


def on_ray(answers: FolderAnswers, names: list[str]) -> Iterator[Answered]:
    """The same, shared out over a cluster: each worker loads the model once; files are done as they come."""
    data = optional("ray.data", "predict_folder(ray=True)", EXTRA, "leave it out: files are then answered in turn")
    given = (answers.run, str(answers.data), str(answers.out), answers.proba)
    files = data.from_items([{"name": name} for name in names], override_num_blocks=len(names))
    workers = data.ActorPoolStrategy(min_size=1, max_size=len(names))  # as many as the cluster has room for
    told = files.map(OnRay, fn_constructor_args=given, num_cpus=1, compute=workers)
    for line in told.iter_rows():
        yield Answered(**{**line, "failed": line["failed"] or None})


class OnRay:
    """`FolderAnswers` as Ray Data calls it."""

    def __init__(self, *given: Any) -> None:
        self.answers = FolderAnswers(*given)

    def __call__(self, line: dict[str, str]) -> dict[str, Any]:
        """A file's record; of one kind in all files."""
        found = asdict(self.answers(line["name"]))
        return {**found, "failed": found["failed"] or ""}
