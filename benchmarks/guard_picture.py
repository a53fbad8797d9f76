"""The picture of `guard.py`: labels until a proposal is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Record


def draw_picture(records: Sequence[Record], gains: Sequence[float], rates: Sequence[float], path: Path) -> None:
    """Median labels against the gain, one line a share of answers that differ, `likely` beside."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aet"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for panel, guard in zip(panels, ("earned", "likely 0.9"), strict=True):
        for shade, rate in zip(np.linspace(0.25, 1, len(rates)), rates, strict=True):
            at = {
                metric: [
                    (100 * gain, r.value)
                    for gain in gains
                    for r in records
                    if (r.method, r.metric) == (guard, metric)
                    and r.stream == f"alike: gain {100 * gain:g}, differ {rate:.0%}"
                ]
                for metric in ("labels 20 %", "labels 50 %", "labels 80 %")
            }
            points = [(x, y) for x, y in at["labels 50 %"] if np.isfinite(y)]
            if points:
                panel.plot(
                    *zip(*points, strict=True), "o-", color=pyplot.cm.viridis(1 - shade), label=f"{rate:.0%}", ms=4
                )
        panel.axhline(48, color="0.7", lw=0.8, ls="--")
        panel.set(title=guard, xlabel="true gain, points", yscale="log", xlim=(0, 31))
        panel.set_xticks([2, 5, 10, 20, 30])
    panels[0].set_ylabel("labels until served, median")
    panels[0].set_yticks(
        [5, 10, 20, 48, 100, 200, 500, 1000, 2000], ["5", "10", "20", "48", "100", "200", "500", "1,000", "2,000"]
    )
    panels[1].legend(title="answers that differ", fontsize=8, title_fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
