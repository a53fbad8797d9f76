"""The elastic state: the few tensors that may move after training.

A state is a flat mapping `{module_path}.{dial}` to tensors. All dials are zero at the source, so the zero state *is*
the source. A state is made active for a block of code by `applied`; modules read their own dials from it, so that one
model serves many streams, and threads, at once::

    with applied(state):
        logits = model(batch)

The batched form has one more leading axis, one state a row: `ElasticState.stack(states).rows(index)`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from aet.errors import ConfigError, NotElastic, RunError

M = TypeVar("M", bound=nn.Module)


class ElasticState(Mapping[str, Tensor]):
    """Dials by name, `{module_path}.{dial}`.

    >>> import torch
    >>> state = ElasticState({"norm.scale": torch.zeros(1, 4), "norm.shift": torch.ones(1, 4)})
    >>> state.nbytes, state.module("norm")["shift"].sum().item()
    (32, 4.0)
    >>> state.size(), state.scaled(0.5).size()
    (2.0, 1.0)
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._flat: Tensor | None = None
        self._hold(dict(tensors))

    def _hold(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors
        self._modules: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            path, _, dial = name.rpartition(".")
            self._modules.setdefault(path, {})[dial] = tensor

    def _in_one(self) -> Tensor | None:
        """All dials in one row (n,), of which they are views from then on; None where they are of several kinds or take
        gradients. Stacking a hundred small tensors of each of many states takes longer than the pass that they serve.
        """
        if self._flat is None:
            kinds = {(t.device, t.dtype, t.requires_grad) for t in self.values()}
            if len(kinds) == 1 and not any(free for *_, free in kinds):
                flat = torch.cat([t.reshape(-1) for t in self.values()])
                self._hold(_cut(flat, self))
                self._flat = flat
        return self._flat

    @classmethod
    def zeros(cls, module: nn.Module) -> ElasticState:
        """The source's state of `module`; raises NotElastic if nothing in it can move."""
        reference = next(module.parameters(), torch.empty(0))
        tensors = {
            f"{part.elastic_name}.{dial}": torch.zeros(shape, device=reference.device, dtype=reference.dtype)
            for part in elastic_modules(module)
            for dial, shape in part.dial_shapes().items()
        }
        if not tensors:
            raise NotElastic(
                f"{type(module).__name__} holds no elastic module: expected attention or norms built by aet, "
                "found none. Build it with aet.train, or make it elastic first."
            )
        return cls(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"ElasticState({len(self)} dials, {self.nbytes / 1024:.1f} KB, size {self.size():.4g})"

    def module(self, path: str) -> Mapping[str, Tensor]:
        """The dials of one module, empty where the state has none."""
        return self._modules.get(path, {})

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(t.numel() * t.element_size() for t in self.values())

    def size(self) -> float:
        """Euclidean norm over all dials: the distance from the source; the same in whichever order they came."""
        dials = [self[name].detach().reshape(-1) for name in sorted(self)]
        return math.sqrt(float(torch.cat(dials).double().square().sum()))

    def map(self, change: Callable[[str, Tensor], Tensor]) -> ElasticState:
        """A new state with `change(name, tensor)` in place of each tensor."""
        return ElasticState({name: change(name, tensor) for name, tensor in self.items()})

    def copy(self) -> ElasticState:
        """A detached copy that shares no memory."""
        return self.map(lambda _, t: t.detach().clone())

    def scaled(self, factor: float) -> ElasticState:
        """Every dial times `factor`: 0 is the source, 1 this state."""
        return self.map(lambda _, t: t.detach() * factor)

    def clipped(self, radius: float) -> ElasticState:
        """Every element within [-radius, radius] and finite: the trust region around the source."""
        return self.map(lambda _, t: torch.nan_to_num(t.detach()).clamp(-radius, radius))

    def updated(self, tensors: Mapping[str, Tensor]) -> ElasticState:
        """A new state with some dials replaced."""
        return ElasticState({**self._tensors, **tensors})

    def select(self, keep: Callable[[str], bool]) -> ElasticState:
        """The dials whose name satisfies `keep`; the others stay at the source when this state is applied."""
        return ElasticState({name: tensor for name, tensor in self.items() if keep(name)})

    def trainable(self) -> ElasticState:
        """A copy whose tensors are leaves that take a gradient."""
        return self.map(lambda _, t: t.detach().clone().requires_grad_())

    def each(self, rows: int) -> ElasticState:
        """The batched form with a copy for each of so many rows (B, ...), leaves that take a gradient of their own."""
        return self.map(lambda _, t: t.expand(rows, *t.shape)).trainable()

    def slopes(self, value: Tensor) -> dict[str, Tensor]:
        """Of a value () that was computed under this state, whose tensors are leaves: ∂value/∂dial, 0 where it is none.

        >>> state = ElasticState({"a.scale": torch.ones(1), "b.scale": torch.ones(1)}).trainable()
        >>> {name: slope.item() for name, slope in state.slopes(3 * state["a.scale"].sum()).items()}
        {'a.scale': 3.0, 'b.scale': 0.0}
        """
        found = torch.autograd.grad(value, list(self.values()), allow_unused=True)
        return {n: torch.zeros_like(t) if g is None else g for (n, t), g in zip(self.items(), found, strict=True)}

    def equal(self, other: ElasticState) -> bool:
        """Whether both hold the same dials with the same bits."""
        return set(self) == set(other) and all(torch.equal(t, other[name]) for name, t in self.items())

    @staticmethod
    def stack(states: Sequence[ElasticState]) -> ElasticState:
        """States of one model on a new leading axis, (S, ...)."""
        flat, names = [s._in_one() for s in states], list(states[0])
        known = [one for one in flat if one is not None]
        if len(known) < len(states) or any(list(s._tensors) != names for s in states):
            return ElasticState({name: torch.stack([s[name] for s in states]) for name in names})
        return ElasticState(_cut(torch.stack(known), states[0]))

    def rows(self, index: Tensor) -> ElasticState:
        """Of a stacked state, the one that each row uses: `index` (B,) gives the batched form (B, ...)."""
        return self.map(lambda _, t: t[index])

    def save(self, path: str | Path) -> None:
        """Write as safetensors."""
        from safetensors.torch import save_file

        save_file({name: t.detach().cpu().contiguous() for name, t in self.items()}, str(path))

    @classmethod
    def load(cls, path: str | Path) -> ElasticState:
        """Read what `save` wrote; raises RunError for a damaged or foreign file."""
        return cls(load_tensors(path))


def _cut(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers in one row (..., n) as tensors of these shapes, by name."""
    pieces = flat.split([tensor.numel() for tensor in like.values()], -1)
    return {
        name: piece.view(*flat.shape[:-1], *tensor.shape)
        for (name, tensor), piece in zip(like.items(), pieces, strict=True)
    }


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix`, by the rest of their names.

    >>> under("mean.", {"mean.x": torch.zeros(1), "seen": torch.ones(1)})
    {'x': tensor([0.])}
    """
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; raises RunError when it is missing, damaged or foreign."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise RunError(f"{path} is missing. Expected a safetensors file there; copy the run folder again as a whole.")
    try:
        return load_file(str(path))
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(
            f"{path} cannot be read as safetensors ({error}). It is damaged or from another program; "
            "restore it from a copy or train again."
        ) from error


_ACTIVE: ContextVar[ElasticState | None] = ContextVar("aet_elastic_state", default=None)


@contextmanager
def applied(state: ElasticState | None) -> Iterator[None]:
    """Make `state` the one that elastic modules use inside the block; None is the source."""
    token = _ACTIVE.set(state)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def active() -> ElasticState | None:
    """The state that elastic modules use now; None is the source."""
    return _ACTIVE.get()


def batched(module: nn.Module, state: ElasticState) -> bool:
    """Whether a state holds, for any dial of `module`, one value a row."""
    return any(
        state[name].ndim > len(shape)
        for part in elastic_modules(module)
        for dial, shape in part.dial_shapes().items()
        if (name := f"{part.elastic_name}.{dial}") in state
    )


def dial_axes(module: nn.Module) -> dict[str, int]:
    """Axes of each dial of `module` by its name, that of rows aside."""
    return {
        f"{part.elastic_name}.{dial}": len(shape)
        for part in elastic_modules(module)
        for dial, shape in part.dial_shapes().items()
    }


def row_states(module: nn.Module, axes: Mapping[str, int], rows: int) -> ElasticState | None:
    """The active state if it is batched, one state a row; None if all rows share one or are the source's.

    `axes` are the module's `dial_axes`. Raises ConfigError for another number of states than of rows.
    """
    state = active()
    if state is None:
        return None
    counts = {name: len(dial) for name, dial in state.items() if dial.ndim > axes.get(name, dial.ndim)}
    if set(counts.values()) <= {1}:
        return None
    for name, count in counts.items():
        if count != rows:
            raise ConfigError(
                f"A batched state holds one state a row: expected {rows}, got {count} in {name}. Choose each row's "
                "state with `states.rows(index)`, or apply a single state to all rows."
            )
    if len(counts) == len(state):
        return state
    dials = {
        f"{part.elastic_name}.{dial}": tensor
        for part in elastic_modules(module)
        for dial, tensor in part.dials().items()
    }
    return ElasticState(
        {name: dial if dial.ndim > axes[name] else dial.expand(rows, *dial.shape) for name, dial in dials.items()}
    )


def picked(module: nn.Module, rows: int, index: Tensor) -> AbstractContextManager[None]:
    """Within the context a batched state of `rows` rows holds for `module` those at the places `index` (N,), in order.

    For what passes rows through in pieces, in another order, or more than once each. Dials that all rows share stay,
    and so do those of other modules.
    """
    state = active()
    if state is None or not batched(module, state):
        return nullcontext()
    axes = dial_axes(module)

    def pick(name: str, dial: Tensor) -> Tensor:
        alone = name not in axes or dial.ndim == axes[name] or len(dial) != rows
        return dial if alone else dial[index.to(dial.device)]

    return applied(state.map(pick))


class ElasticModule(nn.Module):
    """A module with dials. `name_elastic` tells it its path, under which it finds its dials in the active state."""

    elastic_name: str = ""

    def dial_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each dial; a batched state has one more leading axis."""
        raise NotImplementedError

    def dials(self) -> Mapping[str, Tensor]:
        """The own part of the active state; empty at the source."""
        state = active()
        return {} if state is None else self.completed(state.module(self.elastic_name))

    def completed(self, dials: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """`dials` with zeros for those that a partial state leaves at the source; none stay none."""
        shapes = self.dial_shapes()
        if not dials or len(dials) == len(shapes):
            return dials
        name, given = next(iter(dials.items()))
        rows = given.shape[: given.ndim - len(shapes[name])]  # (B,) for a batched state
        return {dial: dials.get(dial, given.new_zeros(*rows, *shape)) for dial, shape in shapes.items()}

    def fold(self, dials: Mapping[str, Tensor]) -> None:
        """Absorb a shared state into the own weights."""
        raise NotImplementedError


def elastic_modules(module: nn.Module) -> Iterable[ElasticModule]:
    """The elastic parts of a module, in order."""
    return (part for part in module.modules() if isinstance(part, ElasticModule))


def name_elastic(module: M) -> M:
    """Give every elastic part its path from `module` as name; call once, when the module is complete."""
    for path, part in module.named_modules():
        if isinstance(part, ElasticModule):
            part.elastic_name = path
    return module


def merge(module: M, state: ElasticState) -> M:
    """A copy of `module` with a shared state folded into its weights: the state's answers at the source's cost.

    Raises ConfigError for a batched state, which has no single set of weights, and for the state of another model.
    """
    return fold(copy.deepcopy(module), state)


def fold(module: M, state: ElasticState) -> M:
    """As `merge`, in place: the module's zero state then gives what `state` gave."""
    parts = {part.elastic_name: part for part in elastic_modules(module)}
    shapes = {f"{path}.{dial}": shape for path, part in parts.items() for dial, shape in part.dial_shapes().items()}
    for name, tensor in state.items():
        if name not in shapes:
            raise ConfigError(
                f"The state is of another model: it moves {name!r}, which {type(module).__name__} does not have. "
                "Merge it into the model that it was learned on."
            )
        if tuple(tensor.shape) != shapes[name]:
            raise ConfigError(
                f"Only one shared state can be merged: {name} has shape {tuple(tensor.shape)}, expected "
                f"{shapes[name]}. Merge the states one by one."
            )
    with torch.no_grad():
        for path, part in parts.items():
            dials = part.completed(state.module(path))
            if dials:
                part.fold(dials)
    return module
