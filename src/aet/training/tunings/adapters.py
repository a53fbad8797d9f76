"""LoRA, AdaLoRA and IA3 of the package peft in a pretrained network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aet.attention.state import under
from aet.errors import ConfigError
from aet.inputs.pretrained_files import EXTRA
from aet.optional import optional
from aet.training.switch import Run
from aet.training.tunings.base import TUNED, Tuned

ADAPTER = "default"


class Adapters(Tuned):
    """Base: layers of peft in the place of the network's, which it merges again."""

    kind: ClassVar[str]
    names: ClassVar[tuple[str, str]]
    """Of peft: class of the settings, class of the model."""
    layers: ClassVar[str]
    """Of peft: the layers that it takes, by family of networks."""

    def insert(self) -> list[nn.Parameter]:
        """Replace the layers, in place."""
        peft = optional("peft", f"inputs.text.tuning={self.kind!r}", EXTRA, "set inputs.text.tuning: elastic")
        config, model = (getattr(peft, name) for name in self.names)
        family, module = str(self.backbone.module.config.model_type), self.backbone.module
        try:
            with quiet():
                known = family in getattr(peft.utils, self.layers)
                self.tuner = model(module, {ADAPTER: config(**self.options(family, known))}, ADAPTER)
        except (ValueError, TypeError, KeyError, NotImplementedError) as error:
            raise ConfigError(
                f"inputs.text.tuning={self.kind!r} does not fit the network {family!r}: {error}. Take another: "
                "elastic needs no layer by name."
            ) from error
        return [p for p in module.parameters() if p.requires_grad]

    def options(self, family: str, known: bool) -> dict[str, Any]:
        """What peft is told of a family of networks whose layers it knows, or not."""
        return {
            "target_modules": None if known and self.settings["layers"] == "usual" else "all-linear",
            "lora_alpha": self.settings["alpha"],
            "lora_dropout": self.settings["dropout"],
        }

    def fold(self) -> None:
        """Plain layers again, with the same answers."""
        with quiet():
            self.tuner.merge_and_unload()


@TUNED.register("lora")
class LoRA(Adapters):
    """W + (alpha / rank) B A."""

    kind, names = "lora", ("LoraConfig", "LoraModel")
    layers = "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"

    def options(self, family: str, known: bool) -> dict[str, Any]:
        """The rank."""
        return {**super().options(family, known), "r": self.settings["rank"]}


@TUNED.register("ia3")
class IA3(Adapters):
    """Factors on keys, values and what goes into the last layer of each block."""

    kind, names = "ia3", ("IA3Config", "IA3Model")
    layers = "TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING"

    def options(self, family: str, known: bool) -> dict[str, Any]:
        """Layers as peft knows them; ConfigError for a family that it does not."""
        if not known:
            raise ConfigError(
                f"inputs.text.tuning='ia3': peft knows no keys and values of the network {family!r}. Take lora or "
                "elastic."
            )
        return {}


@TUNED.register("adalora")
class AdaLoRA(Adapters):
    """W + alpha/start · P diag(λ) Q, whose triplets peft's `update_and_allocate` prunes from `start` to `rank` a layer.

    It is called after every step with the gradients of that step: without it no rank would ever move.
    """

    kind, names = "adalora", ("AdaLoraConfig", "AdaLoraModel")
    layers = "TRANSFORMERS_MODELS_TO_ADALORA_TARGET_MODULES_MAPPING"

    def options(self, family: str, known: bool) -> dict[str, Any]:
        """Ranks; the steps are known at `begin`."""
        return {
            **super().options(family, known),
            "init_r": self.settings["start"],
            "target_r": self.settings["rank"],
            "orth_reg_weight": self.settings["orthogonal"],
            "total_step": 1,
            "tfinal": 0,
        }

    def begin(self, run: Run) -> None:
        """Tell peft how many steps there are."""
        warm, settle = (round(self.settings[name] * run.steps) for name in ("warm", "settle"))
        if run.steps - settle - warm < 2:
            raise ConfigError(
                f"inputs.text.tuning='adalora' has no step left to move ranks in: {run.steps} steps, of which {warm} "
                f"warm up and {settle} settle. Raise train.epochs, or lower warm and settle."
            )
        config = self.tuner.peft_config[ADAPTER]
        config.total_step, config.tinit, config.tfinal = run.steps, warm, settle
        config.rank_pattern = None
        self.sides = [p for name, p in self.named() if "lora_A" in name or "lora_B" in name]

    def named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters with their names in the network."""
        return ((name, p) for name, p in self.tuner.model.named_parameters() if "lora_" in name)

    def term(self) -> Tensor | None:
        """γ · mean over all P and Q of ‖PᵀP - 1‖ and ‖QQᵀ - 1‖, as peft adds it to a loss of its own."""
        if not self.settings["orthogonal"]:
            return None
        grams = [p @ p.T if len(p) <= p.shape[1] else p.T @ p for p in self.sides]
        tangles = [torch.linalg.matrix_norm(gram - torch.eye(len(gram)).to(gram)) for gram in grams]
        return float(self.settings["orthogonal"]) * torch.stack(tangles).mean()

    def gradient(self) -> None:
        """Keep the gradients for what comes after the step."""
        self.gradients = [(p, torch.zeros_like(p) if p.grad is None else p.grad) for p in self.fresh]

    def stepped(self, run: Run) -> None:
        """Value the triplets, and prune."""
        super().stepped(run)
        for p, gradient in self.gradients:
            p.grad = gradient
        self.tuner.update_and_allocate(run.step + 1)
        for p, _ in self.gradients:
            p.grad = None

    def ranks(self) -> list[int]:
        """Triplets of each layer that are not pruned."""
        return [int(p.count_nonzero()) for name, p in self.named() if "lora_E" in name]

    def pattern(self) -> dict[str, list[bool]]:
        """Which triplets are kept, by layer; empty before the first were pruned."""
        return self.tuner.peft_config[ADAPTER].rank_pattern or {}

    def end(self) -> None:
        """Note the ranks of the weights that stay, which may be older than the last step."""
        self.stayed = self.ranks()
        super().end()

    def said(self) -> str:
        """Ranks from and to; empty if none was pruned."""
        kept = [sum(flags) for flags in self.pattern().values()]
        start = self.settings["start"] * len(kept)
        if not kept or sum(kept) == start or not super().said():
            return ""
        stayed = f"; the weights kept have {sum(self.stayed)}" if hasattr(self, "stayed") else ""
        return (
            f"{super().said()}; ranks of {len(kept)} layers from {self.settings['start']} each to {min(kept)}-"
            f"{max(kept)} ({start} to {sum(kept)} in all{stayed})"
        )

    def remedy(self) -> str:
        """Too few steps."""
        return "No rank was pruned: raise train.epochs, or lower inputs.text.tuning.adalora.warm."

    def memory(self) -> dict[str, Tensor]:
        """Averages, and which triplets are kept."""
        allocator = self.tuner.rankallocator
        kept = {f"kept.{name}": torch.tensor(flags) for name, flags in self.pattern().items()}
        return {**kept, **{f"{key}.{n}": t for key in AVERAGES for n, t in getattr(allocator, key).items()}}

    def load_memory(self, memory: Mapping[str, Tensor]) -> None:
        """Take them back."""
        device = self.fresh[0].device
        for key in AVERAGES:
            setattr(self.tuner.rankallocator, key, {n: t.to(device) for n, t in under(f"{key}.", memory).items()})
        kept = {name: t.tolist() for name, t in under("kept.", memory).items()}
        self.tuner.peft_config[ADAPTER].rank_pattern = kept or None


AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")
"""What peft keeps of past gradients, by name of its own."""


@contextmanager
def quiet() -> Iterator[None]:
    """Within the context peft's hints for its other users are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
