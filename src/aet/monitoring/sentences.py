"""Alarms in words: one plain sentence with the numbers."""

from __future__ import annotations

from aet.monitoring.autocorrelation import Runs
from aet.monitoring.gauge import Reading
from aet.monitoring.performance import Estimate, HeldOut


def sentence(
    group: str,
    best: Reading,
    raised: int,
    series: int,
    runs: Runs | None = None,
    estimate: Estimate | None = None,
    held_out: HeldOut | None = None,
    learned: bool = False,
) -> str:
    """What a group's strongest series says.

    >>> best = Reading("age", 5e4, 1e3, 5e4, 12, 0.9, 0.0, 0.8)
    >>> sentence("columns", best, 2, 9)
    "Input drift: column 'age' has left the training data since about row 12 (80 % of the newest rows lie above all \
training rows; distance 0.90 of 1), and 1 more of 9; evidence 5e+04 of 1e+03 needed."
    """
    before = "the stream's first rows" if learned else "the training data"
    held = "the stream's first rows" if learned else "held-out rows"
    where = f"since about row {best.since}"
    more = f", and {raised - 1} more of {series}" if raised > 1 else ""
    proof = f"evidence {best.peak:.3g} of {best.needed:.3g} needed."
    if group == "columns":
        said = f"Input drift: column {best.name!r} has left {before} {where} ({far(best, before)}){more}; {proof}"
    elif group == "features":
        said = f"Input drift: the model's features ({best.name}) are not those of {held} {where}{more}; {proof}"
    elif group == "answers":
        what = {"class": "the mix of predicted classes", "number": "the numbers answered"}.get(best.name, best.name)
        said = f"Prediction drift: {what} differs from that of {held} {where} (distance {best.moved:.2f} of 1); {proof}"
    elif group == "confidence":
        now = known(estimate, held_out)
        said = f"Accuracy may have fallen: confidences are lower than those of {held} {where}{now}; {proof}"
    else:
        said = f"Error drift: more answers are wrong than on {held}, since about label {best.since}; {proof}"
    if runs is not None and runs.correlated:
        said += " Predicted classes come in runs: the order of the rows may be what changed, not their distribution."
    elif runs is not None and runs.alone and runs.rows > 1:
        said += f" All of the newest {runs.rows} answers are of one class: the rows may come sorted by class."
    return said


def far(best: Reading, before: str) -> str:
    """How far a column is."""
    rows = "first rows" if "first" in before else "training rows"
    said = f"distance {best.moved:.2f} of 1"
    for share, side in ((best.above, "above"), (best.below, "below")):
        if share >= 0.1:
            said = f"{100 * share:.0f} % of the newest rows lie {side} all {rows}; {said}"
    return said


def known(estimate: Estimate | None, held_out: HeldOut | None) -> str:
    """The estimated accuracy."""
    if estimate is None or held_out is None:
        return ", and the run keeps no figures to estimate the accuracy by"
    return (
        f"; estimated accuracy {100 * estimate.value:.0f} % (95 % interval {100 * estimate.low:.0f} to "
        f"{100 * estimate.high:.0f} %, if the shift is like simulated ones) after {100 * held_out.accuracy:.0f} % there"
    )
