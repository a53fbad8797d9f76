"""Drift detectors of the literature on a stream of errors, by name: those of the package river.

    adwin         Bifet and Gavaldà 2007      ddm           Gama et al. 2004      eddm   Baena-García et al. 2006
    hddm_a        Frías-Blanco et al. 2015    hddm_w        the same              kswin  Raab et al. 2020
    page_hinkley  Page 1954

None bounds how many clean streams ever alarm; `aet.monitoring.watching` does. They are here for those who know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aet.errors import ConfigError, nearest
from aet.optional import optional

NAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "adwin": ("river.drift", ("ADWIN",)),
    "kswin": ("river.drift", ("KSWIN",)),
    "page_hinkley": ("river.drift", ("PageHinkley",)),
    "ddm": ("river.drift.binary", ("DDM",)),
    "eddm": ("river.drift.binary", ("EDDM",)),
    "hddm_a": ("river.drift.binary", ("HDDMA", "HDDM_A")),
    "hddm_w": ("river.drift.binary", ("HDDMW", "HDDM_W")),
}
"""Module and class of each; some classes were renamed between versions."""
BINARY = ("ddm", "eddm", "hddm_a", "hddm_w")
"""These take right or wrong alone."""
KEPT = 4096
"""Newest values that are kept, to make the detector again when a watch is loaded."""


class Detector:
    """One detector; `see` gives the places of the values at which it found a change.

    Args:
        name: one of `NAMES`.
        settings: of river's class.

    Raises ConfigError for another name or setting, MissingPackage without river.

    >>> import numpy as np
    >>> detector = Detector("page_hinkley")
    >>> detector.see(np.r_[np.zeros(200), np.ones(200)])[0] > 200
    True
    """

    def __init__(self, name: str, **settings: Any) -> None:
        if name not in NAMES:
            raise ConfigError(f"There is no detector {name!r}. {nearest(name, NAMES)}")
        module, classes = NAMES[name]
        found = optional(
            module, f"The detector {name!r}", "pip install 'aet[serve]'", "leave it out: error drift is tested anyway"
        )
        self.name, self.settings = name, settings if name != "kswin" else {"seed": 0, **settings}
        self._made = next(getattr(found, known) for known in classes if hasattr(found, known))
        self.kept: list[float] = []
        self._fresh()

    def _fresh(self) -> None:
        try:
            self._detector = self._made(**self.settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The detector {self.name!r} does not take {self.settings}: {error}.") from error

    def see(self, values: Any) -> list[int]:
        """Places (0, 1, ...) of values (N,) at which a change was found; where a detector is binary 0.5 is wrong."""
        found = []
        for place, value in enumerate(np.asarray(values, float).tolist()):
            self._detector.update(int(value >= 0.5) if self.name in BINARY else value)
            self.kept.append(value)
            if self._detector.drift_detected:
                found.append(place)
                self._fresh()
                self.kept = []
        self.kept = self.kept[-KEPT:]
        return found

    def to_arrays(self) -> dict[str, Any]:
        """By name, to be saved: the values since the last change, at most `KEPT` of them."""
        return {"kept": np.array(self.kept, float)}

    def load_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take back what `to_arrays` gave, by showing the detector those values again."""
        self._fresh()
        self.kept = []
        self.see(arrays["kept"])
