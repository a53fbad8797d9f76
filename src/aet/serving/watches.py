"""Streams under watch while they serve: what they answered is shown to a watch each, and what it says becomes alarms.

    answered, written down -> lots -> the source's answers -> watch -> signal -> alarm in the store -> channels

A watch is kept with its stream's saved state, so that its evidence, and with it the rate of false alarms, outlives the
process. Nothing that goes wrong here touches an answer: a watch that breaks off is set aside, and says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from aet.attention.state import applied
from aet.batch import Batch
from aet.errors import AetError
from aet.monitoring.advice import advise
from aet.monitoring.alarms import RUNBOOK
from aet.monitoring.channels import Channel, Log
from aet.monitoring.delivery import Delivery
from aet.monitoring.sketch import packed, unpacked
from aet.monitoring.watching import KINDS, Signal, Watch, plain, signal_of
from aet.serving.archive import added, member
from aet.serving.cells import Row, frame_of, plain_cell
from aet.serving.lots import Lot, Lots
from aet.serving.models import Served
from aet.serving.residents import Resident
from aet.serving.store import Store
from aet.watched import errors, facts, shows, watch

log = logging.getLogger(__name__)
FILE = "watch.safetensors"


@dataclass
class Watched:
    """A stream's watch, and what became of what it said."""

    served: Served
    watch: Watch | None = None
    """None until it is needed."""
    left_out: int = 0
    """Rows and labels that were not shown to it."""
    fault: str | None = None
    """Why it looks no more."""
    unsaid: list[Signal] = field(default_factory=list)
    """Signals that no alarm is written down for yet."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Watches:
    """The watches of a server's streams. Thread-safe.

    Args:
        store: where alarms are written down, and watches kept.
        channels: where new alarms go; the log by default.
        level: bound on the probability that a clean stream ever raises an alarm.
        wait, share: of `Lots`.
    """

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel] | None = None,
        level: float = 0.05,
        wait: float = 2.0,
        share: float = 0.05,
    ) -> None:
        Watch(level=level)  # what cannot be is said before anything is served
        self.store, self.level = store, level
        self.delivery = Delivery([Log()] if channels is None else channels)
        self.lots = Lots(self._look, self._failed, wait, share)
        self._lock = threading.Lock()

    def rows(self, resident: Resident, rows: Sequence[Row]) -> None:
        """Rows were answered and written down."""
        if rows:
            self._of(resident).left_out += self.lots.rows(resident, rows)

    def labels(self, resident: Resident, rows: Batch, weights: npt.NDArray[np.float64]) -> None:
        """Drawn rows got their labels."""
        self._of(resident).left_out += self.lots.labels(resident, (rows, weights))

    def settle(self) -> None:
        """Show what waits, at once; done when this returns."""
        self.lots.settle()

    def stop(self) -> None:
        """Show what waits and send what was raised, for some seconds."""
        self.lots.stop()
        self.delivery.close()

    def restart(self, resident: Resident, kind: str) -> None:
        """An alarm was looked after: watch for its kind anew."""
        own = self._of(resident)
        with own.lock:
            if kind in KINDS:
                self._opened(resident, own).restart(kind)
                own.unsaid = [signal for signal in own.unsaid if signal.kind != kind]
        resident.moved = True

    def report(self, resident: Resident) -> dict[str, Any]:
        """JSON-able: what the watch knows, how much was not shown to it, and whether it still looks."""
        own = self._of(resident)
        with own.lock:
            known = self._opened(resident, own).report()
        about = {"left_out": own.left_out, "waiting": self.lots.waiting(resident), "problem": own.fault}
        return dict(plain_cell({**about, **known}))

    def beside(self, resident: Resident, content: bytes) -> bytes:
        """A stream's bytes with its watch; one that broke off as it was saved before."""
        own = self._of(resident)
        with own.lock:
            arrays = self._opened(resident, own).to_arrays()
            about = {"model": own.served.mark, "left_out": own.left_out, "unsaid": list(map(plain, own.unsaid))}
        arrays = {name: np.array(array, order="C") for name, array in {**arrays, "about": packed(about)}.items()}
        return added(content, FILE, save(arrays))

    def _of(self, resident: Resident) -> Watched:
        """The stream's own; another version of the model is watched anew."""
        with self._lock:
            if resident.watched is None or resident.watched.served is not resident.served:
                resident.watched = Watched(resident.served)
            return resident.watched

    def _opened(self, resident: Resident, own: Watched) -> Watch:
        """Its watch, as it was saved last if it was one of the same model; call it under the lock."""
        if own.watch is None:
            saved = self.store.state(resident.line.number)
            content = None if saved is None or saved.content is None else member(saved.content, FILE)
            try:
                self._restore(own, content)
            except (SafetensorError, KeyError, ValueError, TypeError) as error:
                log.error("A saved watch cannot be used, a new one takes its place: %r", error)
                own.watch = None
            own.watch = own.watch or watch(own.served.model, level=self.level)
        return own.watch

    def _restore(self, own: Watched, content: bytes | None) -> None:
        """A watch as it was saved, if it looked on the same model."""
        arrays = {} if content is None else load(content)
        about = unpacked(arrays["about"]) if arrays else {}
        if about.get("model") != own.served.mark:
            return
        one = watch(own.served.model, level=self.level)
        one.load_arrays(arrays)
        unsaid = [signal_of(entry) for entry in about["unsaid"]]
        own.watch = one
        if own.fault is None:
            own.left_out += about["left_out"]
            own.unsaid = unsaid

    def _look(self, lot: Lot) -> None:
        """Show a lot to its watch; the passes of the model are made before the lock is taken."""
        resident, own = lot.resident, self._of(lot.resident)
        if own.fault is not None:
            own.left_out += len(lot.rows) + lot.labelled
            return
        model = own.served.model
        shown = shows(model, frame_of(model.schema, lot.rows)) if lot.rows else None
        late = [(self._errors(own.served, rows), weights) for rows, weights in lot.labels]
        with own.lock:
            one = self._opened(resident, own)
            if shown is not None:
                own.unsaid += one.see(**shown)
            for wrong, weights in late:
                own.unsaid += one.label(wrong, weights)
        resident.moved = True
        try:
            self._say(resident, own)
        except AetError as error:  # it is said with the next lot, or after a restart
            log.error("An alarm was not written down: %s", error)

    def _errors(self, served: Served, rows: Batch) -> npt.NDArray[np.float64]:
        """The source's errors on labelled rows."""
        assert rows.target is not None
        with applied(None):
            return errors(served.model, served.model.logits(rows), rows.target)

    def _say(self, resident: Resident, own: Watched) -> None:
        """Write alarms down; those that are new go out."""
        line = resident.line
        while own.unsaid:
            signal = own.unsaid[0]
            new = self.store.alarm(line.number, signal.kind, signal.text, RUNBOOK[signal.kind])
            own.unsaid.pop(0)
            if new:
                self.delivery.push(self._told(resident, signal))

    def _told(self, resident: Resident, signal: Signal) -> dict[str, Any]:
        """An alarm as channels take it; `number` closes it."""
        line, said = resident.line, plain(signal)
        found = (a for a in self.store.alarms(line.owner) if (a.stream, a.kind) == (line.number, signal.kind))
        raised = next(found, None)
        about = {"number": raised.number if raised else None, "owner": line.owner, "stream": line.name}
        opened = self.store.clock().isoformat(timespec="seconds")
        return {**about, "model": line.model, "opened": opened, "runbook": RUNBOOK[signal.kind], **said}

    def _failed(self, lot: Lot, fault: BaseException) -> None:
        """A watch broke off: said once, and it looks no more."""
        own = self._of(lot.resident)
        own.left_out += len(lot.rows) + lot.labelled
        with own.lock:
            own.watch = None  # half shown: from here on it is what was saved last
        if own.fault is None:
            own.fault = (
                f"The watch broke off ({type(fault).__name__}: {str(fault)[:300]}). Answers go on; drift is not looked "
                "for until the server starts again. Its log says more."
            )
            log.error("The watch of a stream broke off; its answers go on.", exc_info=fault)


def advised(resident: Resident) -> dict[str, Any]:
    """JSON-able: hold, adapt or retrain, why, what it gains and costs, and what it rests on; call it under the
    stream's lock. `act` is None where the model does not allow to say.
    """
    try:
        known = facts(resident.stream, None if resident.watched is None else resident.watched.watch)
    except AetError as error:
        return {"act": None, "why": str(error)}
    rests = {name: value for name, value in asdict(known).items() if name != "classes"}
    return dict(plain_cell({**asdict(advise(known)), "rests_on": rests}))
