"""docs/explained.html is what its script makes of its sources, asks for nothing, and can be read in both schemes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE, SOURCES = ROOT / "docs" / "explained.html", ROOT / "docs" / "page"

if not SOURCES.is_dir():
    pytest.skip("no documentation beside the tests", allow_module_level=True)

#: WCAG 2.1, 1.4.3 and 1.4.11: text, and graphics that are needed to understand.
TEXT_CONTRAST, GRAPHICS_CONTRAST = 4.5, 3.0


def script() -> ModuleType:
    pytest.importorskip("markdown_it")
    spec = importlib.util.spec_from_file_location("make_page", ROOT / "scripts" / "make_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_its_sources() -> None:
    assert PAGE.read_bytes() == script().page().encode(), "make page"


def test_a_changed_word_is_noticed(tmp_path: Path) -> None:
    """The control of the test above: another Markdown makes another page."""
    module = script()
    other = tmp_path / "explained.md"
    other.write_text(module.TEXT.read_text(encoding="utf-8").replace("random", "rantom", 1), encoding="utf-8")
    module.TEXT = other
    assert PAGE.read_bytes() != module.page().encode()


def test_the_page_asks_for_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:img|link|iframe|object|embed|audio|video|source)\b", text)
    assert not re.findall(r"<script[^>]*\bsrc\b|@import|url\(", text)
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon)\b|\bimport\(", text)


def test_every_place_has_its_figure() -> None:
    places = re.findall(r'data-figure="(\w+)"', PAGE.read_text(encoding="utf-8"))
    drawn = re.findall(r"^FIGURES\.(\w+) =", "".join(p.read_text() for p in SOURCES.glob("*.js")), re.MULTILINE)
    assert sorted(places) == sorted(drawn)


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_contrast(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (SOURCES / "style.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks[scheme]))
    for behind in ("paper", "panel", "code"):
        for name in ("ink", "soft", "link"):
            assert contrast(colours[name], colours[behind]) >= TEXT_CONTRAST, (name, behind)
    for name in ("s0", "s1", "s2", "s3"):
        assert contrast(colours[name], colours["panel"]) >= GRAPHICS_CONTRAST, name
