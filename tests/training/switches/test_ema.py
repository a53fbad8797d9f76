"""The moving average's decay is a share."""

import pytest

from aet.errors import ConfigError
from aet.training.switches.ema import Ema


@pytest.mark.parametrize("decay", [1, 1.5])
def test_a_decay_that_never_moves_is_refused(decay):
    with pytest.raises(ConfigError, match="decay of the switch 'ema' is a share: expected at least 0 and below 1"):
        Ema(decay=decay)
