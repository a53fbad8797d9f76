"""Charts of bars: shares of categories, before and after, costs, and the bars of the headline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aet.report.plot import frame
from aet.report.svg import Scale, clip, label, line, picture, rect, spread, text_width, tip
from aet.report.text import Metric, count, mapping, number, percent, plural, signed

Value = tuple[str, float | None, float]


def shares_chart(width: int, entry: Mapping[str, Any], most: int = 6) -> str:
    """Shares of categories in the source and in the stream, most changed first."""
    old, new = mapping(entry, "source_shares"), mapping(entry, "stream_shares")
    every = [(str(n), number(old.get(n)) or 0.0, number(new.get(n)) or 0.0) for n in {**old, **new}]
    every.sort(key=lambda p: -abs(p[2] - p[1]))
    pairs, rest = every[:most], every[most:]
    if rest:
        pairs.append((plural(len(rest), "other"), sum(p[1] for p in rest), sum(p[2] for p in rest)))
    scale = Scale(0, max([max(a, b) for _, a, b in pairs] + [0.01]), 128, width - 62)
    drawn = []
    for i, (name, a, b) in enumerate(pairs):
        y, unseen = 4.0 + 38 * i, name == "<unseen>"
        shown = "unseen before" if unseen else clip(name, 118)
        drawn.append(label(0, y + 17, shown, class_="label alert" if unseen else "label", said=name))
        for value, at, class_ in ((a, y + 2, "source"), (b, y + 14, "stream")):
            words = tip(f"{name}\n{class_} {percent(value)}")
            drawn.append(rect(128, at, scale(value) - 128, 10, f"bar {class_}", words, r=2))
            drawn.append(label(scale(value) + 6, at + 9, percent(value), class_="small muted"))
    about = "; ".join(f"{name}: {percent(a)} to {percent(b)}" for name, a, b in pairs)
    return picture(width, 40 * len(pairs), "".join(drawn), f"Categories of {entry.get('column', '?')}", about)


def bullets_chart(
    width: int,
    values: Sequence[Value],
    name: str,
    write: Callable[[float], str],
    *,
    most: float | None = None,
    class_: Callable[[str], str] = lambda _: "served soft",
) -> str:
    """A bar for each value, with a mark where it stood before; `most` sets a common scale."""
    left = min(128.0, max([text_width(token) for token, *_ in values] + [24.0]) + 12)
    told = [f"{write(b)} → {write(v)}" if b is not None else write(v) for _, b, v in values]
    right = max([text_width(words, 11) for words in told] + [0.0]) + 12
    scale = Scale(0, most or max([max(v, b or 0.0) for _, b, v in values] + [1e-12]), left, width - right)
    drawn = []
    for i, (token, before, value) in enumerate(values):
        y = 4.0 + 27 * i
        words = f"{token}: {write(value)}" + (f"\nbefore {write(before)}" if before is not None else "")
        drawn.append(label(0, y + 14, clip(token, left - 8), said=token))
        drawn.append(rect(left, y + 3, scale(value) - left, 14, f"bar {class_(token)}", tip(words), r=2))
        if before is not None:
            drawn.append(line(scale(before), y, scale(before), y + 20, "before", tip(words)))
        at = (width, "end") if before is not None else (scale(value) + 7, None)
        drawn.append(label(at[0], y + 14, told[i], class_="small", anchor=at[1]))
    about = "; ".join(f"{token} {words}" for (token, *_), words in zip(values, told, strict=True))
    return picture(width, 6 + 27 * len(values), "".join(drawn), name, about)


def histogram_chart(width: int, kinds: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How many rows were answered with each confidence."""
    counts = [number(b.get("count")) or 0.0 for bins in kinds.values() for b in bins]
    side = min(width, 380)
    plot = frame(width, side, (0, 1), (0, 1.08 * max([*counts, 1.0])), bottom=50)
    drawn = [plot.grid(count)]
    most = max(len(bins) for bins in kinds.values())
    bar = min(14.0, (plot.right - plot.left) / (2.6 * max(most, 10)))
    for k, (kind, bins) in enumerate(kinds.items()):
        for b in bins:
            x, n = number(b.get("confidence")), number(b.get("count"))
            if x is not None and n is not None:
                at = plot.x(x) + (k - len(kinds) / 2) * bar
                words = tip(f"{kind}: {plural(n, 'row')} near {percent(x, 0)}")
                drawn.append(rect(at, plot.y(n), bar - 1, plot.bottom - plot.y(n), f"bar {kind}", words, r=1))
    drawn.append(plot.axis("stated confidence", lambda v: percent(v, 0), drop=4))
    about = "; ".join(
        f"{kind}: {plural(sum(number(b.get('count')) or 0.0 for b in bins), 'row')}" for kind, bins in kinds.items()
    )
    return picture(width, side, "".join(drawn), "How often each confidence was stated", about)


def balance(width: int, source: float, served: float, trained: float | None, metric: Metric) -> str:
    """One bar from nothing to everything: right anyway, won back, still lost."""
    scale = Scale(0, 1, 0, width)
    a, b = sorted((scale(source), scale(served)))
    won = metric.gain(source, served) or 0.0
    pieces = [(0.0, a, "source", "right anyway")]
    pieces.append((a, b, "served", f"won back {metric.size(won)}") if won >= 0 else (a, b, "lost", "lost by adapting"))
    if trained is not None and scale(trained) > b:
        left = metric.size(metric.gain(max(source, served), trained))
        pieces.append((b, scale(trained), "gap", f"still lost {left}"))
    drawn = [rect(0, 34, width, 26, "track", r=3)]
    for start, stop, class_, words in pieces:
        drawn.append(rect(start, 34, stop - start, 26, f"bar {class_}", tip(words)))
        if text_width(words, 12) + 16 < stop - start:
            drawn.append(label((start + stop) / 2, 51, words, class_=f"inbar {class_}", anchor="middle"))
    marks = [("source", source, "source"), ("served", served, "served")]
    marks += [("as trained", trained, "trained")] if trained is not None else []
    words_at = [(f"{name} {metric.show(value)}", scale(value), class_) for name, value, class_ in marks]
    drawn += pins(words_at[1:2], 22, (28, 34), width) + pins([words_at[0], *words_at[2:]], 82, (60, 67), width)
    about = ", ".join(w for w, _, _ in words_at)
    return picture(width, 88, "".join(drawn), f"{metric.name} lost and won back", about)


def pins(marks: Sequence[tuple[str, float, str]], y: float, stem: tuple[float, float], width: float) -> list[str]:
    """Words at places along a bar, moved apart where they would collide."""
    half = max(text_width(words, 13) for words, _, _ in marks) / 2
    places = spread([x for _, x, _ in marks], 2 * half + 8, half, width - half)
    return [
        line(x, stem[0], x, stem[1], f"mark {class_}") + label(at, y, words, class_=f"end {class_}", anchor="middle")
        for (words, x, class_), at in zip(marks, places, strict=True)
    ]


def interval(mean: float, low: float, high: float, margin: float) -> str:
    """The harm with its interval, from gain to loss; `margin` is the harm that the guard allows."""
    width, y = 168, 11.0
    reach = 1.15 * max(abs(low), abs(high), abs(mean), 2 * margin, 0.5)
    scale = Scale(-reach, reach, 0, width)
    zero = scale(0)
    drawn = [
        rect(zero, 2, scale(margin) - zero, 18, "allowed"),
        line(0, y, width, y, "grid"),
        line(zero, 0, zero, 22, "zero"),
    ]
    class_ = "lost" if low > margin else "served" if high <= margin else "source"
    drawn.append(rect(scale(low), y - 4, max(3.0, scale(high) - scale(low)), 8, f"bar {class_}", r=2))
    drawn.append(
        label(0, 34, "gain", class_="small muted") + label(width, 34, "harm", class_="small muted", anchor="end")
    )
    drawn.append(label(zero, 34, "0", class_="small muted", anchor="middle"))
    return picture(width, 38, "".join(drawn), "Harm", f"{signed(mean)} points, {signed(low)} to {signed(high)}")
