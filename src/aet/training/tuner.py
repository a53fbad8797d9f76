"""What LoRA and its kin have in common: the trunk's own weights stand still, few others train in their place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from aet.errors import ConfigError
from aet.grown import grow
from aet.model import Model
from aet.training.switch import Run, Switch, need_blocks

TUNERS = ("lora", "ia3", "adalora", "adapters", "prefix")
PLACES = ("all", "attention", "mlp")


class Tuner(Switch):
    """Base: freeze, put in what trains, and give everything free again at the end.

    Settings of all: `head`, whether the output trains; `inputs`, whether what makes tokens of columns trains.
    """

    own: ClassVar[dict[str, Any]] = {"head": True, "inputs": False}
    excludes = (*TUNERS, "unfreeze")

    def prepare(self, model: Model) -> None:
        """Freeze all, then add what trains."""
        need_blocks(self.name, model)
        self.frozen = [p for p in model.parameters() if not p.requires_grad]
        model.requires_grad_(False)
        fresh = self.insert(model)
        for weight in fresh:
            weight.requires_grad_(True)
        model.output.requires_grad_(bool(self.settings["head"]))
        model.inputs.requires_grad_(bool(self.settings["inputs"]))
        self.hold()
        self.trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.all = sum(p.numel() for p in model.parameters())

    @abstractmethod
    def insert(self, model: Model) -> list[nn.Parameter]:
        """Add the parts, identities at first; their parameters."""

    def stepped(self, run: Run) -> None:
        """Count."""
        self.calls += 1

    def end(self, run: Run) -> None:
        """Everything may train again that did before."""
        run.model.requires_grad_(True)
        self.hold()

    def hold(self) -> None:
        """What never trains, such as a frozen network, does not."""
        for p in self.frozen:
            p.requires_grad_(False)

    def acted(self) -> str:
        """How few trained."""
        return f"trained {self.trained:,} of {self.all:,} weights" if self.calls else ""


class Merged(Tuner):
    """Base of tuners whose parts replace linear layers, and are folded into plain ones at the end.

    Setting of all: `where`, in "attention", the "mlp", or "all" of every block.
    """

    own: ClassVar[dict[str, Any]] = {"where": "all", **Tuner.own}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.settings["where"] not in PLACES:
            raise ConfigError(
                f"The setting where of the switch {self.name!r} is one of {', '.join(map(repr, PLACES))}; got "
                f"{self.settings['where']!r}."
            )

    @abstractmethod
    def replaced(self, plain: nn.Linear, name: str) -> Tuned | None:
        """What stands in for a layer, by its name in the block; None leaves it."""

    def insert(self, model: Model) -> list[nn.Parameter]:
        """Put the parts in the place of the layers."""
        places, wanted = list(layers(model)), self.settings["where"]
        self.tuned: dict[str, Tuned] = {}
        for path, plain, put in places:
            group = path.split(".")[2]
            tuned = self.replaced(plain, path.split(".", 2)[2]) if wanted in ("all", group) else None
            if tuned is not None:
                put(tuned)
                self.tuned[path] = tuned
        return [p for part in self.tuned.values() for p in part.fresh()]

    @torch.no_grad()
    def end(self, run: Run) -> None:
        """Plain layers again, with the same answers."""
        for path, part, put in list(layers(run.model)):
            if path in self.tuned:
                assert isinstance(part, Tuned)
                part.fold()
                put(part.plain)
        super().end(run)


class Tuned(nn.Linear):
    """A linear layer whose own weights are shared with `plain`, and to which something is added."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain.in_features, plain.out_features, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        object.__setattr__(self, "plain", plain)  # no submodule: its weights are counted once

    plain: nn.Linear

    def fresh(self) -> Iterator[nn.Parameter]:
        """What trains."""
        return (p for name, p in self.named_parameters() if name not in ("weight", "bias"))

    @abstractmethod
    def fold(self) -> None:
        """Move what was added into the weights, in place."""


def layers(model: Model) -> Iterator[tuple[str, nn.Linear, Callable[[nn.Linear], None]]]:
    """Path, layer, and how to put another one there, of the linear layers in the trunk's blocks.

    >>> from types import SimpleNamespace
    >>> from aet.trunk import Trunk
    >>> [path for path, _, _ in layers(SimpleNamespace(trunk=Trunk(4, 1, 2)))]
    ['blocks.0.attention.qkv', 'blocks.0.attention.out', 'blocks.0.mlp.0', 'blocks.0.mlp.3']
    """
    for number, block in enumerate(model.trunk.blocks):
        for group in ("attention", "mlp"):
            owner = getattr(block, group)
            for name, part in list(owner.named_children()):
                if isinstance(part, nn.Linear):
                    yield f"blocks.{number}.{group}.{name}", part, partial(setattr, owner, name)


def grow_once(model: Model, part: Literal["adapter", "prefix"], size: int) -> None:
    """Give the trunk adapters or a prefix of this size, unless it has them, and let the model's settings say so."""
    if getattr(model.config.model, part):
        return
    grow(model.trunk, **{part: size})
    changed = model.config.model.model_copy(update={part: size})
    model.config = model.config.model_copy(update={"model": changed})
