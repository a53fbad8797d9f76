"""Options that several commands share, and reading `name=value`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aet.errors import ConfigError

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that `aet train` wrote.", show_default=False)]
Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="CSV, TSV, JSONL (each may be .gz), Parquet or NumPy.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Of every random draw.", show_default="0")]


def pairs(given: Sequence[str], option: str, last: bool = False) -> dict[str, str]:
    """`name=value` each, cut at the first equals sign, or at the `last`.

    >>> pairs(["s00=c2:c9"], "--groups"), pairs(["a=b=text"], "--kind", last=True)
    ({'s00': 'c2:c9'}, {'a=b': 'text'})
    """
    found: dict[str, str] = {}
    for text in given:
        name, mark, value = text.rpartition("=") if last else text.partition("=")
        if not (name and mark and value):
            raise ConfigError(f"{option} takes name=value, got {text!r}. For example: {option} {EXAMPLES[option]}.")
        if name in found:
            raise ConfigError(f"{option} names {name!r} twice: {found[name]!r} and {value!r}. Leave one out.")
        found[name] = value
    return found


EXAMPLES = {
    "--groups": "s00=c2:c9",
    "--kind": "comment=text",
    "--output": "gas=label,ppm=number",
    "--set": "train.epochs=40",
    "--switch": "sam:rho=0.1",
    "--track": "mlflow:experiment=gas",
}


def groups(given: Sequence[str]) -> dict[str, str | list[str]]:
    """Columns of a token: a span `c2:c9`, or several divided by commas.

    >>> groups(["a=c2:c9", "b=x,y"])
    {'a': 'c2:c9', 'b': ['x', 'y']}
    """
    read = pairs(given, "--groups")
    return {name: columns.split(",") if "," in columns else columns for name, columns in read.items()}


def settings(file: Path | None, given: Sequence[str]) -> dict[str, Any]:
    """Settings of a YAML file, with `section.name=value` (a YAML value) on top.

    >>> settings(None, ["train.epochs=40", "inputs.image.patch=7", "seed=1"])
    {'train': {'epochs': 40}, 'inputs': {'image': {'patch': 7}}, 'seed': 1}
    """
    import yaml

    from aet.config import read_yaml

    read: dict[str, Any] = read_yaml(file) if file else {}
    for path, text in pairs(given, "--set").items():
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}={text}: {text!r} is no YAML value ({error}). Quote it.") from error
        *sections, name = path.split(".")
        place = read
        for section in sections:
            if place.get(section) is None:
                place[section] = {}
            place = place[section]
            if not isinstance(place, dict):
                raise ConfigError(f"--set {path}: {section!r} is a value, {place!r}, not a section. Check the name.")
        place[name] = value
    return read


def switches(given: Sequence[str], option: str = "--switch") -> dict[str, dict[str, Any]]:
    """Names with their settings: `name`, or `name:setting=value,setting=value` (YAML values).

    >>> switches(["ema", "sam:rho=0.1,adaptive=true"])
    {'ema': {}, 'sam': {'rho': 0.1, 'adaptive': True}}
    """
    import yaml

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, _, rest = text.partition(":")
        if name in found:
            raise ConfigError(f"{option} names {name!r} twice. Give all its settings at once.")
        read = pairs(rest.split(",") if rest else [], option)
        try:
            found[name] = {setting: yaml.safe_load(value) for setting, value in read.items()}
        except yaml.YAMLError as error:
            raise ConfigError(f"{option} {text}: not a YAML value ({error}). Use --set for long values.") from error
    return found


def output(given: str | None) -> str | dict[str, str] | None:
    """A kind of answer, or `target=kind,target=kind`.

    >>> output("label"), output("gas=label,ppm=number")
    ('label', {'gas': 'label', 'ppm': 'number'})
    """
    return pairs(given.split(","), "--output", last=True) if given and "=" in given else given


def refuse_compare(compare: bool) -> None:
    """ConfigError where an ensemble is to be trained without its parts too."""
    if compare:
        raise ConfigError("--compare is for one model, --ensemble for several: expected one of them. Leave one out.")


def default_out(target: Sequence[str] | None, given: Mapping[str, Any], what: str = "") -> Path:
    """`runs/<what><target>`, the target as named here or in the settings.

    >>> default_out(["rain", "wind/gust"], {}).as_posix(), default_out(None, {"data": {"target": "gas"}}).as_posix()
    ('runs/rain-wind_gust', 'runs/gas')
    """
    data = given.get("data")
    named = target or (data.get("target") if isinstance(data, dict) else None) or "run"
    names = [named] if isinstance(named, str) else list(named)
    return Path("runs") / (what + re.sub(r"[^\w-]+", "_", "-".join(map(str, names))))
