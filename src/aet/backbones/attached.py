"""What stands beside a module of somebody else's and moves it: a child without parameters or buffers.

The host's `state_dict`, its optimiser, `save_pretrained` and DDP see nothing of it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import FunctionType
from typing import Any, TypeVar, cast
from weakref import ref

import torch
from torch import Tensor, nn

from aet.attention.state import ElasticModule, ElasticState, active
from aet.errors import ConfigError

T = TypeVar("T")

CHILD = "elastic"
"""The name of the child, so that a dial is called `encoder.layer.0.attention.self.elastic.q_scale`."""


class Attached(ElasticModule, ABC):
    """The child of a host; `attach` makes the host ask it, `detach` leaves the host as it was."""

    host: nn.Module
    repeats = False
    """Whether the host's batch is each row's pieces one after the other (windows): the dials are repeated for them."""

    def __getstate__(self) -> dict[str, Any]:
        """Without what is only remembered between calls."""
        return {name: value for name, value in vars(self).items() if name not in {"last", "made"}}

    def attach(self, host: nn.Module) -> None:
        """Become the child of `host`."""
        # Past nn.Module, which would list the host among the children of its child.
        self.__dict__["host"] = host
        host.add_module(CHILD, self)
        self.intercept()

    def detach(self) -> None:
        """Leave."""
        self.release()
        delattr(self.host, CHILD)

    @abstractmethod
    def intercept(self) -> None:
        """Make the host ask this module."""

    @abstractmethod
    def release(self) -> None:
        """Take back what `intercept` did."""

    def replace_forward(self) -> None:
        """Have the host answer with `self.forward`; for the instance only, its class stays."""
        self.__dict__["before"] = self.host.__dict__.get("forward")
        self.host.__dict__["forward"] = self.forward

    def restore_forward(self) -> None:
        """Have the host answer as before."""
        before = self.__dict__.pop("before")
        if before is None:
            del self.host.__dict__["forward"]
        else:
            self.host.__dict__["forward"] = before

    def now(self, make: Callable[[Mapping[str, Tensor]], T]) -> T | None:
        """`make` of the own dials in the active state, None at the source.

        Without a gradient it is made once, as long as the same tensors come unchanged.
        """
        state = active()
        if torch.is_grad_enabled() or self.host.training:  # a checkpoint may run first without a gradient
            self.same_in_backward(state)
        dials = {} if state is None else state.module(self.elastic_name)
        if not dials:
            return None
        keep = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        last = self.__dict__.get("made") if keep else None
        if last is not None and last[0] is dials and last[1] == [t._version for t in dials.values()]:
            found: T = last[2]
            return found
        made = make(self.completed(dials))
        if keep and not any(t.is_inference() for t in dials.values()):  # those do not count their changes
            self.__dict__["made"] = (dials, [t._version for t in dials.values()], made)  # in one step, for threads
        return made

    def same_in_backward(self, state: ElasticState | None) -> None:
        """ConfigError where a checkpointed layer runs again in a backward pass under another state than before."""
        last = self.__dict__.get("last")
        if torch._C._current_graph_task_id() == -1:  # no backward pass
            self.__dict__["last"] = None if state is None else ref(state)
        elif (last is None) != (state is None) or (last is not None and last() is not state):
            raise ConfigError(
                f"{self.elastic_name} is recomputed in a backward pass under another state than it ran under. Expected "
                "the same, as gradient checkpointing needs. Call backward() within the block `with applied(state)`."
            )

    def for_batch(self, dial: Tensor, batch: int) -> Tensor:
        """A batched dial (R, ...) for a batch of so many: (batch, ...) or (1, ...). ConfigError if it does not fit."""
        rows = len(dial)
        if rows in (1, batch):
            return dial
        if self.repeats and batch % rows == 0:
            return dial.repeat_interleave(batch // rows, 0)
        raise ConfigError(
            f"The state has {rows} rows, but {self.elastic_name} works on a batch of {batch}. Expected one state a "
            "row. Where the model repeats its rows (beams, choices), repeat their states in the same order, "
            "state.rows(torch.arange(rows).repeat_interleave(times)). Where its batch is something else (windows, "
            "packed sequences), apply one state at a time."
        )


def attachments(module: nn.Module) -> list[Attached]:
    """All of them within `module`, in order."""
    return [part for part in module.modules() if isinstance(part, Attached)]


@cache
def _functions(kind: Any) -> tuple[FunctionType, ...]:
    classes = [c for c in kind.__mro__ if c is not nn.Module and issubclass(c, nn.Module)]
    found = (inspect.unwrap(f) for c in classes for f in vars(c).values() if inspect.isfunction(f))
    return tuple(f for f in found if isinstance(f, FunctionType))


def functions(kind: type) -> tuple[FunctionType, ...]:
    """The functions that a class of modules defines, its own first, without decorators and without nn.Module's."""
    return _functions(cast(Any, kind))


def mentions(kind: type, word: str) -> Iterator[FunctionType]:
    """The functions of a class whose code uses a name with `word` in it."""
    return (f for f in functions(kind) if any(word in name for name in f.__code__.co_names))
