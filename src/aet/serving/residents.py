"""The streams that are in memory: opened from the store when they are first asked for, and put back when others come.

However many streams there are, at most so many are in memory. What a stream was when the process died is in the store:
its newest state, the answers given since, and the labels that the state has not learned.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aet.adaptation.stream import Stream
from aet.errors import AetError, ConfigError, RunError
from aet.personal import Masker
from aet.serving.archive import packed, rows_answered, unpacked
from aet.serving.gate import Gate
from aet.serving.leases import Leases
from aet.serving.models import Served, chosen
from aet.serving.opened import Lost, Missing
from aet.serving.refusals import Elsewhere, Taken, Unknown
from aet.serving.store import Label, StateLine, Store, StreamLine

if TYPE_CHECKING:
    from aet.serving.watches import Watched

log = logging.getLogger(__name__)
PATIENCE = 10.0
"""Seconds that a request other than for answers waits for a stream that another server has."""
MOST = 2048
"""Streams in memory."""
KEEP = 100_000
"""Rows that a stream may keep for late labels."""
STREAMS = 10_000
"""Streams of one owner."""


ASIDE = "a row was kept aside; what it held is masked"
"""In place of sentences that quote what was sent."""


@dataclass
class Resident:
    """A stream in memory, and what the store does not know of it yet."""

    line: StreamLine
    stream: Stream
    served: Served
    learned: list[Any] = field(default_factory=list)
    """Rows whose labels it has learned since it was saved."""
    moved: bool = False
    """Whether it is another than the one saved."""
    teaching: bool = False
    """Whether it learns labels now."""
    leaving: bool = False
    """Whether another server wants it: nobody new uses it here."""
    users: int = 0
    noted: int = 0
    """Events that are written down."""
    saving: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held while it is saved: what is packed later is also written later."""
    watched: Watched | None = None
    """Its watch."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self) -> None:
        """Somebody needs it: it stays in memory."""
        with self._lock:
            self.users += 1

    def free(self) -> None:
        """Nobody does any more who did."""
        with self._lock:
            self.users -= 1


class Residents:
    """Streams by owner and name.

    Args:
        models: by name.
        store: where streams are kept.
        settings: of streams that are made without their own.
        opened: called with a stream that comes into memory and the labels it has not learned.
        most: streams in memory.
        mask: of what is written down: encoded rows that a text could be read from again are then not saved.
        beside: given a stream and its bytes before they are saved, it gives them with what lies beside the stream.
        leaves: told of a stream that another server wants, before it is saved for it.
    """

    def __init__(
        self,
        models: dict[str, Served],
        store: Store,
        settings: Mapping[str, Any],
        opened: Callable[[Resident, list[Label]], None],
        most: int = MOST,
        mask: Masker | None = None,
        beside: Callable[[Resident, bytes], bytes] = lambda resident, content: content,
        leaves: Callable[[Resident], None] = lambda resident: None,
    ) -> None:
        self.mask, self.beside, self.leaves = mask, beside, leaves
        self.leases = None if store.lite else Leases(store, self.leave, self.lost)
        self._coming: dict[tuple[str, str], Future[None]] = {}
        self.models, self.store, self.settings, self.opened, self.most = models, store, dict(settings), opened, most
        self._lock, self._opening = threading.Lock(), threading.Lock()
        self._known: OrderedDict[tuple[str, str], Resident] = OrderedDict()
        self._counts: dict[str, int] = {}
        self._reached: dict[int, int] = {}
        self.gate = Gate()
        """Passed by whoever uses a stream; closed while other versions come to serve."""

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Resident]:
        """Those in memory, the one unused for the longest first."""
        with self._lock:
            return list(self._known.values())

    def teaching(self, owner: str, name: str) -> bool:
        """Whether the stream learns labels right now, or is on its way here from another server."""
        resident = self._known.get((owner, name))
        return (owner, name) in self._coming or (resident is not None and resident.teaching)

    @contextmanager
    def use(
        self, owner: str, name: str, model: str | None = None, make: bool = False, patient: bool = True
    ) -> Iterator[Resident]:
        """The stream, in memory while the block lasts; made, on the model, if it is not there and `make` says so.

        Raises Unknown for a stream or a model that is not there, Taken for one on another model, Elsewhere for one that
        another server does not hand over in `PATIENCE` seconds, or that it has, where this is not `patient`.
        """
        until = time.monotonic() + (PATIENCE if patient else 0)
        while True:
            with self.gate.passing():
                try:
                    resident = self._inside(owner, name, model, make)
                except Elsewhere as elsewhere:
                    coming = elsewhere.coming
                    if time.monotonic() >= until:
                        raise
                else:
                    try:
                        self._make_room()
                        if model is not None and resident.line.model != model:
                            raise Taken(
                                f"The stream {name!r} runs on the model {resident.line.model!r}, not on {model[:80]!r}."
                                " Leave the model out, or take another name."
                            )
                        yield resident
                    finally:
                        resident.free()
                    return
            wait([coming], timeout=until - time.monotonic())

    def _inside(self, owner: str, name: str, model: str | None, make: bool) -> Resident:
        """The stream, taken; opened if it is not in memory."""
        resident = self._taken(owner, name)
        if resident is None:
            with self._opening:
                resident = self._taken(owner, name) or self._open(owner, name, model, make)
        return resident

    def leave(self, number: int) -> bool:
        """Another server wants the stream: nobody new uses it here, and once nobody does it is saved and out of memory.

        Whether it is; StoreError if it could not be saved.
        """
        with self._opening, self._lock:
            found = [one for one in self._known.values() if one.line.number == number]
            for one in found:
                one.leaving = True
        for one in found:
            self.leaves(one)
            if one.users:
                return False
            self.save(one, "another server was asked for it")
            with self._lock:
                if one.moved:
                    return False
                self._known.pop((one.line.owner, one.line.name), None)
        return True

    def lost(self, numbers: Collection[int]) -> None:
        """Out of memory, unsaved: another server took these streams while this one had lost its session."""
        for one in self.all():
            if one.line.number in numbers:
                log.error("The stream %r is another server's now; what it did here unsaved is lost.", one.line.name)
                self.drop(one)

    def reopen(self, residents: Sequence[Resident]) -> None:
        """Out of memory, saved: who uses them next opens them anew. The gate is closed, and nothing is learned."""
        for resident in residents:
            with self._lock:
                self._known.pop((resident.line.owner, resident.line.name), None)
            self._reached[resident.line.number] = resident.stream.rows  # the store may not have its last rows yet

    def drop(self, resident: Resident) -> None:
        """Out of memory, unsaved: the stream was forgotten."""
        with self._lock:
            self._known.pop((resident.line.owner, resident.line.name), None)
        self._counts.pop(resident.line.owner, None)
        if self.leases is not None:
            self.leases.forget(resident.line.number)

    def make(self, owner: str, name: str, model: str | None, settings: Mapping[str, Any]) -> StreamLine:
        """A new stream; raises Taken if it is there, ConfigError for settings that cannot be."""
        with self._opening:
            if self._find(owner, name) is not None:
                raise Taken(f"There is a stream {name!r} already. Take another name, or forget that one first.")
            return self._line(owner, name, model, {**self.settings, **settings})

    def _taken(self, owner: str, name: str) -> Resident | None:
        with self._lock:
            resident = self._known.get((owner, name))
            if resident is None or resident.leaving:
                return None
            resident.take()
            self._known.move_to_end((owner, name))
            return resident

    def _line(self, owner: str, name: str, model: str | None, settings: Mapping[str, Any]) -> StreamLine:
        if owner not in self._counts:
            self._counts[owner] = len(self.store.streams(owner))
        if self._counts[owner] >= STREAMS:
            raise Taken(f"An owner has at most {STREAMS:,} streams. Forget some that are no longer used.")
        served = chosen(self.models, model)
        if not isinstance(keep := settings.get("keep", 0), int) or keep > KEEP:
            raise ConfigError(f"keep is a whole number of rows, {KEEP:,} at most on a server; got {keep!r}.")
        try:
            served.model.stream(**settings)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"A stream does not take these settings: {error}.") from error
        self._counts[owner] += 1
        return self.store.stream(owner, name, model=served.name, settings=settings)

    def _find(self, owner: str, name: str) -> StreamLine | None:
        try:
            return self.store.stream(owner, name)
        except ConfigError:
            return None

    def _open(self, owner: str, name: str, model: str | None, make: bool) -> Resident:
        line = self._find(owner, name)
        if line is None and not make:
            raise Unknown(f"There is no stream {name[:80]!r}. Send rows to it, or make it with POST /streams.")
        line = line or self._line(owner, name, model, self.settings)
        if self.leases is not None and not self._has(self.leases, line.number):
            raise Elsewhere(self._fetched(self.leases, line))
        served = chosen(self.models, line.model).of(owner, name)
        resident = self._restored(line, served)
        with self._lock:
            self._known[owner, name] = resident
        self.opened(resident, self.store.pending(line.number))
        return resident

    def _has(self, leases: Leases, number: int) -> bool:
        return leases.here(number) or (leases.take(number) and leases.here(number))

    def _fetched(self, leases: Leases, line: StreamLine) -> Future[None]:
        """Told to come here; meanwhile it counts as one that learns, so that its rows let others pass."""
        coming, key = leases.fetch(line.number), (line.owner, line.name)
        self._coming[key] = coming
        coming.add_done_callback(lambda _: self._coming.pop(key, None))
        return coming

    def _restored(self, line: StreamLine, served: Served) -> Resident:
        """The stream as saved on this version, its counter moved on past every row that was answered since."""
        newest = saved = self.store.state(line.number)
        stream, reached = None, self._reached.pop(line.number, 0)
        came = newest is not None and newest.version != served.version
        if newest is not None and came:
            saved, reached = self.store.state(line.number, version=served.version), max(reached, counted(newest))
        if saved is not None and saved.content is not None:
            try:
                stream = unpacked(served.model, saved.content, served.mark)
            except RunError as error:
                self.store.decide(line.number, 0, "reset", f"the state saved last cannot be used: {error}")
                saved = None
        if stream is None:
            stream = served.model.stream(**line.settings)
        if served.model.schema.id is None:
            last = self.store.last_row(line.number)
            stream.rows = max(stream.rows, reached, last + 1 if isinstance(last, int) else 0)
        if newest is not None and came:
            self.store.decide(line.number, stream.rows, "version", moved_on(newest, saved, served.version))
        # A stream that came from another version is saved on this one, so that it comes only once.
        return Resident(line, stream, served, users=1, moved=came)

    def _make_room(self) -> None:
        if len(self._known) <= self.most:
            return
        with self._lock:
            over = len(self._known) - self.most
            idle = [resident for resident in self._known.values() if not resident.users][: max(0, over)]
        for resident in idle:
            self.save(resident, "put aside: other streams were used")
            with self._opening:  # nobody opens it again before its lease is given back
                with self._lock:
                    if resident.users or resident.moved or resident.leaving:
                        continue
                    self._known.pop((resident.line.owner, resident.line.name), None)
                if self.leases is not None:
                    self.leases.let_go(resident.line.number)

    def save(self, resident: Resident, reason: str) -> None:
        """The stream as it is now into the store, with what it did and which labels it has learned.

        One that somebody had forgotten in the meantime, or another server has, leaves memory, too.
        """
        try:
            with resident.saving:
                self._save(resident, reason)
        except (Missing, Lost) as error:
            if isinstance(error, Lost):
                log.error("The stream %r was not saved: %s", resident.line.name, error)
            self.drop(resident)
            resident.moved = False

    def _save(self, resident: Resident, reason: str) -> None:
        self.note(resident)
        if not resident.moved:
            return
        with resident.stream._lock:
            if self.mask is not None:
                for event in resident.stream.trace.aside:
                    event["text"] = ASIDE
            content = packed(resident.stream, resident.served.mark, self._keeps(resident))
            learned = resident.learned
            resident.learned, resident.moved = [], False
        try:
            # After `moved` is taken back: what is watched from here on is saved the next time.
            content = self.beside(resident, content)
            # In one transaction: labels that no saved state has learned are pending, and learned again after a crash.
            version = resident.served.version
            holder = None if self.leases is None else self.leases.number
            number = resident.line.number
            self.store.keep_state(number, content, reason, learned=learned, version=version, holder=holder)
        except AetError:
            resident.learned, resident.moved = learned + resident.learned, True
            raise

    def _keeps(self, resident: Resident) -> bool:
        """Whether rows kept for late labels are saved: not if they hold what a mask would hide."""
        schema = resident.served.model.schema
        texts = any(spec.kind in ("text", "words") for spec in schema.inputs)
        return self.mask is None or not (texts or set(self.mask.columns) & set(schema.input_columns))

    def note(self, resident: Resident) -> None:
        """Write down what the stream did since this was last asked."""
        with resident.stream._lock:
            trace = resident.stream.trace
            fresh, resident.noted = trace.noted - resident.noted, trace.noted
            events = list(trace.events)[-fresh:] if fresh else []
        for event in events:
            self.store.decide(resident.line.number, event["row"], event["kind"], event["text"])


def counted(saved: StateLine) -> int:
    """Rows that a stream had answered when it was saved; 0 where that cannot be read, and the store's count is left."""
    try:
        return rows_answered(saved.content or b"")
    except RunError:
        return 0


def moved_on(newest: StateLine, saved: StateLine | None, version: str) -> str:
    """What becomes of a stream's state when another version answers it, in a sentence."""
    if saved is None:
        return (
            f"Version {version} answers from here on and starts at its source: an elastic state belongs to the version "
            f"that learned it. The one of version {newest.version} is kept for that version; the labels stay in the "
            "store, and the next retraining learns them."
        )
    return (
        f"Version {version} answers from here on, with the state that was saved when it last answered, at "
        f"{saved.at:%Y-%m-%d %H:%M} UTC. The one of version {newest.version} is kept for that version."
    )
