"""The switch `tuning`, which `fit` turns on for models with a network that trains in part: `inputs.text.tuning`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aet.attention.state import under
from aet.errors import ConfigError
from aet.inputs.backbone import Backbone
from aet.inputs.text import TextInput
from aet.model import Model
from aet.registry import Registry
from aet.training.switch import Pass, Run, Switch

STILL = 1e-8
"""What moved less than this stood still: single precision does not see it beside 1."""
TUNED: Registry[type[Tuned]] = Registry("tuning")


class Tuned(ABC):
    """What trains in one network. Subclasses put it in and fold it.

    Args:
        backbone: the network.
        settings: as in `aet.inputs.tuning.TUNINGS`.
    """

    def __init__(self, backbone: Backbone, settings: Mapping[str, Any]) -> None:
        self.backbone, self.settings = backbone, settings

    def prepare(self) -> None:
        """Freeze the network, and put in what trains."""
        self.before = [name for name, p in self.backbone.named_parameters() if p.requires_grad]
        self.all = sum(p.numel() for p in self.backbone.parameters())
        self.backbone.requires_grad_(False)
        self.fresh = self.insert()
        self.start = [p.detach().clone() for p in self.fresh]
        self.moved = False
        for p in self.fresh:
            p.requires_grad_(True)

    @abstractmethod
    def insert(self) -> list[nn.Parameter]:
        """Put in what trains, the identity at first; its parameters."""

    @abstractmethod
    def fold(self) -> None:
        """Move it into the network's own weights; nothing of it stays."""

    def begin(self, run: Run) -> None:  # noqa: B027 (most have nothing to do)
        """Before the first step."""

    def term(self) -> Tensor | None:
        """What is added to the loss."""
        return None

    def gradient(self) -> None:  # noqa: B027
        """Before the step."""

    def stepped(self, run: Run) -> None:
        """After a step: see whether anything has moved yet."""
        if not self.moved:
            pairs = zip(self.fresh, self.start, strict=True)
            self.moved = any(float((p.detach() - q).abs().max()) > STILL for p, q in pairs)

    def end(self) -> None:
        """Fold, and let everything train again that did before."""
        self.fold()
        parameters = dict(self.backbone.named_parameters())
        for name in self.before:
            parameters[name].requires_grad_(True)

    def said(self) -> str:
        """What it did; empty if nothing."""
        trained = sum(p.numel() for p in self.fresh)
        return f"trained {trained:,} weights for the network's {self.all:,}" if self.moved else ""

    def remedy(self) -> str:
        """What to do about having done nothing."""
        return "Raise train.lr, inputs.text.rate or train.epochs, or set inputs.text.tuning: frozen."

    def memory(self) -> dict[str, Tensor]:
        """What must outlive an interruption."""
        return {}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Take it back."""


class Tuning(Switch):
    """All networks of a model that train in part; not turned on by name but by `inputs.text.tuning`."""

    name = "tuning"
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, model: Model) -> None:
        super().__init__()
        found = list(told(model))
        self.parts = {name: TUNED[tuning["name"]](backbone, tuning["settings"]) for name, backbone, tuning in found}
        self.kinds = {name: tuning["name"] for name, _, tuning in found}
        self.settings = {name: {tuning["name"]: tuning["settings"]} for name, _, tuning in found}

    def prepare(self, model: Model) -> None:
        """Put in what trains."""
        for part in self.parts.values():
            part.prepare()

    def begin(self, run: Run) -> None:
        """Refuse what takes its gradient away."""
        for name, part in self.parts.items():
            if not all(p.requires_grad for p in part.fresh):
                raise ConfigError(
                    f"A switch freezes the inputs, and inputs.text.tuning: {self.kinds[name]} is to train there. Turn "
                    "it off, or give it the setting inputs: true."
                )
            part.begin(run)

    def term(self, run: Run, seen: Pass) -> Tensor | None:
        """The parts' sum."""
        terms = [term for part in self.parts.values() if (term := part.term()) is not None]
        return torch.stack(terms).sum() if terms else None

    def gradient(self, run: Run) -> None:
        """Each part."""
        for part in self.parts.values():
            part.gradient()

    def stepped(self, run: Run) -> None:
        """Each part."""
        self.calls += 1
        for part in self.parts.values():
            part.stepped(run)

    def end(self, run: Run) -> None:
        """Plain weights again."""
        for part in self.parts.values():
            part.end()

    def acted(self) -> str:
        """What each did; empty where one did nothing."""
        said = {f"{self.kinds[name]} of {name}": part.said() for name, part in self.parts.items()}
        return "; ".join(f"{name}: {text}" for name, text in said.items()) if self.calls and all(said.values()) else ""

    def remedy(self, run: Run) -> str:
        """Of the parts that did nothing."""
        return " ".join(dict.fromkeys(part.remedy() for part in self.parts.values() if not part.said()))

    def memory(self) -> dict[str, Tensor]:
        """Of all parts."""
        return {f"{name}.{key}": t for name, part in self.parts.items() for key, t in part.memory().items()}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take it back."""
        for name, part in self.parts.items():
            part.load_memory(under(f"{name}.", memory))


def told(model: Model) -> Iterator[tuple[str, Backbone, dict[str, Any]]]:
    """Name, network and tuning of the inputs whose network trains in part."""
    for name, part in model.parts():
        if isinstance(part, TextInput) and part.network is not None and part.network["tuning"]["name"] in TUNED:
            assert part.backbone is not None
            yield name, part.backbone, part.network["tuning"]


def tunings(model: Model, beside: Sequence[Switch] = ()) -> Sequence[Switch]:
    """The switch where there is something to tune, and no other switch keeps the inputs as they are."""
    return [Tuning(model)] if any(told(model)) and not any(switch.holds_inputs for switch in beside) else []
