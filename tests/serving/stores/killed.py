"""A server's labels under kill -9: children write until they are killed; what each acknowledged is printed.

Run by test_failures.py with a database's file and the number of kills.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time

import alembic.operations  # before the forks, not in each of them
import alembic.runtime.migration
import alembic.script  # noqa: F401

from aet.serving.store import AnsweredRow, Label, Store


def write(path: str, run: int, pipe: int) -> None:
    """Serve and label rows for ever; each acknowledged label goes down the pipe."""
    with Store(path) as store:
        stream = store.stream("acme", "site-7", model="gas").number
        count = 0
        while True:
            ids = [f"{run}-{count + i}" for i in range(3)]
            count += 3
            store.answered(stream, "1", [AnsweredRow(known, {"a": 1.0}, False, {"prediction": "x"}) for known in ids])
            store.label(stream, [Label(known, "y") for known in ids], "k1")
            os.write(pipe, (json.dumps(ids) + "\n").encode())
            if count % 9 == 0:
                store.keep_state(stream, os.urandom(20_000), "labels")
            store.applied(stream, ids[:1])


def main(path: str, kills: int) -> None:
    """Kill that many writers, each after it acknowledged something or while it still opens the store."""
    draw, lines = random.Random(0), []
    for run in range(kills):
        out, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(out)
            write(path, run, pipe)
        os.close(pipe)
        if run % 5:  # every fifth is killed while it starts
            select.select([out], [], [], 30)
        time.sleep(draw.uniform(0, 0.06))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(out, "rb") as stream:
            lines += [line for line in stream.read().decode().split("\n")[:-1] if line]
    sys.stdout.write("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
