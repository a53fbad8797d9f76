"""The whole page: template, style and script in one file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryFile
from typing import Any

from aet.errors import ConfigError, DataError
from aet.report import inside, sections, update
from aet.report.estimates import estimates
from aet.report.headline import answer
from aet.report.text import Metric, date, escape, mapping
from aet.report.tiles import headline
from aet.report.worth import worth

SECTIONS: tuple[Callable[[Mapping[str, Any], Metric], str], ...] = (
    sections.over_rows,
    sections.by_part,
    sections.drift,
    inside.attention,
    estimates,
    sections.reliability,
    sections.guard,
    sections.events,
    inside.state,
    inside.training,
    worth,
    update.update,
    inside.cost,
)

WORDS = {
    "source": "the model as trained; it never moves",
    "proposal": "what the adapted model would score if it were always served",
    "served": "what was really answered, after the guard had its say",
    "harm": "source − served in points, with its paired 95\u00a0% interval; below zero is a gain",
    "closeness": "1 − |error| in standard deviations of the target, at least 0, as a mean; 100\u00a0% is exact",
    "moved by": "distance between a column's values in training and in the stream",
    "forwards": "passes through the model for each row, the source's included; a backward counts as two",
}


def render(record: Mapping[str, Any]) -> str:
    """The report of one run as a complete HTML page.

    Sections without data leave themselves out; numbers that are None or not finite are written as a dash.
    The page loads nothing, and its content policy lets no script run but its own.

    Args:
        record: what the run knows of itself; only `title` and `model` are needed.

    Returns:
        HTML, half a megabyte at most, however long the stream was; only many pictures may add to that.

    Raises:
        DataError: `title` or `model` is missing, or a number is none.

    >>> page = render({"title": "Gas <sensors>", "model": {"valid": {"accuracy": 0.978}}})
    >>> "<title>Gas &lt;sensors&gt;</title>" in page, "97.8" in page
    (True, True)
    """
    if not isinstance(record, Mapping) or "title" not in record or not isinstance(record.get("model"), Mapping):
        given = sorted(map(str, record)) if isinstance(record, Mapping) else type(record).__name__
        raise DataError(
            "The report needs a record with a title and a model. Expected a mapping with 'title' and "
            f"'model' (itself a mapping); given: {given}. Add what is missing."
        )
    return shell(
        title=str(record["title"]),
        subtitle=subtitle(record),
        headline=headline(record),
        sections=drawn(record),
        words=words(answer(record).metric) if answer(record).stream else "",
        made=made_by(record),
    )


def drawn(record: Mapping[str, Any]) -> list[str]:
    """The sections that a record has something for, in order; HTML."""
    metric = answer(record).metric
    return [made for made in (draw(record, metric) for draw in SECTIONS) if made]


def shell(
    title: str, subtitle: str, headline: str, sections: Sequence[str], words: str, made: str, forms: bool = False
) -> str:
    """A whole page; `title` and `subtitle` are escaped here, the rest is HTML. Without `forms` none can be sent."""
    body, style, script = "".join(sections), resource("style.css"), resource("report.js")
    links = re.findall(r'<h2 id="([\w-]+)-title">(.*?)</h2>', body)
    return Template(resource("page.html")).substitute(
        policy=policy(forms),
        referrer="same-origin" if forms else "no-referrer",  # without one a browser says no origin when it sends a form
        title=escape(title),
        subtitle=escape(subtitle),
        headline=headline,
        contents="".join(f'<a href="#{key}">{name}</a>' for key, name in links),
        sections=body,
        words=words,
        made=made,
        style=style,
        script=script,
    )


def policy(forms: bool = False) -> str:
    """What a page may load and run: nothing but its own style and script."""
    style, script = digest(resource("style.css")), digest(resource("report.js"))
    sent = "'self'" if forms else "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src {style}; script-src {script}; "
        f"base-uri 'none'; form-action {sent}"
    )


def write(record: Mapping[str, Any], path: str | Path) -> Path:
    """Write the report of one run to a file, making its folder if need be; returns the path.

    Raises:
        ConfigError: the path is a folder, or cannot be written.
        DataError: as `render`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write({"title": "Gas", "model": {}}, Path(folder) / "report.html").name
    'report.html'
    """
    path = Path(path)
    check_path(path)
    page = render(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def check_path(path: Path) -> None:
    """ConfigError for a path that no report can be written to; nothing is left there."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Expected a file for the report; give {path / 'report.html'} instead.")
    try:
        if path.exists():
            path.open("a").close()
        else:
            TemporaryFile(dir=next(one for one in path.absolute().parents if one.exists())).close()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}). Name a file in a folder that may be written."
        ) from error


def resource(name: str) -> str:
    """A file that lies beside this one."""
    return files("aet.report").joinpath(name).read_text(encoding="utf-8")


def digest(content: str) -> str:
    """What a content policy knows an inline block by.

    >>> digest("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def subtitle(record: Mapping[str, Any]) -> str:
    """What ran, in a line."""
    model, stream = mapping(record, "model"), mapping(record, "stream")
    said = [
        f"predicts {model['target']}" if model.get("target") else "",
        date(record["created"]) if record.get("created") else "",
    ]
    said += [
        f"adapt {stream['adapt']}" if stream.get("adapt") else "",
        f"guard {stream['guard']}" if stream.get("guard") else "",
    ]
    return " · ".join(s for s in said if s)


def words(metric: Metric) -> str:
    """The words of the report, explained; closeness only where it is what was measured."""
    known = {word: meaning for word, meaning in WORDS.items() if word != "closeness" or word == metric.key}
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in known.items())
    return f'<h2>Words</h2><dl class="words">{listed}</dl>'


def made_by(record: Mapping[str, Any]) -> str:
    """Who made the page, when, and how to make it again; HTML."""
    version = f" {record['version']}" if record.get("version") else ""
    made = f"Made by aet{version}" + (f" on {date(record['created'])}" if record.get("created") else "") + "."
    ways = ["<code>aet report RUN</code>"]
    if answer(record).stream:
        ways.insert(0, '<code>stream.report("report.html")</code>')
    again = f"To make this page again: {' or '.join(ways)}."
    return f"{escape(made)} {again} The same seed and the same rows in the same order give the same numbers."
