"""The guard, by simulation: how often it serves a proposal that loses a point, and how many labels a better one takes.

    python benchmarks/guard.py [--quick] [--seeds N] [--json FILE] [--picture FILE]

Rows are drawn, and weighted, by `aet.adaptation.ask.draw`, 16 of 256 at a time unless said; of so many proposal and
source differ on an exact share, and on those their gains are simulated. "Alike": they differ on any rows. "Unsure": on
rows drawn in proportion to the uncertainty. `--seeds` multiplies the streams (1,000 each). Minutes on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Record, parser, write
from guard_draws import MARGIN, Flags, Floats, Labels, Rng, asks, labels
from guard_picture import draw_picture
from scipy.stats import beta

from aet.adaptation import Earned
from aet.adaptation.evidence import CAP, FRACTIONS, NARROWEST, PRIOR, Wealth

LEVEL = 0.05
LIMIT = CAP / LEVEL
BARS = (0.9, 0.95, 0.99)
GAINS = (0.02, 0.05, 0.1, 0.2, 0.3)
DISAGREE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
NEVER = 10**9
LOOK = 8
"""Where labels go through the guard itself, it is looked at after every 8."""


Step = Callable[[int, Floats], tuple[Floats, Floats]]
"""Label t and the wealths so far (S,) -> w d and its bound (S,)."""


def paths(step: Step, streams: int, length: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Wealth of `earned`, w d and its bound after each label (S,)."""
    wealth = Wealth(MARGIN, LIMIT, streams)
    for t in range(length):
        value, bound = step(t, wealth.total)
        wealth.step(value, bound)
        yield wealth.total, value, bound


def prepared(given: Labels, d: Floats) -> Step:
    """Labels and gains known beforehand."""
    values = told(given, d)
    return lambda t, _: (values[:, t], given.span[:, t])


def told(given: Labels, d: Floats) -> Floats:
    """Values w d; -m, which leaves the wealth as it is, where both answer alike and nothing is bet."""
    return np.where(given.differ, given.weights * d, -MARGIN)


def ever(step: Step, streams: int, length: int) -> dict[str, float]:
    """Share of streams that are ever served, by guard; `earned` as if it did not ask for a gain as well."""
    served = {"earned": np.zeros(streams, bool)} | {f"likely {bar:g}": np.zeros(streams, bool) for bar in BARS}
    wins, losses = np.zeros(streams), np.zeros(streams)
    for total, value, bound in paths(step, streams, length):
        said = np.where(value == -MARGIN, 0.0, value / np.maximum(bound, NARROWEST))
        wins, losses = wins + np.maximum(said, 0), losses + np.maximum(-said, 0)
        served["earned"] |= total >= 1 / LEVEL
        posterior = beta.sf(0.5, 0.5 + wins, 0.5 + losses)
        for bar in BARS:
            served[f"likely {bar:g}"] |= posterior > bar
    return {name: float(hit.mean()) for name, hit in served.items()}


def nulls(streams: int, length: int) -> Iterator[tuple[str, Step]]:
    """Streams on which the proposal loses exactly a point over every pool that is asked from, at every ask."""
    rng = np.random.default_rng(1)

    def some(rate: float, **how: object) -> Labels:
        return labels(asks(rate, **how), streams, length, rng)  # type: ignore[arg-type]

    for rate in (0.012, 0.05, 0.2, 1.0):
        given = some(rate)
        yield f"alike, {rate:.1%} differ", prepared(given, given.losing(rng))
    given = some(0.2, tilt=True)
    yield "unsure, 20 % differ", prepared(given, given.losing(rng))
    given = some(0.4)
    yield "losses where unsure, wins where sure", prepared(given, given.split(rng))
    yield "wins where unsure, losses where sure", prepared(given, given.split(rng, below=False))
    yield "a new state every 4 labels", changing(streams, rng, lambda wealth: rng.integers(0, 4, streams))
    bold = changing(streams, rng, lambda wealth: np.where(wealth < 1, 3, np.where(wealth < 8, 2, 0)))
    yield "states that follow the wealth", bold
    timid = changing(streams, rng, lambda wealth: np.where(wealth < 8, 0, 3))
    yield "states that differ little until they are nearly served", timid
    for pool, count in ((24, 24), (60, 16), (64, 32)):
        given = some(0.4, pool=pool, count=count)
        yield f"{count} of {pool} rows asked, losses where unsure", prepared(given, given.split(rng))


RATES = (0.012, 0.05, 0.2, 0.6)


def changing(streams: int, rng: Rng, choose: Callable[[Floats], npt.NDArray[np.int64]]) -> Step:
    """Every 4 labels another state, of which `choose` says by the wealth how much it differs; each loses a point."""
    sets = [asks(rate, count=4) for rate in RATES]
    now: list[Labels] = []
    gains: list[Floats] = []

    def step(t: int, wealth: Floats) -> tuple[Floats, Floats]:
        if t % 4 == 0:
            which, row = choose(wealth), rng.integers(0, len(sets[0].weights), streams)
            stacked = (np.stack([getattr(one, name) for one in sets]) for name in Labels.__dataclass_fields__)
            now[:] = [Labels(*(part[which, row] for part in stacked))]
            gains[:] = [now[0].losing(rng)]
        here = now[0].at(slice(None), t % 4)
        return told(here, gains[0][:, t % 4]), here.span

    return step


def arrivals(kind: str, d: Floats, length: int, count: int, rng: Rng) -> Floats:
    """When each label of one stream comes, in labels asked so far; infinite: never."""
    asked = (np.arange(length) // count + 1.0) * count
    late = asked + rng.exponential(24, length)
    return {
        "late, out of order": late,
        "losses never come": np.where(d < 0, np.inf, late),
        "half of the losses never come": np.where((d < 0) & (rng.random(length) < 0.5), np.inf, late),
        "losses come 64 labels later": late + 64 * (d < 0),
        "wins come 64 labels later": late + 64 * (d > 0),
    }[kind]


def delivered(guard: Earned, given: Labels, d: Floats, when: Floats, count: int) -> int:
    """Hand a stream's labels (T,) to the guard as they come; how many labels had come when it was first served."""
    order = [int(i) for i in np.argsort(when, kind="stable") if np.isfinite(when[i])]
    asked = 0
    for came, i in enumerate(order, start=1):
        while asked < len(d) and asked + count <= when[i]:
            rows = slice(asked, asked + count)
            most = given.differ[rows].astype(float).tolist()
            guard.expect(range(asked, asked + count), given.weights[rows].tolist(), most, float(given.span[asked]))
            asked += count
        guard.update(float(d[i]), float(given.weights[i]), i)
        if came % LOOK == 0 and guard.serving:
            return came
    return NEVER


KINDS = (
    "late, out of order",
    "losses never come",
    "half of the losses never come",
    "losses come 64 labels later",
    "wins come 64 labels later",
)


def missing(streams: int, length: int) -> Iterator[tuple[str, str, float]]:
    """Null streams whose labels come late, out of order, or not, depending on what they say: scenario, guard, rate."""
    rng = np.random.default_rng(3)
    given = labels(asks(0.4), streams, length, rng)
    d = given.split(rng)
    for kind in KINDS:
        when = [arrivals(kind, d[s], length, 16, np.random.default_rng(s)) for s in range(streams)]
        for policy in ("loss", "ignore"):
            hits = [delivered(Earned(missing=policy), given.at(s), d[s], when[s], 16) < NEVER for s in range(streams)]
            yield kind, "earned" if policy == "loss" else "earned, missing ignored", float(np.mean(hits))
        served = dict.fromkeys(BARS, 0)
        for s in range(streams):
            order = [i for i in np.argsort(when[s], kind="stable") if np.isfinite(when[s][i])]
            said = (given.weights[s] * d[s] / given.span[s])[order]
            posterior = beta.sf(0.5, 0.5 + np.cumsum(said.clip(0)), 0.5 + np.cumsum((-said).clip(0)))
            for bar in BARS:
                served[bar] += bool((posterior > bar).any())
        for bar in BARS:
            yield kind, f"likely {bar:g}", served[bar] / streams


def sorts(streams: int, length: int, confirm: float) -> float:
    """Rows of sort A are confirmed at once, those of B `confirm` labels later, and the state turns with every ask: it
    is good at the one and bad at the other, and loses a point over both.
    """
    rng, hits = np.random.default_rng(4), 0
    given = labels(asks(0.4), streams, length, rng)
    for s in range(streams):
        late, ask = given.upper[s], np.arange(length) // 16
        when = (ask + 1.0) * 16 + np.arange(length) % 16 / 16 + confirm * late
        good = (ask % 2 == 1) == late
        d = given.at(s).gains(good * (1 - MARGIN / given.share[s]), rng)
        hits += delivered(Earned(), given.at(s), d, when, 16) < NEVER
    return hits / streams


def first(served: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Labels until first served (S,)."""
    return np.where(served.any(1), served.argmax(1) + 1, NEVER)


def before(values: Floats, weights: Floats) -> Floats:
    """Wealth (S, T) of the bets as they were when rows were drawn without regard to the answers, with stakes up to
    0.8 / (1 - m) and a bet on the weight that makes up for losses of weight 2.
    """
    stakes, wealth, path = FRACTIONS / (1 - MARGIN), np.tile(PRIOR, (len(values), 1)), []
    hedges = np.maximum(0.0, (2 - MARGIN) * stakes - 0.95)
    for t in range(values.shape[1]):
        value, weight = values[:, t, None], weights[:, t, None]
        wealth = wealth * (1 + stakes * (value + MARGIN) + hedges * (weight - 1))
        share = 1 / (1001 + t)
        wealth = np.minimum((1 - share) * wealth + share * wealth.sum(1, keepdims=True) * PRIOR, LIMIT * PRIOR)
        path.append(wealth.sum(1))
    return np.stack(path, 1)


def power(gain: float, rate: float, tilt: bool, streams: int, length: int) -> dict[str, list[float]]:
    """Labels until served by guard: 20, 50 and 80 % of the streams."""
    rng = np.random.default_rng(5)
    given, untold = (labels(asks(rate, tilt, told=told), streams, length, rng) for told in (True, False))
    d, e = (some.gains((1 + gain / some.share) / 2, rng) for some in (given, untold))
    found = list(paths(prepared(given, d), streams, length))
    totals, said = np.stack([total for total, *_ in found], 1), np.where(d == 0, 0.0, given.weights * d / given.span)
    posterior = beta.sf(0.5, 0.5 + np.cumsum(said.clip(0), 1), 0.5 + np.cumsum((-said).clip(0), 1))
    served = {
        "earned": totals >= 1 / LEVEL,
        "without regard to the answers": before(untold.weights * e, untold.weights) >= 1 / LEVEL,
        "likely 0.9": posterior > 0.9,
    }
    return {
        name: [float(q) for q in np.quantile(first(hit), [0.2, 0.5, 0.8], method="lower")]
        for name, hit in served.items()
    }


def one_after(parts: list[tuple[float, float, int]], streams: int, rng: Rng) -> tuple[Labels, Floats]:
    """Labels (S, T) of proposals with these wins and losses, each for so many labels."""
    made = [labels(asks(wins + losses), streams, length, rng) for wins, losses, length in parts]
    d = [some.gains(wins / (wins + losses), rng) for some, (wins, losses, _) in zip(made, parts, strict=True)]
    joined = (np.concatenate([getattr(some, name) for some in made], 1) for name in Labels.__dataclass_fields__)
    return Labels(*joined), np.concatenate(d, 1)


def served_after(parts: list[tuple[float, float, int]], streams: int, seed: int) -> Flags:
    """Whether such proposals are served, label by label (S, T)."""
    given, d = one_after(parts, streams, np.random.default_rng(seed))
    return np.stack([total >= 1 / LEVEL for total, *_ in paths(prepared(given, d), streams, d.shape[1])], 1)


def turning(after: tuple[float, float], known: int, streams: int, length: int = 480) -> dict[str, float]:
    """A proposal with 25 % wins and 5 % losses for `known` labels, then with the wins and losses of `after`."""
    served = served_after([(0.25, 0.05, known), (*after, length)], streams, 6)
    then = served[served[:, known - 1], known:]
    gone = first(~then)
    return {
        "earned before": float(served[:, known - 1].mean()),
        "dropped within 200": float((gone <= 200).mean()),
        "labels to drop": float(np.quantile(gone, 0.5, method="lower")),
        "served after": float(then.mean()),
    }


def again(streams: int, length: int = 480) -> list[float]:
    """Labels to earn after 320 labels at 5 % wins and 10 % losses, once it turns to 25 % and 5 %."""
    served = served_after([(0.05, 0.1, 320), (0.25, 0.05, length)], streams, 7)[:, 320:]
    return [float(q) for q in np.quantile(first(served), [0.2, 0.5, 0.8], method="lower")]


def price(share: float, policy: str, streams: int, length: int = 256) -> list[float]:
    """Labels that came until served with 25 % wins and 5 % losses, when this share of the asked ones never comes."""
    rng = np.random.default_rng(8)
    given, d = one_after([(0.25, 0.05, length)], streams, rng)
    when = (np.arange(length) // 16 + 1.0) * 16 + np.arange(length) % 16 / 16
    found = []
    for s in range(streams):
        come = np.where(rng.random(length) < share, np.inf, when)
        found.append(delivered(Earned(missing=policy), given.at(s), d[s], come, 16))
    return [float(q) for q in np.quantile(found, [0.2, 0.5, 0.8], method="lower")]


def half_width(rate: float, streams: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a rate."""
    hits = round(rate * streams)
    low = float(beta.ppf(0.025, hits, streams - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.975, hits + 1, streams - hits)) if hits < streams else 1.0


def shown(quantiles: list[float]) -> str:
    """Median (20 to 80 %)."""
    low, middle, high = ("-" if q >= NEVER else f"{q:.0f}" for q in quantiles)
    return f"{middle} ({low} to {high})"


def errors(options: argparse.Namespace) -> list[Record]:
    """The first table."""
    streams, length = (200, 256) if options.quick else (1000 * options.seeds, 512)
    few = (60, 128) if options.quick else (1000, 128)
    made = []

    def note(name: str, guard: str, rate: float, count: int) -> None:
        low, high = half_width(rate, count)
        print(f"  {name:48} {guard:24} {rate:6.1%}   ({low:.1%} to {high:.1%})", flush=True)
        made.append(
            Record("guard", "ever served at -1 point", guard, "rate", 100 * rate, name, 50 * (high - low), count)
        )

    print(f"Ever served though it loses a point, share of {streams:,} streams of {length} labels (95 % interval)")
    for name, step in nulls(streams, length):
        for guard, rate in ever(step, streams, length).items():
            note(name, guard, rate, streams)
    print(f"The same, labels late or missing for what they say, {few[0]:,} streams of {few[1]} asked labels")
    for name, guard, rate in missing(*few):
        note(name, guard, rate, few[0])
    for confirm in (0.0, 64.0):
        name = f"state turns, two sorts confirmed {confirm:.0f} labels apart"
        note(name, "earned", sorts(few[0], few[1], confirm), few[0])
    return made


def curves(options: argparse.Namespace) -> list[Record]:
    """The second table."""
    made: list[Record] = []
    print("Labels until served: median (20 to 80 %)")
    for tilt, tried in ((False, GAINS), (True, (0.2,))):
        for gain in tried:
            streams = 100 if options.quick else 200 if gain < 0.2 else 1000
            for rate in (r for r in DISAGREE if r >= gain):
                length = 512 if options.quick or gain >= 0.2 else 2048 if gain < 0.1 else 1024
                for guard, quantiles in power(gain, rate, tilt, streams, length).items():
                    name = f"{'unsure' if tilt else 'alike'}: gain {100 * gain:g}, differ {rate:.0%}"
                    print(f"  {name:36} {guard:20} {shown(quantiles)}", flush=True)
                    for metric, q in zip(("labels 20 %", "labels 50 %", "labels 80 %"), quantiles, strict=True):
                        value = q if q < NEVER else float("inf")
                        made.append(Record("guard", "labels until served", guard, metric, value, name, None, streams))
    return made


def afterwards(options: argparse.Namespace) -> list[Record]:
    """Dropping, keeping, earning again, and what missing labels cost."""
    streams = 200 if options.quick else 500
    made: list[Record] = []
    cases = {
        "turns to 0 % wins, 5 % losses": (0.0, 0.05),
        "turns to 5 % wins, 10 % losses": (0.05, 0.1),
        "stays at 25 % wins, 5 % losses": (0.25, 0.05),
        "turns to 8 % wins, 3 % losses": (0.08, 0.03),
    }
    for name, after in cases.items():
        for known in (96, 480):
            found = turning(after, known, streams)
            print(f"  25 %/5 % for {known} labels, {name:32}", {k: round(v, 3) for k, v in found.items()}, flush=True)
            for metric, value in found.items():
                value = value if value < NEVER else float("inf")
                made.append(Record("guard", f"after {known} good labels", "earned", metric, value, name, None, streams))
    quantiles = again(streams)
    print("  earned again after 320 labels at 5 %/10 %, once it turns to 25 %/5 %:", shown(quantiles))
    made.append(
        Record(
            "guard", "labels until served", "earned", "labels 50 %", quantiles[1], "after a bad stretch", None, streams
        )
    )
    for share in (0.0, 0.05, 0.1, 0.2):
        for policy in ("loss", "ignore") if share else ("loss",):
            found_price = price(share, policy, min(streams, 150))
            print(f"  {share:.0%} of asked labels never come, as {policy}:", shown(found_price), flush=True)
            name, value = f"{share:.0%} never come", found_price[1] if found_price[1] < NEVER else float("inf")
            made.append(
                Record(
                    "guard",
                    "price of missing labels",
                    f"earned, {policy}",
                    "labels 50 %",
                    value,
                    name,
                    None,
                    min(streams, 150),
                )
            )
    return made


def main() -> None:
    """All tables."""
    made = parser(__doc__, seeds=2)
    made.add_argument("--picture", type=Path, help="draw the power curves here (SVG)")
    options = made.parse_args()
    records = [*errors(options), *curves(options), *afterwards(options)]
    write([r for r in records if np.isfinite(r.value)], options.json)  # what was not reached is left out
    if options.picture:
        draw_picture(records, GAINS, DISAGREE, options.picture)


if __name__ == "__main__":
    main()
