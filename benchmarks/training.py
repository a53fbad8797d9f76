"""Elastic training beside plain training and the peers: the four benchmarks that its promises are held to, one by one.

    python benchmarks/training.py [--quick] [--seeds N] [--json FOLDER]

corruptions   images that are corrupted or come from elsewhere: adaptive dynamic attention
labels        40 % wrong labels: attention over rows
tables        tables without drift, beside TabM, an FT-Transformer, an MLP and boosted trees
update        gas sensors month by month: learning on without forgetting

Each is a program of its own beside this one and takes the same options. `--quick` stays within ten minutes, two cores.
`--json` names a folder: every benchmark writes its records and its finished parts there, so that the same command goes
on where it was stopped.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from common import arguments

PARTS = ("corruptions", "labels", "tables", "update")


def main() -> None:
    """One after the other; a part that fails does not stop the rest, but fails the whole."""
    options = arguments(__doc__)
    failed = []
    for part in PARTS:
        started = time.monotonic()
        command = [sys.executable, str(Path(__file__).with_name(f"{part}.py")), "--seeds", str(options.seeds)]
        command += ["--quick"] if options.quick else []
        command += ["--json", str(options.json / f"{part}.json")] if options.json else []
        failed += [part] if subprocess.run(command, check=False).returncode else []
        print(f"{part}: {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
