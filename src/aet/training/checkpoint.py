"""Where a run stands, in one safetensors file that is replaced as a whole: an interrupted run goes on exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aet.attention.state import under
from aet.batch import Batch
from aet.errors import RunError
from aet.ranks import leads
from aet.training.packed import pack_optimiser, unpack_optimiser

if TYPE_CHECKING:
    from aet.training.switch import Switch


@dataclass
class Progress:
    """Epochs done, their figures, and the best weights so far."""

    epoch: int = 0
    best: float = float("inf")
    waited: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)


def fingerprint(model: nn.Module, config: dict[str, Any], *batches: Batch) -> str:
    """Hash of the settings, the shapes and the rows: a checkpoint continues only the run that it came from."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(str([(name, tuple(p.shape)) for name, p in model.named_parameters()]).encode())
    for batch in batches:
        for tensor in (*batch.values.values(), batch.target, batch.weight):
            if tensor is not None:
                digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def save(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    mark: str,
    switches: Sequence[Switch] = (),
) -> None:
    """Write everything that the loop needs to go on; of several processes the first one does."""
    if not leads():
        return
    from safetensors.torch import save_file

    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    tensors |= {f"best.{name}": t for name, t in progress.weights.items()}
    slots: dict[str, Tensor] = {}
    optimiser_state = pack_optimiser(optimiser.state_dict(), slots)
    tensors |= {f"optimiser.{name}": t for name, t in slots.items()}
    for switch in switches:
        kept = {"calls": torch.tensor(switch.calls), **switch.memory()}
        tensors |= {f"switch.{switch.name}.{name}": t for name, t in kept.items()}
    meta = {
        "optimiser": optimiser_state,
        "epoch": progress.epoch,
        "best": progress.best,
        "waited": progress.waited,
        "history": progress.history,
    }
    partial = partial_path(path)
    owned = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    save_file(owned, str(partial), metadata={"progress": json.dumps(meta), "mark": mark})
    partial.replace(path)


def partial_path(path: Path) -> Path:
    """Where a checkpoint grows until it takes the place of the last one."""
    return path.with_suffix(".partial")


def remove(path: Path) -> None:
    """The run is done: nothing is left to take up."""
    if not leads():
        return
    for file in (path, partial_path(path)):
        file.unlink(missing_ok=True)


def restore(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    mark: str,
    switches: Sequence[Switch] = (),
) -> Progress | None:
    """Take up the run again; None if there is nothing to take up, or it was another run."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as opened:
            meta = opened.metadata() or {}
            if meta.get("mark") != mark:
                return None
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise RunError(f"The checkpoint {path} is damaged ({error}). Remove it to start the run anew.") from error
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}, "switch": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    progress = json.loads(meta["progress"])
    state = unpack_optimiser(progress.pop("optimiser"), parts["optimiser"], optimiser.state_dict())
    optimiser.load_state_dict(state)
    for switch in switches:
        kept = under(f"{switch.name}.", parts["switch"])
        switch.calls = int(kept.pop("calls"))
        switch.load_memory(kept)
    return Progress(**progress, weights=parts["best"])
