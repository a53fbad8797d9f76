"""What `Stream.undo` brings back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aet.attention.state import ElasticState
from aet.batch import Batch


@dataclass(frozen=True)
class Snapshot:
    """What `undo` brings back: state, memory of the method (its tensors are never written in place), labelled rows.

    `judged` is what the stream noted of the labels (`Answered.late`), which it then forgets.

    Memory is None where only moments of a batch moved the state: the next batch renews them.
    """

    state: ElasticState
    memory: Mapping[str, Tensor] | None
    reason: str
    ids: Sequence[Hashable] = ()
    rows: Batch | None = None
    judged: Sequence[Mapping[str, Any]] = ()
