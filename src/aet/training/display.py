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
    out = console()
    lines = schema.describe().splitlines()
    shown = lines if len(lines) <= 24 else [*lines[:20], f"… and {len(lines) - 20} more columns"]
    out.print("\n".join(shown), highlight=False, markup=False)
    out.print(f"{train:,} rows to train on, {held:,} held out for validation.", markup=False)
    for sentence in list(problems.values())[:5]:
        out.print(f"kept aside: {sentence}", style="yellow", markup=False)
    if len(problems) > 5:
        out.print(f"kept aside: {len(problems) - 5} more rows", style="yellow")
    out.print(
        f"Training for shift is on (strength {config.train.drift:g}): every batch is drifted a little."
        if config.train.drift
        else "Training for shift is off (train.drift = 0).",
        markup=False,
    )
    for name, settings in config.train.switches.items():
        out.print(f"On: {name}{named(settings)}", markup=False, highlight=False)


def say_acted(records: Sequence[Mapping[str, Any]]) -> None:
    """What each switch did."""
    for record in records:
        console().print(f"{record['name']}: {record['acted']}.", markup=False, highlight=False)


def named(settings: Mapping[str, Any]) -> str:
    """Settings in brackets, nothing where there are none.

    >>> named({"rho": 0.1, "adaptive": True}), named({})
    (' (rho 0.1, adaptive True)', '')
    """
    return f" ({', '.join(f'{name} {value}' for name, value in settings.items())})" if settings else ""


def say_rate(lr: float) -> None:
    """The learning rate that was found."""
    console().print(f"The learning rate, train.lr = auto, was {lr:.3g}.", markup=False, highlight=False)


def say_member(number: int, members: int) -> None:
    """Which member of an ensemble comes now."""
    console().print(f"Member {number + 1} of {members}", markup=False, highlight=False)


@contextmanager
def bar(title: str, total: int, described: bool = True) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left, and room for a description; gives the function that updates it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    text = [TextColumn("{task.description}")] if described else []
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), *text, TimeRemainingColumn())
    with Progress(*columns, console=console()) as shown:
        task = shown.add_task("", total=total)
        yield lambda **changes: shown.update(task, **changes)


@contextmanager
def epoch_bar(
    epochs: int, metric: str, shown: bool, title: str = "training"
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar with loss, metric and time left; gives the function to call after each epoch."""
    if not shown:
        yield lambda record: None
        return
    with bar(title, epochs) as update:

        def on_epoch(record: dict[str, Any]) -> None:
            plain, drifted = record["valid_metric"], record["valid_metric_drifted"]
            rate = f"  rate {record['lr']:.2g}" if "lr" in record else ""
            text = f"loss {record['loss']:.3f}  {metric} {plain:.3f} ({drifted:.3f} drifted){rate}"
            update(completed=record["epoch"], description=text)

        yield on_epoch
        update(description="done")


@contextmanager
def row_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar over the rows of a stream; gives the function to call with each number of rows served."""
    with bar("serving rows", total, described=False) as update:
        yield lambda rows: update(advance=rows)


@contextmanager
def trial_bar(trials: int, shown: bool) -> Iterator[Callable[[int, float | None], None]]:
    """A progress bar over the trials of a search; gives the function to call with how many are done, and the best."""
    if not shown:
        yield lambda done, best: None
        return
    with bar("searching", trials) as update:

        def after(done: int, best: float | None) -> None:
            update(completed=done, description="" if best is None else f"best loss {best:.4f}")

        yield after
