"""The shift suite as a picture: methods down, streams across, points won (blue) or lost (red) over the source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import Record

LIMIT = 30.0
"""Points at which the colours end."""


def draw(made: Sequence[Record], path: Path) -> None:
    """Write the picture; its kind follows the ending."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    gains = {(r.method, r.task, r.stream): r.value for r in made if r.metric == "gain" and r.task != "all"}
    if not gains:
        return
    means = {r.method: r.value for r in made if r.metric == "gap_closed" and r.task == "all"}
    methods = sorted(dict.fromkeys(m for m, _, _ in gains), key=lambda m: -means.get(m, -101.0))
    streams = list(dict.fromkeys((task, stream) for _, task, stream in gains))
    grid = np.array([[gains.get((m, *s), np.nan) for s in streams] for m in methods])

    with matplotlib.rc_context({"svg.hashsalt": "aet", "font.size": 7, "svg.fonttype": "none"}):
        size = (3.2 + 0.34 * len(streams), 2.6 + 0.22 * len(methods))
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        colours = matplotlib.colormaps["RdBu"].with_extremes(bad="0.85")
        image = axes.imshow(grid, cmap=colours, vmin=-LIMIT, vmax=LIMIT, aspect="auto")
        for (row, column), value in np.ndenumerate(grid):
            if not np.isnan(value):
                dark = abs(value) > 0.6 * LIMIT
                axes.text(column, row, f"{round(value)}", ha="center", va="center", color="white" if dark else "black")
        shown = [f"{m}  ({means[m]:.0f} %)" if m in means else m for m in methods]
        axes.set_yticks(range(len(methods)), shown)
        axes.set_xticks(range(len(streams)), [f"{task}: {stream}" for task, stream in streams], rotation=90)
        axes.set_title("points over the source (mean gap closed in brackets)")
        figure.colorbar(image, ax=axes, label="points", shrink=0.8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
