"""Labels of a caller, from the API or from a page: counted against the limits, kept, and given to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from starlette.concurrency import run_in_threadpool

from aet.serving.keys import Caller
from aet.serving.limits import Limits
from aet.serving.metrics import Metrics
from aet.serving.service import Service
from aet.serving.store import Label


class Feeding:
    """Takes labels in.

    Args:
        service: where they go.
        limits: of each key.
        metrics: counters.
    """

    def __init__(self, service: Service, limits: Limits, metrics: Metrics) -> None:
        self.service, self.limits, self.metrics = service, limits, metrics

    async def take(
        self, caller: Caller, owner: str, stream: str, labels: Sequence[Label], at_random: bool = False
    ) -> Future[None]:
        """They are kept when this returns, and learned when what it returns is done; raises Exceeded, FeedbackError."""
        asked = await run_in_threadpool(self.service.asked, owner, stream, [label.id for label in labels])
        self.limits.labels(caller, stream, asked, len(labels) - asked, at_random)
        learning = await run_in_threadpool(self.service.feedback, owner, stream, labels, caller.key)
        self.metrics.labels.inc(len(labels))
        return learning
