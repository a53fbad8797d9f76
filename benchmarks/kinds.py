"""Every kind of row and answer beside its peers: series, sound, histories, texts as answers, a robot, several at once.

    AET_DATA=... python benchmarks/kinds.py [--quick] [--seeds N] [--json FILE] [--only KIND]

Each kind is a file of its own, `benchmarks/kinds_KIND.py`, which says what it measures and runs alone too. With --json
a stopped run goes on where it was: finished parts are kept beside the file, by kind. A kind whose data are missing is
left out by name.
"""

from __future__ import annotations

from importlib import import_module

from common import Record, parser, write

from aet.errors import DataError

KINDS = ("series", "dust", "correctors", "audio", "events", "sequence", "robot", "modalities")


def main() -> None:
    """Print every figure of every kind."""
    made = parser(__doc__)
    made.add_argument("--only", action="append", choices=KINDS, help="a kind by name; may be given again")
    chosen = made.parse_args()
    records: list[Record] = []
    for kind in chosen.only or KINDS:
        path = chosen.json.with_name(f"{chosen.json.stem}_{kind}.json") if chosen.json else None
        try:
            found = import_module(f"kinds_{kind}").run(chosen.quick, 1 if chosen.quick else chosen.seeds, path)
        except DataError as error:
            print(f"{kind}: left out; {error}")
            continue
        for one in found:
            where = one.task if one.stream is None else f"{one.task}, {one.stream}"
            print(f"{where:34} {one.method:44} {one.metric:14} {one.value:9.3f} ± {one.spread or 0:.3f}")
        records += found
        write(records, chosen.json)


if __name__ == "__main__":
    main()
