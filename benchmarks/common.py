"""What the benchmarks share: one record a number, the command line, and where JSON goes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look, not a result")
    parser.add_argument("--seeds", type=int, default=seeds, help=f"repetitions (default {seeds})")
    parser.add_argument("--json", type=Path, help="write the records here")
    return parser.parse_args()


def write(records: Sequence[Record], path: Path | None) -> None:
    """The records as a JSON list, if a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(r) for r in records], indent=1) + "\n", encoding="utf-8")
