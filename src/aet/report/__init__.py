"""One self-contained HTML page from one run: what drift cost, what was won back, whether serving was safe."""

from aet.report.page import render, write

__all__ = ["render", "write"]
