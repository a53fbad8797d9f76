"""What a person sees while a model trains; on standard error, so that standard output stays clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aet.config import Config
from aet.schema import Schema

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """A console on standard error."""
    from rich.console import Console

    return Console(stderr=True)


def say(schema: Schema, train: int, held: int, problems: Mapping[int, str], config: Config) -> None:
    """The columns, the rows, the rows kept aside, and that training simulates drift."""
    from rich.console import Console

    console = Console(stderr=True)
    lines = schema.describe().splitlines()
    shown = lines if len(lines) <= 24 else [*lines[:20], f"… and {len(lines) - 20} more columns"]
    console.print("\n".join(shown), highlight=False, markup=False)
    console.print(f"{train:,} rows to train on, {held:,} held out for validation.", markup=False)
    for sentence in list(problems.values())[:5]:
        console.print(f"kept aside: {sentence}", style="yellow", markup=False)
    if len(problems) > 5:
        console.print(f"kept aside: {len(problems) - 5} more rows", style="yellow")
    console.print(
        f"Training for shift is on (strength {config.train.drift:g}): every batch is drifted a little."
        if config.train.drift
        else "Training for shift is off (train.drift = 0).",
        markup=False,
    )
    for name, settings in config.train.switches.items():
        console.print(f"On: {name}{named(settings)}", markup=False, highlight=False)


def say_acted(records: Sequence[Mapping[str, Any]]) -> None:
    """What each switch did."""
    from rich.console import Console

    for record in records:
        Console(stderr=True).print(f"{record['name']}: {record['acted']}.", markup=False, highlight=False)


def named(settings: Mapping[str, Any]) -> str:
    """Settings in brackets, nothing where there are none.

    >>> named({"rho": 0.1, "adaptive": True}), named({})
    (' (rho 0.1, adaptive True)', '')
    """
    return f" ({', '.join(f'{name} {value}' for name, value in settings.items())})" if settings else ""


def say_rate(lr: float) -> None:
    """The learning rate that was found."""
    from rich.console import Console

    Console(stderr=True).print(f"The learning rate, train.lr = auto, was {lr:.3g}.", markup=False, highlight=False)


@contextmanager
def epoch_bar(
    epochs: int, metric: str, shown: bool, title: str = "training"
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar with loss, metric and time left; gives the function to call after each epoch."""
    if not shown:
        yield lambda record: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs)

        def on_epoch(record: dict[str, Any]) -> None:
            plain, drifted = record["valid_metric"], record["valid_metric_drifted"]
            rate = f"  rate {record['lr']:.2g}" if "lr" in record else ""
            text = f"loss {record['loss']:.3f}  {metric} {plain:.3f} ({drifted:.3f} drifted){rate}"
            bar.update(task, completed=record["epoch"], description=text)

        yield on_epoch
        bar.update(task, description="done")


@contextmanager
def row_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over the rows of a stream; gives the function to call with each number of rows served."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("serving rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        yield lambda rows: bar.advance(task, rows)


@contextmanager
def trial_bar(trials: int, shown: bool) -> Iterator[Callable[[int, float | None], None]]:
    """A progress bar over the trials of a search; gives the function to call with how many are done, and the best."""
    if not shown:
        yield lambda done, best: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("searching"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=trials)

        def after(done: int, best: float | None) -> None:
            bar.update(task, completed=done, description="" if best is None else f"best loss {best:.4f}")

        yield after
