"""What the benchmarks share: one record a number, the command line, where JSON goes, and going on after a stop."""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aet.errors import DataError

if TYPE_CHECKING:
    from aet.adaptation import Stream


@dataclass(frozen=True)
class Record:
    """One number of one benchmark; fields that do not apply are None."""

    benchmark: str
    task: str
    method: str
    metric: str
    value: float
    stream: str | None = None
    spread: float | None = None
    seeds: int | None = None
    seconds: float | None = None
    forwards: float | None = None


def arguments(doc: str | None, seeds: int = 3) -> argparse.Namespace:
    """`--quick`, `--seeds`, `--json`, under the module's own text."""
    return parser(doc, seeds).parse_args()


def parser(doc: str | None, seeds: int = 3) -> argparse.ArgumentParser:
    """The same, for programs with options of their own."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="a look, not a result")
    made.add_argument("--seeds", type=int, default=seeds, help=f"repetitions (default {seeds})")
    made.add_argument("--json", type=Path, help="write the records here")
    return made


def write(records: Sequence[Record], path: Path | None) -> None:
    """The records as a JSON list, if a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(r) for r in records], indent=1) + "\n", encoding="utf-8")


def beside(records: Sequence[Record], path: Path | None) -> list[Record]:
    """The records, behind those of other tasks that the file at `path` already holds."""
    before = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else []
    tasks = {record.task for record in records}
    return [*(Record(**entry) for entry in before if entry["task"] not in tasks), *records]


class Done:
    """Figures of finished parts, a line each in `path`, so that a long benchmark goes on where it was stopped.

    A part is known by its key: change what it computes and the key must change too. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, dict[str, float]] = {}
        if path and path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.known[entry["key"]] = entry["figures"]

    def get(self, key: str, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The figures of a part, computed unless they are known."""
        if key not in self.known:
            self.known[key] = compute()
            if self.path:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, "figures": self.known[key]}) + "\n")
        return self.known[key]


def partial(path: Path | None) -> Path | None:
    """Where the finished parts of the benchmark that writes `path` are kept: beside it."""
    return path.with_suffix(".partial.jsonl") if path else None


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (0 for one)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def over_seeds(runs: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float, float]]:
    """Name, mean and spread of each figure that all runs have."""
    for name in runs[0]:
        yield name, *summary([run[name] for run in runs])


def in_rounds(stream: Stream, truth: Sequence[Any], labels: int, rounds: int) -> list[int]:
    """Ask for labels in rounds, so that later ones judge what earlier ones taught; the rows asked, by their number."""
    asked: list[int] = []
    for _ in range(rounds):
        asked += (now := [int(row) for row in stream.ask(labels // rounds)])  # type: ignore[call-overload]
        stream.feedback(now, [truth[row] for row in now])
    return asked


def folder(name: str) -> Path:
    """Where a data set lies: in AET_DATA, in ../shared/data, or where Debian's packages put theirs."""
    roots = [Path(__file__).resolve().parents[2] / "shared" / "data", Path("/usr/share/datasets")]
    if os.environ.get("AET_DATA"):
        roots.insert(0, Path(os.environ["AET_DATA"]))
    for root in roots:
        if (root / name).is_dir():
            return root / name
    raise DataError(f"There is no folder {name} in {', '.join(map(str, roots))}. Set AET_DATA to the folder above it.")
