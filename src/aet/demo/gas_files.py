"""Where the gas sensor batches lie, how they are read, and how they are fetched if they are not there.

Looked for in this order: the folder `gas_sensor_drift` in the folder that the environment variable AET_DATA names, then
in `../shared/data` beside a checkout of this project; then UCI's archive in the cache (`~/.cache/aet`, or below
XDG_CACHE_HOME), which is fetched once. Rows are read from either way of writing them: CSV (gas, concentration, 128
features), or UCI's `1;10.0 1:v 2:v ...`, with or without the concentration.

What is checked: batch 1, which the model is trained on, has the content that UCI published (`CONTENT`). The others are
not known by their content: where they were packed (zip, gzip), the sums in the package show damage, and a row that is
not a gas and 128 numbers is an error, but other numbers in their place would not be noticed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import sys
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path

import pandas as pd

from aet.errors import DataError

URL = "https://archive.ics.uci.edu/static/public/224/gas+sensor+array+drift+dataset.zip"
FOLDER = "gas_sensor_drift"
BATCH = re.compile(r"batch(\d+)\.dat(\.gz)?")
GASES = ("Ethanol", "Ethylene", "Ammonia", "Acetaldehyde", "Acetone", "Toluene")
"""UCI's classes 1 to 6."""
SENSORS, FEATURES = 16, 8
COLUMNS = [f"s{sensor:02d}_f{feature}" for sensor in range(SENSORS) for feature in range(FEATURES)]
CONTENT = "c79eb984c3ade557ed71b50f1f7fc276b4e91dddc0d0bc68e86dc36827bb7a22"
"""`content` of batch 1: gases and features, whichever way they were written down."""


def read_batches() -> dict[int, pd.DataFrame]:
    """Every batch at hand by number, in order: columns gas and s00_f0 to s15_f7.

    Raises DataError if batch 1 or all others are missing, batch 1 is another, or there is no network to fetch them.
    """
    found = next((batches for batches in map(in_folder, folders()) if batches), None)
    batches = in_archive(cached()) if found is None else found
    if 1 not in batches or len(batches) < 2:
        raise DataError(f"Of the gas sensors, batches {sorted(batches)} are there: expected 1 and others. {by_hand()}")
    frames = {number: parse(batches[number], number) for number in sorted(batches)}
    if content(frames[1]) != CONTENT:
        raise DataError(f"Batch 1 of the gas sensors is damaged, or not the one that UCI published. {by_hand()}")
    return frames


def folders() -> Iterator[Path]:
    """Where unpacked batches may lie."""
    if os.environ.get("AET_DATA"):
        yield Path(os.environ["AET_DATA"]) / FOLDER
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file():
        yield checkout.parent / "shared" / "data" / FOLDER


def in_folder(folder: Path) -> dict[int, bytes]:
    """Batches of a folder as they are written, unzipped; none if there is no such folder."""
    found: dict[int, bytes] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := BATCH.fullmatch(path.name):
            raw = path.read_bytes()
            try:
                found[int(match[1])] = gzip.decompress(raw) if match[2] else raw
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"{path} is damaged ({error}): expected a whole gzip file. {by_hand()}") from error
    return found


def in_archive(path: Path) -> dict[int, bytes]:
    """Batches of UCI's archive, in whatever folder they lie in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name: BATCH.fullmatch(Path(name).name) for name in archive.namelist()}
            return {int(match[1]): archive.read(name) for name, match in names.items() if match}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} is damaged ({error}): expected a zip file. Remove it and try again. {by_hand()}"
        ) from error


def cached() -> Path:
    """The archive in the cache, fetched if it is not there; kept only if its first batch is the right one."""
    path = cache()
    if path.is_file():
        return path
    print(f"Fetching {URL} to {path}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with urllib.request.urlopen(URL, timeout=60) as answer, partial.open("wb") as stream:
            shutil.copyfileobj(answer, stream)
        first = in_archive(partial).get(1)
        if first is None or content(parse(first, 1)) != CONTENT:
            raise DataError(f"{URL} answered with other data than the gas sensors known to aet. {by_hand()}")
        partial.replace(path)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"The gas sensor data are not on this machine and cannot be fetched from {URL} ({reason}). {by_hand()}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def cache() -> Path:
    """Where the archive is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aet" / f"{FOLDER}.zip"


def by_hand() -> str:
    """The mend."""
    return (
        f"By hand: download {URL} to {cache()}; or unpack its batch1.dat, batch2.dat, ... into a folder {FOLDER} and "
        "set AET_DATA to the folder above it."
    )


def parse(raw: bytes, number: int) -> pd.DataFrame:
    """Rows of a batch, in the order of the file.

    >>> cells = " ".join(f"{place}:{place}.5" for place in range(1, 129))
    >>> parse(f"2;10.0 {cells}".encode(), 1).iloc[0, :2].to_dict()
    {'gas': 'Ethylene', 's00_f0': 1.5}
    """
    gases, rows = [], []
    for line, text in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
        if text.strip():
            try:
                gas, values = row(text)
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"Batch {number} of the gas sensors, line {line}: expected a gas and {len(COLUMNS)} features, got "
                    f"{text[:60]!r} ({error}). {by_hand()}"
                ) from error
            gases.append(gas)
            rows.append(values)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.insert(0, "gas", gases)
    return frame


def row(text: str) -> tuple[str, list[float]]:
    """Gas and features of one line."""
    if ":" in text:
        head, *cells = text.split()
        gas = GASES[int(head.partition(";")[0]) - 1]
        places, values = zip(*(cell.split(":") for cell in cells), strict=True)
        if [int(place) for place in places] != list(range(1, len(COLUMNS) + 1)):
            raise ValueError("the features are not numbered 1 to 128")
    else:
        gas, _, *values = text.strip().split(",")  # type: ignore[assignment]
        if gas not in GASES or len(values) != len(COLUMNS):
            raise ValueError(f"{len(values)} features of {gas!r}")
    return gas, [float(value) for value in values]


def content(rows: pd.DataFrame) -> str:
    """SHA-256 over gas and features, six decimals, the rows sorted."""
    lines: Iterable[str] = (
        " ".join([gas, *(f"{value + 0.0:.6f}" for value in values)])  # + 0.0: no negative zero
        for gas, values in zip(rows["gas"], rows[COLUMNS].to_numpy().tolist(), strict=True)
    )
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
