"""What the dials of attention cost: each ratio is taken in one run, ours and the plain kernel's in turn.

    python benchmarks/attention.py [--quick] [--seeds N] [--json FILE]

A pair is one timing of ours and one of the peer, back to back and in alternating order, so that a busy
machine slows both. The ratio is the median over all pairs; the spread is the distance between its quartiles.
One thread: where other processes want the cores too, every multi-threaded operation waits for a core, and a
ratio of milliseconds would measure the scheduler.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from common import Record, arguments, write
from torch import Tensor, nn
from torch.nn import functional as F

from aet.attention.attend import attend
from aet.attention.state import ElasticState, applied, merge, name_elastic
from aet.trunk import Trunk

SHAPE = (16, 8, 200, 32)  # (B, H, T, D)


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
            method,
            metric,
            value,
            spread=spread,
            seeds=effort.seeds,
            seconds=seconds,
            forwards=contest.forwards,
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


TRUNK = {"dim": 128, "depth": 3, "heads": 8}
ROWS, TOKENS = 128, 64


def trunk_and_tokens() -> tuple[Trunk, Tensor]:
    trunk = name_elastic(Trunk(**TRUNK)).eval()
    return trunk, torch.randn(ROWS, TOKENS, TRUNK["dim"])


def moved(trunk: Trunk) -> ElasticState:
    return ElasticState.zeros(trunk).map(lambda _, t: 0.1 * torch.randn_like(t))


def shared_state() -> tuple[Callable[[], object], Callable[[], object]]:
    trunk, tokens = trunk_and_tokens()
    folded = merge(trunk, moved(trunk))
    return torch.no_grad()(lambda: folded(tokens)), torch.no_grad()(lambda: trunk(tokens))


def state_per_row() -> tuple[Callable[[], object], Callable[[], object]]:
    trunk, tokens = trunk_and_tokens()
    states = ElasticState.stack([moved(trunk) for _ in range(64)])
    index = torch.arange(ROWS) % 64

    @torch.no_grad()
    def ours() -> object:
        with applied(states.rows(index)):
            return trunk(tokens)

    return ours, torch.no_grad()(lambda: trunk(tokens))


def trunk_training() -> tuple[Callable[[], object], Callable[[], object]]:
    tokens, weight = torch.randn(ROWS, TOKENS, TRUNK["dim"]), torch.randn(ROWS, TRUNK["dim"])
    ours_trunk = name_elastic(Trunk(**TRUNK, dropout=0.1)).train()
    layer = nn.TransformerEncoderLayer(
        TRUNK["dim"], TRUNK["heads"], 2 * TRUNK["dim"], 0.1, "gelu", batch_first=True, norm_first=True
    )
    encoder = nn.TransformerEncoder(layer, TRUNK["depth"], nn.LayerNorm(TRUNK["dim"]), enable_nested_tensor=False)
    for peer in encoder.layers:
        peer.self_attn.dropout = 0.0  # ours drops no attention weights either
    encoder.train()

    def step(module: nn.Module, summary: Callable[[], Tensor]) -> object:
        module.zero_grad(set_to_none=True)
        return (summary() * weight).sum().backward()

    return (
        lambda: step(ours_trunk, lambda: ours_trunk(tokens)),
        lambda: step(encoder, lambda: encoder(tokens).mean(1)),
    )


CONTESTS = [
    Contest("kernel, forward", "attend, default", "sdpa", 1.02, 1, default_forward),
    Contest("kernel, forward + backward", "attend, learned beta and gate", "sdpa", 1.15, 3, dials_training),
    Contest("trunk, inference", "one shared state, folded", "source", 1.02, 1, shared_state),
    Contest("trunk, inference", "another state for each row", "source", 1.10, 1, state_per_row),
    # Throughput of at least 0.9 of the peer's is a time of at most 1 / 0.9.
    Contest("trunk, training step", "elastic trunk", "nn.TransformerEncoderLayer", 1 / 0.9, 3, trunk_training),
]


def table(records: list[Record]) -> str:
    bars = {(r.task, r.method): r.value for r in records if r.metric == "time_ratio_bar"}
    lines = [f"{'task':<28}{'method':<32}{'ratio':>7}{'spread':>8}{'bar':>7}{'ms':>9}"]
    for r in records:
        if r.metric == "time_ratio_bar":
            continue
        bar = bars.get((r.task, r.method))
        verdict = " " * 7 if bar is None else f"{bar:>7.2f}"
        milliseconds = (r.seconds or 0.0) * 1e3
        lines.append(
            f"{r.task:<28}{r.method:<32}{r.value:>7.3f}{r.spread or 0.0:>8.3f}{verdict}{milliseconds:>9.2f}"
            + (" ABOVE" if bar is not None and r.value > bar else "")
        )
    return "\n".join(lines)


def main() -> None:
    options = arguments(__doc__)
    torch.set_num_threads(1)
    effort = Effort(options.seeds, pairs=10 if options.quick else 40)
    records = [record for contest in CONTESTS for record in run(contest, effort)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, shape {SHAPE}, {effort}")
    print(table(records))
    write(records, options.json)


if __name__ == "__main__":
    main()
