"""The page in a real browser: it fits, its script runs, it fetches nothing, follows the scheme and prints."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aet.report import write
from aet.report.live import overview
from aet.report.live_stream import stream_page
from tests.report.live_record import make_controls, make_overview
from tests.report.record import make_picture, make_record

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium on the path"),
]
QUIET = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=1000",
]
WIDTHS = (390, 1280)
DARK = "--blink-settings=preferredColorScheme=0"

# The page is laid out in frames of exact width: a browser window has a least width of its own.
HARNESS = """<!doctype html><html style="color-scheme: light dark"><body>%s<script>
window.addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
    const charts = [...page.querySelectorAll("svg[role=img]")];
    const shown = charts.filter((s) => s.getBoundingClientRect().width > 0);
    const spill = [...page.querySelectorAll("svg[role=img] text")].filter((t) => {
      const box = t.getBoundingClientRect();
      return box.width > 0 && (box.left < 0 || box.right > root.clientWidth);
    });
    const widest = Math.max(...[...page.querySelectorAll("body *")].map((e) =>
      e.closest(".scroll") || e.closest("svg") ? 0 : e.getBoundingClientRect().right));
    const mark = shown.map((s) => s.querySelector(".hit")).find(Boolean);
    let said = "";
    if (mark) {
      mark.dispatchEvent(new view.PointerEvent("pointermove", { bubbles: true, clientX: 200, clientY: 200 }));
      const tip = page.querySelector(".tip"), box = tip.getBoundingClientRect();
      said = tip.hidden ? "" : tip.textContent;
      if (box.left < 0 || box.right > root.clientWidth) said = "outside";
    }
    return {
      width: root.clientWidth,
      scroll: root.scrollWidth,
      widest,
      ready: root.dataset.ready,
      charts: shown.length,
      spill: spill.map((t) => t.textContent),
      titles: page.querySelectorAll("svg title").length,
      said,
      fetched: view.performance.getEntriesByType("resource").map((e) => e.name.slice(0, 60)),
      pictures: [...page.images].map((i) => i.naturalWidth),
      paper: view.getComputedStyle(page.body).backgroundColor,
      buttons: Math.min(...[...page.querySelectorAll("button")].map((b) => b.getBoundingClientRect().height), 99),
    };
  });
  document.documentElement.dataset.seen = JSON.stringify(seen);
});
</script></body></html>"""


def chromium(folder: Path, *arguments: str) -> str:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def look(folder: Path, page: Path, *arguments: str) -> list[dict]:
    content = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frames = [f'<iframe srcdoc="{content}" width="{w}" height="900" frameborder="0"></iframe>' for w in WIDTHS]
    harness = folder / "harness.html"
    harness.write_text(HARNESS % "".join(frames), encoding="utf-8")
    dom = chromium(folder, *arguments, "--dump-dom", harness.as_uri())
    found = re.search(r'<html[^>]*data-seen="([^"]*)"', dom)
    assert found, dom[:500]
    return json.loads(html.unescape(found[1]))


def hard_record() -> dict:
    """A full record with names that do not want to fit."""
    record = make_record()
    record["title"] = "A" * 200
    record["drift"][0]["column"] = "a_column_name_" * 12
    record["parts"][3]["name"] = "a/long/path/to/a/file/of/the/stream/" * 4 + "batch.parquet"
    record["attention"][0]["token"] = "token" * 20
    record["events"][0]["text"] = "word" * 60
    record["guard"][0]["reason"] = "reason " * 40
    picture = make_picture()
    record["attention_images"] = [{"label": "row 12", "image": picture, "before": picture, "after": picture}]
    return record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def light(folder):
    return look(folder, write(hard_record(), folder / "hard.html"))


@pytest.fixture(scope="module")
def dark(folder):
    return look(folder, write(make_record(), folder / "report.html"), DARK)


def test_no_horizontal_overflow(light, dark):
    for seen, width in zip([*light, *dark], WIDTHS * 2, strict=True):
        assert seen["width"] == width
        assert seen["scroll"] == width
        assert seen["widest"] <= width
        assert seen["spill"] == []


def test_script_ran_under_its_policy(light, dark):
    for seen in [*light, *dark]:
        assert seen["ready"] == "true"
        assert seen["titles"] == 0
        assert "around row" in seen["said"]
        assert "served" in seen["said"]


def test_each_chart_shows_in_one_setting(light):
    narrow, wide = light
    assert narrow["charts"] == wide["charts"] > 12


def test_nothing_is_fetched(light, dark):
    for seen in [*light, *dark]:
        assert seen["fetched"] == []


def test_pictures_show(light):
    for seen in light:
        assert seen["pictures"] == [28, 28, 28]


def test_page_follows_the_scheme(light, dark):
    def brightness(seen: dict) -> float:
        return float(np.mean([int(v) for v in re.findall(r"\d+", seen["paper"])[:3]]))

    assert all(brightness(seen) > 240 for seen in light)
    assert all(brightness(seen) < 40 for seen in dark)


def test_screenshot_is_not_blank(folder):
    from PIL import Image

    page, picture = write(make_record(), folder / "shot.html"), folder / "shot.png"
    chromium(folder, "--window-size=1280,1600", f"--screenshot={picture}", page.as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape[1] == 1280
    assert len(np.unique(pixels @ [65536, 256, 1])) > 100
    assert (np.abs(pixels - [0xC8, 0x44, 0x1A]).sum(axis=2) < 12).sum() > 3000


def test_it_prints(folder):
    page, printed = write(make_record(), folder / "print.html"), folder / "report.pdf"
    chromium(folder, "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri())
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 4 <= pages <= 14


@pytest.mark.parametrize("name", ["overview", "stream"])
def test_the_live_pages_fit_and_have_room_for_a_finger(folder, name):
    made = {
        "overview": lambda: overview(make_overview(title="A" * 200)),
        "stream": lambda: stream_page(hard_record(), make_controls(title="plant / " + "a" * 90)),
    }
    page = folder / f"{name}.html"
    page.write_text(made[name](), encoding="utf-8")
    for seen, width in zip(look(folder, page), WIDTHS, strict=True):
        assert seen["scroll"] == width
        assert seen["widest"] <= width
        assert seen["fetched"] == []
        assert seen["buttons"] >= 36
