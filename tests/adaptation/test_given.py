"""What a stream is given is looked at first."""

from __future__ import annotations

import numpy as np
import pytest

from aet.adaptation.given import check_counts
from aet.errors import ConfigError


@pytest.mark.parametrize("count", ["3", 2.5, None])
def test_a_number_of_rows_is_whole(count):
    with pytest.raises(ConfigError, match="count is a whole number of rows"):
        check_counts(count, 2048)
    with pytest.raises(ConfigError, match="newest is a whole number of rows"):
        check_counts(16, count)


def test_counts_of_numpy_are_taken_and_bounds_are_named():
    check_counts(np.int64(16), np.int32(64))
    with pytest.raises(ConfigError, match="1 or more"):
        check_counts(16, 0)
    with pytest.raises(ConfigError, match="At most"):
        check_counts(10_000, 64)
