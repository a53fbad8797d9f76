"""A realistic record of one run: gas sensors, trained on one batch, seven later batches streamed through."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

PARTS = [(2, 1244), (3, 1586), (4, 161), (5, 197), (6, 2300), (7, 3613), (8, 294)]
SOURCE = [0.885, 0.742, 0.584, 0.701, 0.627, 0.545, 0.272]
PROPOSAL = [0.846, 0.868, 0.776, 0.919, 0.884, 0.821, 0.803]
METHODS = {
    "align": [0.81, 0.79, 0.62, 0.77, 0.69, 0.58, 0.44],
    "tent": [0.86, 0.70, 0.55, 0.66, 0.58, 0.49, 0.24],
}
SWITCH = 1900


def make_record(seed: int = 0) -> dict[str, Any]:
    """Every key of the record filled."""
    rng = np.random.default_rng(seed)
    parts = make_parts()
    rows = sum(n for _, n in PARTS)
    harm = average(parts, "source") - average(parts, "served")
    return {
        "title": "Gas sensors, batches 2 to 8",
        "created": "2025-03-04T10:20:30+00:00",
        "version": "0.1.0",
        "model": make_model(rng),
        "stream": {
            "adapt": "auto",
            "guard": "earned",
            "rows": rows,
            "asked": 128,
            "labels": 112,
            "quarantined": 3,
            "seconds": 48.2,
            "level": 0.05,
            "margin": 0.01,
        },
        "parts": parts,
        "curve": make_curve(rng),
        "summary": {
            "source": average(parts, "source"),
            "proposal": average(parts, "proposal"),
            "served": average(parts, "served"),
            "harm": {
                "mean": 100 * harm,
                "low": 100 * harm - 0.9,
                "high": 100 * harm + 0.9,
                "worst_window": 0.4,
                "window": 1000,
            },
            "oracle": 0.957,
            "methods": {name: average(parts, name) for name in METHODS},
        },
        "drift": make_drift(rng),
        "attention": make_attention(rng),
        "reliability": make_reliability(rng),
        "state": make_state(rng),
        "guard": make_guard(rng),
        "events": make_events(rng),
        "cost": {
            "forwards_per_row": {"source": 1.0, "served": 1.14, "align": 10.0, "tent": 4.0},
            "seconds": {"source": 9.1, "served": 48.2, "align": 97.0, "tent": 41.5},
            "state_bytes": 12_032,
        },
    }


def make_full(seed: int = 0, rows: int = 100_000, kept: int = 2000) -> dict[str, Any]:
    """A record whose logs are as full as a stream lets them grow, of many parts, columns, tokens and epochs."""
    rng, record = np.random.default_rng(seed), make_record(seed)
    at = np.sort(rng.integers(0, rows, kept)).tolist()
    kinds = ("asked", "feedback", "served", "held", "undo")
    record["stream"] |= {"rows": rows, "quarantined": 5000}
    record["events"] = [{"row": row, "kind": kinds[i % 5], "text": "8 of the newest 2,048"} for i, row in enumerate(at)]
    broken = "column 'temperature': expected a number, got 'broken, and at some length'"
    record["events"] += [{"row": row, "kind": "quarantined", "text": f"row {row}, {broken}"} for row in at]
    record["guard"] = [
        {
            "row": row,
            "labels": i,
            "wealth": float(np.exp(rng.normal())),
            "threshold": 20.0,
            "serving": ("source", "proposal")[i // 7 % 2],
            "reason": "proposal held: evidence 12.3 of 20 after 1234 labels",
        }
        for i, row in enumerate(at)
    ]
    record["state"]["changes"] = [{"row": row, "norm": float(i), "reason": "8 labels"} for i, row in enumerate(at)]
    parts, curve, history = record["parts"], record["curve"], record["model"]["history"]
    record["parts"] = [{**parts[i % len(parts)], "name": f"day{i:03d}.csv", "rows": rows // 365} for i in range(365)]
    record["curve"] = [{**curve[i % len(curve)], "row": (i + 1) * rows // 60} for i in range(60)]
    record["attention"] = [{"token": f"token{i}", "before": 0.001, "after": 0.002} for i in range(512)]
    record["drift"] = [{**record["drift"][i % 3], "column": f"column{i}"} for i in range(300)]
    shares = {f"kind{i}": 0.1 for i in range(9)}
    record["drift"] += [
        {"column": f"sort{i}", "distance": 5.0, "source_shares": shares, "stream_shares": shares} for i in range(20)
    ]
    record["model"]["history"] = [{**history[i % len(history)], "epoch": i} for i in range(1000)]
    record["attention_images"] = [
        {"label": f"row -{i}", **dict.fromkeys(("image", "before", "after"), make_picture(i))} for i in range(8)
    ]
    return record


def average(parts: list[dict[str, Any]], key: str) -> float:
    values = [part[key] if key in part else part["methods"][key] for part in parts]
    return float(np.average(values, weights=[part["rows"] for part in parts]))


def make_worth(part: str, gain: float, half: float) -> dict[str, Any]:
    """What one part was worth, on plain and on drifted rows."""
    figures = {"with": 0.978, "without": 0.978 - gain, "difference": gain, "low": gain - half, "high": gain + half}
    drifted = {**figures, "with": 0.9, "without": 0.9 - 2 * gain, "difference": 2 * gain}
    return {"part": part, "score": "accuracy", **figures, "seconds": 74.0, "seconds_without": 60.0, "drifted": drifted}


def make_model(rng: np.random.Generator) -> dict[str, Any]:
    loss = 1.6 * np.exp(-np.arange(40) / 7) + 0.05
    return {
        "output": "label",
        "target": "gas",
        "classes": ["ethanol", "ethylene", "ammonia", "acetaldehyde", "acetone", "toluene"],
        "rows": 445,
        "parameters": 412_806,
        "state_bytes": 12_032,
        "tokens": 17,
        "metric": "accuracy",
        "score": "accuracy",
        "valid": {"accuracy": 0.978, "log_loss": 0.081, "ece": 0.021},
        "history": [
            {
                "epoch": i + 1,
                "loss": float(loss[i] + 0.02 * rng.random()),
                "valid_loss": float(loss[i] * 1.05 + 0.04 + 0.05 * rng.random()),
                "valid_metric": float(0.98 - 0.75 * np.exp(-(i + 1) / 6) + 0.01 * rng.standard_normal()),
            }
            for i in range(40)
        ],
        "trained_for_shift": "random gains, offsets and dropped sensors",
        "switches": [
            {"name": "ema", "settings": {"decay": 0.99}, "acted": "averaged 240 steps"},
            {"name": "mixup", "settings": {}, "acted": "mixed the rows of 240 batches"},
        ],
        "worth": [make_worth("ema", 0.021, 0.012), make_worth("mixup", -0.004, 0.01), make_worth("all", 0.015, 0.02)],
        "seconds": 74.0,
    }


def make_parts() -> list[dict[str, Any]]:
    done, parts = 0, []
    for i, (batch, rows) in enumerate(PARTS):
        late = min(1.0, max(0.0, (done + rows - SWITCH) / rows))
        parts.append(
            {
                "name": f"batch{batch}.csv",
                "rows": rows,
                "labels": 16,
                "source": SOURCE[i],
                "proposal": PROPOSAL[i],
                "served": SOURCE[i] + late * (PROPOSAL[i] - SOURCE[i]),
                "methods": {name: values[i] for name, values in METHODS.items()},
                "served_by_proposal": late,
            }
        )
        done += rows
    return parts


def make_curve(rng: np.random.Generator) -> list[dict[str, Any]]:
    ends = np.cumsum([n for _, n in PARTS])
    points, memory = [], np.zeros(4)
    for row in range(128, int(ends[-1]), 128):
        part = int(np.searchsorted(ends, row))
        memory = 0.7 * memory + 0.018 * rng.standard_normal(4)
        source = float(np.clip(SOURCE[part] + memory[0], 0, 1))
        proposal = float(np.clip(PROPOSAL[part] + memory[1] + 0.4 * memory[0], 0, 1))
        points.append(
            {
                "row": row,
                "source": source,
                "proposal": proposal,
                "served": proposal if row > SWITCH else source,
                "methods": {
                    name: float(np.clip(values[part] + memory[2 + i], 0, 1))
                    for i, (name, values) in enumerate(METHODS.items())
                },
            }
        )
    return points


def make_drift(rng: np.random.Generator) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = []
    for i, distance in enumerate(np.sort(rng.gamma(2.0, 0.5, 14))[::-1]):
        sensor, feature = (5 * i + 3) % 16, (3 * i + 1) % 8
        unit = 10.0 ** rng.integers(-1, 4)
        quantiles = np.array([-1.6, -0.7, 0.0, 0.7, 1.7]) + 0.1 * rng.standard_normal(5).cumsum() * 0.3
        moved = quantiles * (1 + 0.3 * rng.random()) + distance * rng.choice([-1, 1])
        columns.append(
            {
                "column": f"s{sensor:02d}_f{feature}",
                "input": f"s{sensor:02d}",
                "distance": float(distance),
                "source": [float(q) for q in unit * (quantiles + 4)],
                "stream": [float(q) for q in unit * (moved + 4)],
                "missing": [0.0, 0.104] if i == 2 else [0.0, 0.0],
            }
        )
    columns.insert(
        3,
        {
            "column": "carrier",
            "distance": 0.98,
            "source_shares": {"dry air": 0.62, "humid air": 0.31, "nitrogen": 0.07},
            "stream_shares": {"dry air": 0.22, "humid air": 0.48, "nitrogen": 0.06, "<unseen>": 0.24},
        },
    )
    return columns


def make_attention(rng: np.random.Generator) -> list[dict[str, Any]]:
    before = rng.dirichlet(np.full(16, 5.0))
    after = before * np.exp(0.5 * rng.standard_normal(16))
    after /= after.sum()
    return [
        {"token": f"s{i:02d}", "before": float(b), "after": float(a)}
        for i, (b, a) in enumerate(zip(before, after, strict=True))
    ]


def make_reliability(rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    middle = np.arange(0.25, 1.0, 0.1)

    def bins(slope: float) -> list[dict[str, Any]]:
        return [
            {
                "confidence": float(c),
                "accuracy": float(np.clip(slope * c + 0.03 * rng.standard_normal(), 0, 1)),
                "count": int(40 * np.exp((2.4 + slope) * c)),
            }
            for c in middle
        ]

    return {"source": bins(0.69), "served": bins(0.93)}


def make_state(rng: np.random.Generator) -> dict[str, Any]:
    rows = np.sort(rng.integers(300, 9300, 22))
    norm = np.cumsum(np.abs(0.08 * rng.standard_normal(22)))
    norm[14:] -= 0.35
    return {
        "changes": [
            {"row": int(r), "norm": float(abs(n)), "reason": "undone" if i == 14 else "16 labels"}
            for i, (r, n) in enumerate(zip(rows, norm, strict=True))
        ],
        "by_dial": {
            "q_scale": 0.11,
            "q_shift": 0.08,
            "v_scale": 0.21,
            "log_beta": 0.05,
            "scale": 0.3,
            "input_shift": 0.52,
        },
    }


def make_guard(rng: np.random.Generator) -> list[dict[str, Any]]:
    wealth, tests, serving = 1.0, [], "source"
    for i in range(28):
        row = 300 + i * 320
        wealth = max(0.4, wealth * float(np.exp(0.45 + 0.5 * rng.standard_normal()))) if row < 5000 else wealth * 1.2
        wealth = wealth if row >= SWITCH else min(wealth, 14.0)
        if row >= SWITCH and serving == "source":
            wealth, serving = max(wealth, 23.0), "proposal"
        tests.append(
            {
                "row": row,
                "labels": 4 * (i + 1),
                "wealth": wealth,
                "threshold": 20.0,
                "serving": serving,
                "reason": "the evidence passed 20" if serving == "proposal" else "not enough evidence yet",
            }
        )
    return tests


def make_events(rng: np.random.Generator) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for row in range(300, 9300, 560):
        events.append({"row": row, "kind": "asked", "text": "8 rows are worth a label"})
        events.append({"row": row + int(rng.integers(40, 300)), "kind": "feedback", "text": "7 true answers came"})
    events += [
        {"row": 640, "kind": "held", "text": "the source keeps serving: 12 labels are not enough"},
        {
            "row": SWITCH,
            "kind": "served",
            "text": "the adapted answers have earned it and are served from here",
        },
        {"row": 2210, "kind": "quarantined", "text": "row 2,204, column s03_f2: 'n/a' is not a number"},
        {"row": 5480, "kind": "undo", "text": "the last change lost on 5 of 7 new labels and was taken back"},
    ]
    return sorted(events, key=lambda event: int(event["row"]))


def make_picture(seed: int = 0) -> str:
    """A small PNG as a data address."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (28, 28), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
