"""Label smoothing (Szegedy et al. 2016, 1512.00567): a part of each label is spread over all classes.

    l = (1 - ε) · l(y) + ε · u,    u = (1/C) Σ_k l(k)

which is the cross-entropy with (1 - ε) on the true class and ε/C on every class; a yes-or-no label moves by ε towards
½. Class weights stay in l.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aet.errors import ConfigError
from aet.members import over_members
from aet.outputs.label import LabelOutput
from aet.outputs.multilabel import MultilabelOutput
from aet.training.switch import SWITCHES, Pass, Run, Switch


@SWITCHES.register("label_smoothing")
class LabelSmoothing(Switch):
    """Settings: `epsilon` in [0, 1), the part that is spread.

    >>> LabelSmoothing(epsilon=1.5)
    Traceback (most recent call last):
    aet.errors.ConfigError: The setting epsilon of the switch 'label_smoothing' is a share: expected at least 0 and ...
    """

    name = "label_smoothing"
    defaults: ClassVar[dict[str, Any]] = {"epsilon": 0.1}
    fractions = ("epsilon",)

    def begin(self, run: Run) -> None:
        """ConfigError for an output without classes."""
        output = run.model.output
        if not isinstance(output, LabelOutput | MultilabelOutput):
            raise ConfigError(
                f"The switch {self.name!r} spreads a label over classes: expected the output 'label' or 'multilabel', "
                f"got {output.kind!r}. Turn it off, or declare the target as a label."
            )

    def losses(self, run: Run, seen: Pass) -> Tensor:
        """The formula above."""
        epsilon = float(self.settings["epsilon"])
        if epsilon == 0:
            return seen.losses
        output = run.model.output
        if isinstance(output, LabelOutput):
            spread = -(F.log_softmax(seen.logits, -1) * output.class_weight).mean(-1)  # (B,)
        else:  # the loss is linear in the label, so its mean over 0 and 1 is that at ½
            labels = torch.full_like(seen.logits, 0.5)
            spread = output.losses(seen.logits, labels if labels.ndim == 2 else labels[:, 0])
        self.calls += 1
        return torch.lerp(seen.losses, over_members(spread).to(seen.losses), epsilon)

    def acted(self) -> str:
        """Batches smoothed."""
        return f"smoothed {self.calls:,} batches by {self.settings['epsilon']:g}" if self.calls else ""
