"""A server's record: three streams, two alarms, three versions; and what one stream's page asks for."""


def make_overview(**changes):
    """Every key filled."""
    return {
        "title": "Gas <sensors>",
        "now": "2026-01-02T03:04:05+00:00",
        "since": "2026-01-01T00:00:00+00:00",
        "may": "admin",
        "load": {"rows": 12_345, "requests": 678, "failed": 2, "p50": 0.004, "p99": 0.021},
        "streams": [
            {
                "owner": "plant",
                "name": f"site-{number}",
                "href": f"/page/streams/plant/site-{number}",
                "rows": 4000 * number,
                "labels": 16 * number,
                "adapted": number == 2,
                "truth": {"value": 0.8, "low": 0.7, "high": 0.9, "labels": 16 * number},
                "estimate": {"value": 0.78, "low": 0.7, "high": 0.85},
                "alarms": number - 1,
            }
            for number in (1, 2, 3)
        ],
        "alarms": [
            {
                "number": number,
                "stream": f"site-{number}",
                "kind": "input",
                "text": "Column s03 moved by 2.1 standard deviations since row 812.",
                "todo": "Look at sensor s03; ask for 16 labels.",
                "first": "2026-01-02T01:00:00+00:00",
                "times": number,
            }
            for number in (2, 3)
        ],
        "versions": [
            {
                "model": "gas",
                "number": number,
                "role": "serving" if number == 2 else "",
                "accuracy": 0.9 + number / 100,
                "made": "2026-01-01T00:00:00+00:00",
                "note": "March rows",
            }
            for number in (1, 2, 3)
        ],
        **changes,
    }


def make_controls(**changes):
    """What stands above a stream's report."""
    rows = [{"id": n, "values": {f"s{i:02d}": i / 3 for i in range(40)}, "prediction": "ethanol"} for n in (4, "b")]
    return {
        "title": "plant / site-2",
        "now": "2026-01-02T03:04:05+00:00",
        "may": "admin",
        "home": "/",
        "action": "/page/streams/plant/site-2",
        "undone": 3,
        "asked": {"rows": rows, "classes": ["acetone", "<ethanol>"], "target": "gas"},
        **changes,
    }
