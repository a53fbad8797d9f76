"""Optimisers by name: `train.optimizer`, with `train.optimizer_settings` for what is its own.

    adamw          Loshchilov and Hutter 2019, 1711.05101                                   rate 0.001
    sgd            with Nesterov's momentum 0.9, Sutskever et al. 2013                      rate 0.1
    schedulefree   AdamW that averages by itself, Defazio et al. 2024, 2405.15682           rate 0.0025
    prodigy        AdamW that finds its rate, Mishchenko and Defazio 2024, 2306.06101       rate 1 (a factor)

and every optimiser of the package pytorch-optimizer that steps on plain gradients, by its name there and with its own
rate. `train.weight_decay` pulls matrices only; what the schedule, `layer_decay` and other switches make of the rate
holds for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch

from aet.config import TrainConfig
from aet.errors import ConfigError, nearest
from aet.optional import optional
from aet.registry import Registry
from aet.training.packed import pack_optimiser, unpack_optimiser

EXTRA = 'pip install "attention-elastic-training[optimizers]"'
OURS = {
    "params": "aet gives it the model's weights",
    "lr": "set train.lr",
    "weight_decay": "set train.weight_decay",
    "warmup_steps": "set train.warmup",
}
"""Arguments that are not for `train.optimizer_settings`, and what is."""
SWITCH_SAM = "turn on the switch sam instead, with any optimiser: train.switches.sam: {}"
OTHER = "choose another, for example 'adamw', 'schedulefree' or 'prodigy'"
REFUSED = {
    **dict.fromkeys(("sam", "gsam", "wsam", "looksam", "friendlysam", "bsam"), ("takes each step twice", SWITCH_SAM)),
    **dict.fromkeys(("adahessian", "sophiah"), ("needs second derivatives, which aet does not compute", OTHER)),
    **dict.fromkeys(("lbfgs", "alig"), ("calls the loss again by itself, a closure", OTHER)),
    **dict.fromkeys(("lomo", "adalomo"), ("steps inside the backward pass", OTHER)),
    "lookahead": ("wraps another optimiser", "turn on the switch ema, or choose 'ranger'"),
}
"""Names of pytorch-optimizer: what speaks against each, and what to do."""
FAILURES = (ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError)
"""What a foreign optimiser raises for arguments or tensors that it was not made for."""

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """How to make an optimiser."""

    kind: Callable[..., torch.optim.Optimizer]
    """Its class."""
    lr: float | None
    """Its own learning rate; None if it has none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its settings here, where they are not those of its authors."""
    decay: float = 1.0
    """Factor on `train.weight_decay`."""
    averages: bool = False
    """Whether it averages its steps, which takes the place of a falling rate."""
    finds: bool = False
    """Whether it finds the size of its steps itself, one for all weights; the rate is a factor on it."""
    tried: bool = True
    """Whether it is known to fit; others are rehearsed before they are used."""

    @property
    def excludes(self) -> dict[str, str]:
        """Switches that it does not go with, and why."""
        averages = dict.fromkeys(("ema", "swa"), "it averages the weights itself")
        averages["plateau"] = "it averages its steps instead of lowering its rate"
        return {
            **(averages if self.averages else {}),
            **({"layer_decay": "it finds one size of step for all weights"} if self.finds else {}),
        }


OPTIMIZERS: Registry[Callable[[], Recipe]] = Registry("optimiser")


@OPTIMIZERS.register("adamw")
def adamw() -> Recipe:
    """AdamW of PyTorch."""
    return Recipe(torch.optim.AdamW, 1e-3)


@OPTIMIZERS.register("sgd")
def sgd() -> Recipe:
    """SGD of PyTorch; its rate is a hundred times that of adamw, so a hundredth of the decay does the same a step."""
    return Recipe(torch.optim.SGD, 0.1, {"momentum": 0.9, "nesterov": True}, decay=0.01)


@OPTIMIZERS.register("schedulefree")
def schedulefree() -> Recipe:
    """AdamWScheduleFree of the package schedulefree."""
    return Recipe(package("schedulefree", "schedulefree").AdamWScheduleFree, 0.0025, averages=True)


@OPTIMIZERS.register("prodigy")
def prodigy() -> Recipe:
    """Prodigy of the package prodigyopt; the warm-up does not enter its estimate, as its authors advise."""
    return Recipe(package("prodigy", "prodigyopt").Prodigy, 1.0, {"safeguard_warmup": True}, finds=True)


def package(name: str, module: str) -> Any:
    """The module of an optional package; MissingPackage names the extra it comes with."""
    return optional(module, f"The optimiser {name!r}", EXTRA, OTHER.replace(repr(name), repr("sgd")))


def recipe(name: str) -> Recipe:
    """The recipe of a name, here or in pytorch-optimizer; ConfigError for an unknown one, or one that cannot be used.

    >>> recipe("adamw").lr
    0.001
    >>> recipe("sam")
    Traceback (most recent call last):
    aet.errors.ConfigError: The optimiser 'sam' takes each step twice: turn on the switch sam instead, ...
    """
    if name in OPTIMIZERS:
        return OPTIMIZERS[name]()
    if name in REFUSED:
        raise ConfigError("The optimiser {!r} {}: {}.".format(name, *REFUSED[name]))
    others = package(name, "pytorch_optimizer")
    known = others.get_supported_optimizers()
    if name not in known:
        close = get_close_matches(name, dict.fromkeys([*OPTIMIZERS, *known]), n=3)
        meant = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ConfigError(
            f"There is no optimiser {name!r}. {meant}Known: {', '.join(map(repr, OPTIMIZERS))} and the {len(known)} "
            "names of pytorch_optimizer.get_supported_optimizers()."
        )
    try:
        kind = others.load_optimizer(name)
    except FAILURES as error:
        raise ConfigError(f"The optimiser {name!r} cannot be loaded: {error}. Otherwise {OTHER}.") from error
    lr = inspect.signature(kind).parameters.get("lr")
    return Recipe(
        kind,
        lr.default if lr and isinstance(lr.default, float | int) else None,
        averages=name.startswith("schedulefree"),
        finds=name.startswith(("dadapt", "prodigy")),
        tried=False,
    )


def own_rate(settings: TrainConfig) -> float:
    """`train.lr`, or the optimiser's own where it is not set.

    >>> own_rate(TrainConfig()), own_rate(TrainConfig(optimizer="sgd")), own_rate(TrainConfig(lr=0.5))
    (0.001, 0.1, 0.5)
    """
    if isinstance(settings.lr, float):
        return settings.lr
    lr = recipe(settings.optimizer).lr
    if lr is None:
        raise ConfigError(f"The optimiser {settings.optimizer!r} has no learning rate of its own. Set train.lr.")
    return float(lr)


def own_schedule(settings: TrainConfig) -> str:
    """`train.schedule`; "auto" is cosine, and constant where the optimiser averages or the switch plateau cuts.

    >>> own_schedule(TrainConfig()), own_schedule(TrainConfig(switches={"plateau": {}}))
    ('cosine', 'constant')
    """
    free = recipe(settings.optimizer).averages
    if settings.schedule == "auto":
        return "constant" if free or "plateau" in settings.switches else "cosine"
    if free and settings.schedule != "constant":
        raise ConfigError(
            f"The optimiser {settings.optimizer!r} averages its steps instead of lowering its rate: expected "
            f"train.schedule 'auto' or 'constant', got {settings.schedule!r}. Leave train.schedule out."
        )
    return settings.schedule


def make_optimizer(settings: TrainConfig, groups: Groups) -> torch.optim.Optimizer:
    """The optimiser of `train.optimizer` over groups with a `weight_decay` each; ConfigError for what does not fit."""
    name, found = settings.optimizer, recipe(settings.optimizer)
    for switch, why in found.excludes.items():
        if switch in settings.switches:
            raise ConfigError(f"The optimiser {name!r} does not go with the switch {switch!r}: {why}. Turn one off.")
    if found.finds and any("scale" in group for group in groups):
        raise ConfigError(
            f"The optimiser {name!r} finds one size of step for all weights, and a pretrained network takes smaller "
            "ones than the rest. Set inputs.text.rate: 1, or inputs.text.tuning: frozen, or choose another optimiser."
        )
    check_settings(name, found.kind, settings.optimizer_settings)
    given, lr = {**found.settings, **settings.optimizer_settings}, own_rate(settings)
    groups = [{**group, "weight_decay": found.decay * group["weight_decay"]} for group in groups]

    def build(over: Groups) -> torch.optim.Optimizer:
        return found.kind(over, lr=lr, **given)

    try:
        if not found.tried:
            rehearse(build, groups)
        optimiser = build(groups)
    except FAILURES as error:
        raise ConfigError(
            f"The optimiser {name!r} cannot train here with its settings {given}: {str(error).rstrip('.')}. Expected "
            f"one that steps on plain gradients of matrices and vectors, without a closure; {OTHER}."
        ) from error
    if "weight_decay" not in optimiser.defaults and any(group["weight_decay"] for group in groups):
        raise ConfigError(
            f"The optimiser {name!r} knows no weight decay, so train.weight_decay={settings.weight_decay:g} would do "
            "nothing. Set train.weight_decay: 0."
        )
    return optimiser


def check_settings(name: str, kind: Callable[..., torch.optim.Optimizer], given: Mapping[str, Any]) -> None:
    """ConfigError for a setting that the optimiser has not, or that is set elsewhere."""
    signature = inspect.signature(kind).parameters
    known = [setting for setting, p in signature.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    known = [setting for setting in known if setting not in OURS]
    for setting in given:
        if setting in OURS:
            raise ConfigError(f"train.optimizer_settings.{setting} is not set there: {OURS[setting]}.")
        if setting not in known:
            raise ConfigError(f"The optimiser {name!r} has no setting {setting!r}. {nearest(setting, known)}")


def rehearse(build: Callable[[Groups], torch.optim.Optimizer], groups: Groups) -> None:
    """Some steps on copies of the weights: ConfigError unless a saved state goes on with the same bits."""

    def copies(of: Groups) -> Groups:
        return [{**g, "params": [p.detach().clone().requires_grad_() for p in g["params"]]} for g in of]

    def step(optimiser: torch.optim.Optimizer, over: Groups, seed: int) -> None:
        torch.manual_seed(seed)
        for group in over:
            for p in group["params"]:
                p.grad = 1e-2 * torch.randn_like(p)
        to_train(optimiser)
        optimiser.step()
        to_average(optimiser)

    tensors: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        whole = copies(groups)
        one = build(whole)
        for seed in range(2):
            step(one, whole, seed)
        parts = copies(whole)
        two, tree = build(parts), pack_optimiser(one.state_dict(), tensors)
        owned = {slot: t.detach().contiguous().clone() for slot, t in tensors.items()}
        two.load_state_dict(unpack_optimiser(tree, owned, two.state_dict()))
        step(one, whole, 2)
        step(two, parts, 2)
    if not all(torch.equal(a, b) for g, h in zip(whole, parts, strict=True) for a, b in pairs(g, h)):
        raise ConfigError("after an interruption it goes another way, since its `state_dict` does not hold all of it")


def pairs(one: Mapping[str, Any], two: Mapping[str, Any]) -> Sequence[tuple[torch.Tensor, torch.Tensor]]:
    """The weights of two groups, side by side."""
    return list(zip(one["params"], two["params"], strict=True))


def to_train(optimiser: torch.optim.Optimizer) -> None:
    """The weights are those to take gradients at; for optimisers that know two places, else nothing."""
    switch = getattr(optimiser, "train", None)
    if switch is not None:
        switch()


def to_average(optimiser: torch.optim.Optimizer) -> None:
    """The weights are those to validate, keep and save: the averaged ones of optimisers that know two places."""
    switch = getattr(optimiser, "eval", None)
    if switch is not None:
        switch()
