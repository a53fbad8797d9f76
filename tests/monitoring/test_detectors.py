"""Detectors of the literature by name."""

import numpy as np
import pytest

from aet.errors import ConfigError
from aet.monitoring.detectors import NAMES, Detector


@pytest.mark.parametrize("name", NAMES)
def test_each_finds_a_jump_and_is_quiet_before(name):
    rng = np.random.default_rng(0)
    errors = np.r_[rng.random(600) < 0.1, rng.random(400) < 0.8].astype(float)
    found = Detector(name).see(errors)
    assert any(600 <= place < 800 for place in found)


@pytest.mark.parametrize("name", NAMES)
def test_each_goes_on_after_it_was_saved(name):
    rng = np.random.default_rng(1)
    one, other = Detector(name), Detector(name)
    one.see((rng.random(500) < 0.1).astype(float))
    other.load_arrays(one.to_arrays())
    rest = (rng.random(300) < 0.7).astype(float)
    assert one.see(rest) == other.see(rest) != []


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'adwin'"):
        Detector("adwn")
    with pytest.raises(ConfigError, match="does not take"):
        Detector("adwin", wide=3)
