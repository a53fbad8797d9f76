"""What the dials of attention cost: each ratio is taken in one run, ours and the plain kernel's in turn.

    python benchmarks/attention.py [--quick] [--seeds N] [--json FILE]

A pair is one timing of ours and one of the peer, back to back and in alternating order, so that a busy
machine slows both. The ratio is the median over all pairs; the spread is the distance between its quartiles.
One thread: where other processes want the cores too, every multi-threaded operation waits for a core, and a
ratio of milliseconds would measure the scheduler.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from aet.attention.attend import attend

SHAPE = (16, 8, 200, 32)  # (B, H, T, D)


@dataclass(frozen=True)
class Record:
    """One number of one benchmark; fields that do not apply are None."""

    benchmark: str
    task: str
    stream: str | None
    method: str
    metric: str
    value: float
    spread: float | None
    seeds: int
    seconds: float | None
    forwards: int | None


@dataclass(frozen=True)
class Effort:
    """How long to measure: `seeds` draws of the inputs and `pairs` timed pairs for each."""

    seeds: int
    pairs: int


@dataclass(frozen=True)
class Contest:
    """Two ways to do one thing, and the most that ours may cost relative to the peer's."""

    task: str
    ours: str
    peer: str
    bar: float
    forwards: int  # a backward counts as two
    build: Callable[[], tuple[Callable[[], object], Callable[[], object]]]  # (ours, peer), on fresh inputs


def seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def run(contest: Contest, effort: Effort) -> list[Record]:
    """Times the two in turn; the ratio and both times as records."""
    ours, peers = [], []
    for seed in range(effort.seeds):
        torch.manual_seed(seed)
        our, peer = contest.build()
        for _ in range(3):
            our(), peer()
        for pair in range(effort.pairs):
            order = (our, peer) if pair % 2 == 0 else (peer, our)
            taken = {function: seconds_of(function) for function in order}
            ours.append(taken[our])
            peers.append(taken[peer])
    ratios = [a / b for a, b in zip(ours, peers, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)

    def record(method: str, metric: str, value: float, spread: float | None, seconds: float) -> Record:
        return Record(
            "attention",
            contest.task,
            None,
            method,
            metric,
            value,
            spread,
            effort.seeds,
            seconds,
            contest.forwards,
        )

    ours_s, peer_s = statistics.median(ours), statistics.median(peers)
    return [
        record(contest.ours, "time_ratio", middle, high - low, ours_s),
        record(contest.ours, "time_ratio_bar", contest.bar, None, ours_s),
        record(contest.peer, "time_ratio", 1.0, 0.0, peer_s),
    ]


def inputs(*, learn: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (torch.randn(SHAPE, requires_grad=learn) for _ in range(3))
    return query, key, value


def default_forward() -> tuple[Callable[[], object], Callable[[], object]]:
    q, k, v = inputs()
    return lambda: attend(q, k, v), lambda: F.scaled_dot_product_attention(q, k, v)


def dials_training() -> tuple[Callable[[], object], Callable[[], object]]:
    q, k, v = inputs(learn=True)
    beta, gate = (torch.ones(SHAPE[1], 1, 1, requires_grad=True) for _ in range(2))
    weight = torch.randn(SHAPE)

    def ours() -> object:
        out = attend(q, k, v, inverse_temperature=beta, gate=gate)
        return torch.autograd.grad(out, (q, k, v, beta, gate), weight)

    def peer() -> object:
        return torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), weight)

    return ours, peer


CONTESTS = [
    Contest("kernel, forward", "attend, default", "sdpa", 1.02, 1, default_forward),
    Contest("kernel, forward + backward", "attend, learned beta and gate", "sdpa", 1.15, 3, dials_training),
]


def table(records: list[Record]) -> str:
    bars = {r.task: r.value for r in records if r.metric == "time_ratio_bar"}
    lines = [f"{'task':<28}{'method':<32}{'ratio':>7}{'spread':>8}{'bar':>7}{'ms':>9}"]
    for r in records:
        if r.metric == "time_ratio_bar":
            continue
        bar = bars[r.task]
        verdict = f"{bar:>7.2f}" if r.method != "sdpa" else " " * 7
        milliseconds = (r.seconds or 0.0) * 1e3
        lines.append(
            f"{r.task:<28}{r.method:<32}{r.value:>7.3f}{r.spread or 0.0:>8.3f}{verdict}{milliseconds:>9.2f}"
            + (" ABOVE" if r.value > bar else "")
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer pairs: a look, not a result")
    parser.add_argument("--seeds", type=int, default=3, help="draws of the inputs")
    parser.add_argument("--json", type=Path, help="write the records here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = Effort(options.seeds, pairs=10 if options.quick else 40)
    records = [record for contest in CONTESTS for record in run(contest, effort)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, shape {SHAPE}, {effort}")
    print(table(records))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in records], indent=1) + "\n")


if __name__ == "__main__":
    main()
