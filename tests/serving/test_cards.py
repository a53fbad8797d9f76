"""What a model's card says."""

from __future__ import annotations

import pytest

from aet.serving.cards import forgot


@pytest.mark.parametrize(
    ("lost", "interval", "says"),
    [
        (3.0, (1.0, 5.0), "lost 3.0 points of accuracy, 95 % interval +1.0 to +5.0."),
        (-21.1, (-30.0, -12.5), "gained 21.1 points of accuracy, 95 % interval +12.5 to +30.0."),
    ],
)
def test_what_an_update_lost_or_gained_on_old_rows(lost, interval, says):
    runs = {"update": {"forgetting": lost, "interval": interval}}
    sentence = forgot({"update": {"old": {"held": 19}, "score": "accuracy", "runs": runs}})
    assert sentence == f"On 19 old held-out rows the update {says}"
