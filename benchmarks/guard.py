"""The guard, by simulation: how often it serves a proposal that loses a point, and how many labels a better one takes.

    python benchmarks/guard.py [--quick] [--seeds N] [--json FILE] [--picture FILE]

Rows are drawn, and weighted, by `aet.adaptation.ask.draw`, 16 of 500 at a time unless said; their gains are simulated.
"Alike": proposal and source differ as often on every row. "Unsure": they differ in proportion to the uncertainty that
`ask` looks at. `--seeds` multiplies the streams (1,000 each). Minutes on one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import Record, parser, write
from scipy.stats import beta

from aet.adaptation import Earned
from aet.adaptation.ask import draw
from aet.adaptation.evidence import CAP, Wealth

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator
MARGIN, LEVEL = 0.01, 0.05
LIMIT = CAP / LEVEL
BARS = (0.9, 0.95, 0.99)
GAINS = (0.02, 0.05, 0.1, 0.2, 0.3)
DISAGREE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
NEVER = 10**9
LOOK = 8
"""Where labels go through the guard itself, it is looked at after every 8."""


@dataclass(frozen=True)
class Asks:
    """What `ask` draws from many pools (A, M): weights, uncertainty over the pool's mean, whether above its median."""

    weights: Floats
    unsure: Floats
    upper: npt.NDArray[np.bool_]

    @classmethod
    def make(cls, pool: int = 500, count: int = 16, number: int = 400, seed: int = 0) -> Asks:
        """Rows in five clusters; few are very unsure."""
        rng, found = np.random.default_rng(seed), []
        for _ in range(number):
            centres = 2 * rng.normal(size=(5, 8))
            features = centres[rng.integers(0, 5, pool)] + rng.normal(size=(pool, 8))
            unsure = rng.beta(1, 3, pool)
            rows, weights = draw(features, unsure, np.zeros(pool, bool), count, rng)
            found.append((weights, unsure[rows] / unsure.mean(), unsure[rows] > np.median(unsure)))
        return cls(*(np.array(part) for part in zip(*found, strict=True)))

    def labels(self, streams: int, length: int, rng: Rng) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
        """Weights, uncertainty, upper half (S, T): whole asks one after the other, each of another pool."""
        asks = -(-length // self.weights.shape[1])
        which = rng.integers(0, len(self.weights), (streams, asks))
        parts = (part[which].reshape(streams, -1)[:, :length] for part in (self.weights, self.unsure, self.upper))
        return next(parts), next(parts), next(parts)


def gains(better: Floats, worse: Floats, rng: Rng) -> Floats:
    """+1, -1 or 0 with these probabilities."""
    u = rng.random(np.shape(better))
    return np.where(u < better, 1.0, np.where(u < better + worse, -1.0, 0.0))


def tilted(rate: float, unsure: Floats, tilt: bool) -> Floats:
    """Probability of a difference, mean `rate` over the pool: as often everywhere, or in proportion to uncertainty."""
    share = min(1.0, (1 / rate - 1) / 3.5) if tilt else 0.0
    return np.minimum(1.0, rate * (1 - share + share * unsure))


Step = Callable[[int, Floats], tuple[Floats, Floats]]
"""Label t and the wealths so far (S,) -> gains and weights (S,)."""


def paths(step: Step, streams: int, length: int) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Wealth of `earned`, gains and weights after each label (S,)."""
    wealth = Wealth(MARGIN, LIMIT, streams)
    for t in range(length):
        d, w = step(t, wealth.total)
        wealth.step(d, w)
        yield wealth.total, d, w


def ever(step: Step, streams: int, length: int) -> dict[str, float]:
    """Share of streams that are ever served, by guard."""
    served = {"earned": np.zeros(streams, bool)} | {f"likely {bar:g}": np.zeros(streams, bool) for bar in BARS}
    wins, losses = np.zeros(streams), np.zeros(streams)
    for total, d, w in paths(step, streams, length):
        wins, losses = wins + w * np.maximum(d, 0), losses + w * np.maximum(-d, 0)
        served["earned"] |= total >= 1 / LEVEL
        posterior = beta.sf(0.5, 0.5 + wins, 0.5 + losses)
        for bar in BARS:
            served[f"likely {bar:g}"] |= posterior > bar
    return {name: float(hit.mean()) for name, hit in served.items()}


def prepared(d: Floats, w: Floats) -> Step:
    """Gains and weights known beforehand."""
    return lambda t, _: (d[:, t], w[:, t])


def nulls(streams: int, length: int) -> Iterator[tuple[str, Step]]:
    """Streams on which the proposal loses exactly a point over every pool that is asked from, at every label."""
    asks, rng = Asks.make(), np.random.default_rng(1)
    w, u, upper = asks.labels(streams, length, rng)

    def at(rate: float, tilt: bool) -> Floats:
        p = tilted(rate, u, tilt)
        return gains(p * (1 - MARGIN / rate) / 2, p * (1 + MARGIN / rate) / 2, rng)

    for rate in (0.011, 0.2, 1.0):
        yield f"alike, {rate:.1%} differ", prepared(at(rate, tilt=False), w)
    yield "unsure, 20 % differ", prepared(at(0.2, tilt=True), w)
    half = 0.4 * upper
    yield "losses where unsure, wins where sure", prepared(gains((0.4 - 2 * MARGIN) * ~upper, half, rng), w)
    yield "wins where unsure, losses where sure", prepared(gains(half, (0.4 + 2 * MARGIN) * ~upper, rng), w)
    yield "a new state every 4 labels", prepared(changing(u, upper, rng), w)
    yield "states that follow the wealth", following(w, u, rng)
    for pool, count in ((24, 24), (60, 16), (64, 32)):
        small = Asks.make(pool, count, 1500, seed=2)
        v, _, above = small.labels(streams, length, rng)
        losing = gains((0.4 - 2 * MARGIN) * ~above, 0.4 * above, rng)
        yield f"{count} of {pool} rows asked, losses where unsure", prepared(losing, v)


def changing(u: Floats, upper: npt.NDArray[np.bool_], rng: Rng) -> Floats:
    """Every 4 labels another state: how often it differs, and where it wins and loses, are drawn anew."""
    rate = rng.choice([0.012, 0.05, 0.2, 0.6], (len(u), u.shape[1] // 4)).repeat(4, 1)
    sort = rng.integers(0, 3, (len(u), u.shape[1] // 4)).repeat(4, 1)
    win, lose = (rate - MARGIN) / 2, (rate + MARGIN) / 2
    better = np.where(sort == 0, win, np.where(sort == 1, 2 * win * ~upper, 2 * win * upper))
    worse = np.where(sort == 0, lose, np.where(sort == 1, 2 * lose * upper, 2 * lose * ~upper))
    return gains(better, worse, rng)


def following(w: Floats, u: Floats, rng: Rng) -> Step:
    """An opponent who knows the wealth: bold far below the bar, cautious just under it."""

    def step(t: int, wealth: Floats) -> tuple[Floats, Floats]:
        rate = np.where(wealth < 1, 1.0, np.where(wealth < 8, 0.3, 0.02))
        return gains((rate - MARGIN) / 2, (rate + MARGIN) / 2, rng), w[:, t]

    return step


def arrivals(kind: str, d: Floats, length: int, count: int, rng: Rng) -> Floats:
    """When each label of one stream comes, in labels asked so far; infinite: never."""
    asked = (np.arange(length) // count + 1.0) * count
    late = asked + rng.exponential(24, length)
    return {
        "in order": asked + np.arange(length) % count / count,
        "late, out of order": late,
        "losses never come": np.where(d < 0, np.inf, late),
        "half of the losses never come": np.where((d < 0) & (rng.random(length) < 0.5), np.inf, late),
        "losses come 64 labels later": late + 64 * (d < 0),
        "wins come 64 labels later": late + 64 * (d > 0),
    }[kind]


def delivered(guard: Earned, d: Floats, w: Floats, when: Floats, count: int) -> int:
    """Hand a stream's labels to the guard as they come; how many labels had come when it was first served."""
    order = [int(i) for i in np.argsort(when, kind="stable") if np.isfinite(when[i])]
    asked = 0
    for came, i in enumerate(order, start=1):
        while asked < len(d) and asked + count <= when[i]:
            guard.expect(range(asked, asked + count), w[asked : asked + count].tolist())
            asked += count
        guard.update(float(d[i]), float(w[i]), i)
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
    asks, rng = Asks.make(), np.random.default_rng(3)
    w, _, upper = asks.labels(streams, length, rng)
    d = gains((0.4 - 2 * MARGIN) * ~upper, 0.4 * upper, rng)
    for kind in KINDS:
        when = [arrivals(kind, d[s], length, 16, np.random.default_rng(s)) for s in range(streams)]
        for policy in ("loss", "ignore"):
            hits = [delivered(Earned(missing=policy), d[s], w[s], when[s], 16) < NEVER for s in range(streams)]
            yield kind, "earned" if policy == "loss" else "earned, missing ignored", float(np.mean(hits))
        served = dict.fromkeys(BARS, 0)
        for s in range(streams):
            order = [i for i in np.argsort(when[s], kind="stable") if np.isfinite(when[s][i])]
            signed = w[s][order] * d[s][order]
            posterior = beta.sf(0.5, 0.5 + np.cumsum(signed.clip(0)), 0.5 + np.cumsum((-signed).clip(0)))
            for bar in BARS:
                served[bar] += bool((posterior > bar).any())
        for bar in BARS:
            yield kind, f"likely {bar:g}", served[bar] / streams


def sorts(streams: int, length: int, confirm: float) -> float:
    """What is *not* promised: rows of sort A are confirmed at once, those of B `confirm` labels later, and the state
    turns meanwhile, so that each sort is scored by a state that is good at it and bad at the other. Each state loses a
    point; what is tested is their mixture. With `confirm` 0 one state scores both.
    """
    asks, rng, hits = Asks.make(), np.random.default_rng(4), 0
    w, _, _ = asks.labels(streams, length, rng)
    for s in range(streams):
        late = rng.random(length) < 0.5
        ask = np.arange(length) // 16
        good = (ask % 2 == 1) == late if confirm == 0 else np.ones(length, bool)
        when = (ask + 1.0) * 16 + np.arange(length) % 16 / 16 + confirm * late
        d = gains(np.where(good, 0.2 - MARGIN, 0.0), np.where(good, 0.0, 0.2 + MARGIN), rng)
        hits += delivered(Earned(), d, w[s], when, 16) < NEVER
    return hits / streams


def first(served: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Labels until first served (S,)."""
    return np.where(served.any(1), served.argmax(1) + 1, NEVER)


def power(gain: float, rate: float, tilt: bool, streams: int, length: int, asks: Asks) -> dict[str, list[float]]:
    """Labels until served by guard: 20, 50 and 80 % of the streams."""
    rng = np.random.default_rng(5)
    w, u, _ = asks.labels(streams, length, rng)
    p = tilted(rate, u, tilt)
    d = gains(p * (1 + gain / rate) / 2, p * (1 - gain / rate) / 2, rng)
    totals = np.stack([total for total, *_ in paths(prepared(d, w), streams, length)], 1)
    stakes, posterior = np.arange(1, 17) / 17 / (2 - MARGIN), np.empty_like(w)
    logs, wins, losses, before = np.zeros((streams, 16)), np.zeros(streams), np.zeros(streams), np.empty_like(w)
    for t in range(length):
        logs += np.log1p(stakes * (w[:, t] * d[:, t] + MARGIN)[:, None])
        before[:, t] = np.exp(logs).mean(1)
        wins, losses = wins + w[:, t] * d[:, t].clip(0), losses + w[:, t] * (-d[:, t]).clip(0)
        posterior[:, t] = beta.sf(0.5, 0.5 + wins, 0.5 + losses)
    served = {"earned": totals >= 20, "16 stakes below ½": before >= 20, "likely 0.9": posterior > 0.9}
    return {
        name: [float(q) for q in np.quantile(first(hit), [0.2, 0.5, 0.8], method="lower")]
        for name, hit in served.items()
    }


def turning(after: tuple[float, float], known: int, streams: int, asks: Asks, length: int = 480) -> dict[str, float]:
    """A proposal with 25 % wins and 5 % losses for `known` labels, then with the wins and losses of `after`."""
    rng = np.random.default_rng(6)
    w, _, _ = asks.labels(streams, known + length, rng)
    good, bad = np.ones((streams, known)), np.ones((streams, length))
    d = np.c_[gains(0.25 * good, 0.05 * good, rng), gains(after[0] * bad, after[1] * bad, rng)]
    served = np.stack([total >= 20 for total, *_ in paths(prepared(d, w), streams, known + length)], 1)
    then = served[served[:, known - 1], known:]
    gone = first(~then)
    return {
        "earned before": float(served[:, known - 1].mean()),
        "dropped within 200": float((gone <= 200).mean()),
        "labels to drop": float(np.quantile(gone, 0.5, method="lower")),
        "served after": float(then.mean()),
    }


def again(streams: int, asks: Asks, length: int = 480) -> list[float]:
    """Labels to earn after 320 labels at 5 % wins and 10 % losses, once it turns to 25 % and 5 %."""
    rng = np.random.default_rng(7)
    w, _, _ = asks.labels(streams, 320 + length, rng)
    bad, good = np.ones((streams, 320)), np.ones((streams, length))
    d = np.c_[gains(0.05 * bad, 0.1 * bad, rng), gains(0.25 * good, 0.05 * good, rng)]
    served = np.stack([total >= 20 for total, *_ in paths(prepared(d, w), streams, 320 + length)], 1)[:, 320:]
    return [float(q) for q in np.quantile(first(served), [0.2, 0.5, 0.8], method="lower")]


def price(share: float, policy: str, streams: int, asks: Asks, length: int = 256) -> list[float]:
    """Labels that came until served with 25 % wins and 5 % losses, when this share of the asked ones never comes."""
    rng = np.random.default_rng(8)
    w, _, _ = asks.labels(streams, length, rng)
    d = gains(0.25 + 0 * w, 0.05 + 0 * w, rng)
    when = (np.arange(length) // 16 + 1.0) * 16 + np.arange(length) % 16 / 16
    found = []
    for s in range(streams):
        come = np.where(rng.random(length) < share, np.inf, when)
        found.append(delivered(Earned(missing=policy), d[s], w[s], come, 16))
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
    asks, made = Asks.make(), []
    print("Labels until served: median (20 to 80 %)")
    for tilt, tried in ((False, GAINS), (True, (0.2,))):
        for gain in tried:
            streams = 100 if options.quick else 200 if gain < 0.2 else 1000
            for rate in (r for r in DISAGREE if r >= gain):
                length = 512 if options.quick or gain >= 0.2 else 2048 if gain < 0.1 else 1024
                for guard, quantiles in power(gain, rate, tilt, streams, length, asks).items():
                    name = f"{'unsure' if tilt else 'alike'}: gain {100 * gain:g}, differ {rate:.0%}"
                    print(f"  {name:36} {guard:20} {shown(quantiles)}", flush=True)
                    for metric, q in zip(("labels 20 %", "labels 50 %", "labels 80 %"), quantiles, strict=True):
                        value = q if q < NEVER else float("inf")
                        made.append(Record("guard", "labels until served", guard, metric, value, name, None, streams))
    return made


def afterwards(options: argparse.Namespace) -> list[Record]:
    """Dropping, keeping, earning again, and what missing labels cost."""
    streams = 200 if options.quick else 500
    asks, made = Asks.make(), []
    cases = {
        "turns to 0 % wins, 5 % losses": (0.0, 0.05),
        "turns to 5 % wins, 10 % losses": (0.05, 0.1),
        "stays at 25 % wins, 5 % losses": (0.25, 0.05),
        "turns to 8 % wins, 3 % losses": (0.08, 0.03),
    }
    for name, after in cases.items():
        for known in (96, 480):
            found = turning(after, known, streams, asks)
            print(f"  25 %/5 % for {known} labels, {name:32}", {k: round(v, 3) for k, v in found.items()}, flush=True)
            for metric, value in found.items():
                value = value if value < NEVER else float("inf")
                made.append(Record("guard", f"after {known} good labels", "earned", metric, value, name, None, streams))
    quantiles = again(streams, asks)
    print("  earned again after 320 labels at 5 %/10 %, once it turns to 25 %/5 %:", shown(quantiles))
    made.append(
        Record(
            "guard", "labels until served", "earned", "labels 50 %", quantiles[1], "after a bad stretch", None, streams
        )
    )
    for share in (0.0, 0.05, 0.1, 0.2):
        for policy in ("loss", "ignore") if share else ("loss",):
            found_price = price(share, policy, min(streams, 150), asks)
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


def draw_picture(records: list[Record], path: Path) -> None:
    """Median labels against the gain, one line a disagreement rate, and the bets of before beside."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "aet"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for panel, guard in zip(panels, ("earned", "likely 0.9"), strict=True):
        for shade, rate in zip(np.linspace(0.25, 1, len(DISAGREE)), DISAGREE, strict=True):
            at = {
                metric: [
                    (100 * gain, r.value)
                    for gain in GAINS
                    for r in records
                    if (r.method, r.metric) == (guard, metric)
                    and r.stream == f"alike: gain {100 * gain:g}, differ {rate:.0%}"
                ]
                for metric in ("labels 20 %", "labels 50 %", "labels 80 %")
            }
            points = [(x, y) for x, y in at["labels 50 %"] if np.isfinite(y)]
            if points:
                panel.plot(
                    *zip(*points, strict=True), "o-", color=pyplot.cm.viridis(1 - shade), label=f"{rate:.0%}", ms=4
                )
        panel.axhline(48, color="0.7", lw=0.8, ls="--")
        panel.set(title=guard, xlabel="true gain, points", yscale="log", xlim=(0, 31))
        panel.set_xticks([2, 5, 10, 20, 30])
    panels[0].set_ylabel("labels until served, median")
    panels[0].set_yticks(
        [5, 10, 20, 48, 100, 200, 500, 1000, 2000], ["5", "10", "20", "48", "100", "200", "500", "1,000", "2,000"]
    )
    panels[1].legend(title="answers that differ", fontsize=8, title_fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """All tables."""
    made = parser(__doc__, seeds=2)
    made.add_argument("--picture", type=Path, help="draw the power curves here (SVG)")
    options = made.parse_args()
    records = [*errors(options), *curves(options), *afterwards(options)]
    write([r for r in records if np.isfinite(r.value)], options.json)  # what was not reached is left out
    if options.picture:
        draw_picture(records, options.picture)


if __name__ == "__main__":
    main()
