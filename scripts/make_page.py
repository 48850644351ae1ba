"""Make docs/explained.html: the text of docs/explained.md and the figures of docs/page/, in one file.

    make page       (or: python scripts/make_page.py [--out docs/explained.html])

The page asks for nothing over the network. Its words are the Markdown's and its tables the library's, so they cannot
drift; a comment ``<!-- figure: NAME -->`` in the Markdown is where a figure goes. The same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt
from numpy.typing import NDArray
from turboquant_rs.evaluation.datasets import load_glosses_sample
from turboquant_rs.reference.codebook import levels
from turboquant_rs.reference.lloyd_max import solve
from turboquant_rs.reference.normals import magnitude_table
from turboquant_rs.reference.polar_angles import angles

ROOT = Path(__file__).resolve().parents[1]
TEXT, SOURCES, PAGE = (ROOT / "docs" / name for name in ("explained.md", "page", "explained.html"))
#: In the order that they need each other.
SCRIPTS = ("exact", "papers", "chart", "figures-codes", "figures-scores", "figures-polar", "page")
DIMS = (2, 3, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768)
#: Rows of the glosses sample whose embeddings the page has.
TEXTS = (10, 4, 32, 4701)
#: What only the Markdown says, what no exponent is looked for in, and an exponent.
MARKDOWN_ONLY = re.compile(r"<!-- md -->.*?<!-- /md -->\n?", re.DOTALL)
VERBATIM = re.compile(r"(<pre>.*?</pre>|<code>.*?</code>|<[^>]+>)", re.DOTALL)
POWER = re.compile(r"\^(?:\(([^()]*)\)|(−?\([^()]*\)|[−\w]+))")
FIGURE = re.compile(r"<!-- figure: (\w+) -->")


def floats(values: NDArray[np.floating]) -> str:
    """Return float32 values as a call of the script's ``floats``."""
    return f'floats("{base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()}")'


def log_density(dim: int) -> float:
    """Return the logarithm of Lemma 1's constant, for coordinates of variance 1."""
    value = math.lgamma(dim / 2) - math.lgamma((dim - 1) / 2) - 0.5 * math.log(math.pi * dim)
    return float(f"{value:.10g}")  # what a libm may round otherwise is left out


def tables() -> str:
    """Return the script's ``TABLES``: constants of the library, and a few embeddings."""

    def half(bits: int, dim: int) -> str:
        return floats(levels(bits, bits, dim)[1 << (bits - 1) :])

    def angle(level: int, bits: int) -> str:
        names = zip(("boundCos", "boundSin", "cos", "sin"), angles(level, bits), strict=True)
        return "{" + ", ".join(f"{name}: {floats(values)}" for name, values in names) + "}"

    sample = load_glosses_sample()
    widths = range(1, 9)
    distortion = {dim: [float(f"{solve(bits, dim).distortion:.6g}") for bits in widths] for dim in DIMS}
    lines = [
        f"dims: {list(DIMS)}",
        f"gaussian: [{', '.join(half(bits, 128) for bits in widths)}]",
        "beta: {" + ", ".join(f"{d}: [{', '.join(half(b, d) for b in widths)}]" for d in DIMS if d < 128) + "}",
        f"logDensity: {json.dumps({dim: log_density(dim) for dim in DIMS})}",
        f"distortion: {json.dumps(distortion)}",
        f"normals: {floats(magnitude_table())}",
        f"angles: [{', '.join('[' + ', '.join(angle(n, b) for b in range(1, 5)) + ']' for n in range(1, 5))}]",
        "embeddings: ["
        + ", ".join(
            f"{{text: {json.dumps(sample.base_texts[i], ensure_ascii=False)}, vector: {floats(sample.base[i])}}}"
            for i in TEXTS
        )
        + "]",
    ]
    decoder = (
        "const floats = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);\n"
        "// Constants of the library, rounded as it ships them.\n"
    )
    return decoder + "const TABLES = {\n" + ",\n".join(f"  {line}" for line in lines) + ",\n};\n"


def slug(text: str, taken: set[str]) -> str:
    """Return an identifier made of a heading's words."""
    name = base = "-".join(re.findall(r"[a-z0-9]+", text.lower()))[:60].strip("-")
    n = 2
    while name in taken:
        name, n = f"{base}-{n}", n + 1
    taken.add(name)
    return name


def body(text: str) -> tuple[str, str]:
    """Return the title and the HTML of the Markdown, with contents, and places for figures and their names."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(MARKDOWN_ONLY.sub("", text))
    taken: set[str] = set()
    contents = []
    for token, inner in itertools.pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", slug(inner.content, taken))
            if token.tag == "h2":
                contents.append(f'<li><a href="#{token.attrGet("id")}">{parser.renderInline(inner.content)}</a></li>')
    html = str(parser.renderer.render(tokens, parser.options, {}))
    parts = VERBATIM.split(html)  # every other part is verbatim
    parts[::2] = [POWER.sub(lambda found: f"<sup>{found[1] or found[2]}</sup>", part) for part in parts[::2]]
    html = "".join(parts)
    html = html.replace("\n\n</code>", "\n</code>")  # doctest wants a blank line at the end of a block; readers do not
    html = html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    html = FIGURE.sub(
        r'<figure id="figure-\1" data-figure="\1" role="group">'
        r"<noscript>This figure is drawn by a script, which is off here. The report has pictures.</noscript></figure>",
        html,
    )
    end = html.index("</h1>") + len("</h1>\n")
    items = "\n".join(contents)
    listing = f'<nav aria-label="Contents"><details><summary>Contents</summary>\n<ul>\n{items}\n</ul></details></nav>\n'
    title = next(inner.content for token, inner in itertools.pairwise(tokens) if token.tag == "h1")
    return title, html[:end] + listing + html[end:]


def page() -> str:
    """Return the page."""
    title, html = body(TEXT.read_text(encoding="utf-8"))
    script = tables() + "\n" + "\n".join((SOURCES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    parts = {
        "title": title,
        "style": (SOURCES / "style.css").read_text(encoding="utf-8"),
        "body": html,
        "script": script,
    }
    shell = (SOURCES / "shell.html").read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: parts[found.group(1)], shell)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Make docs/explained.html.")
    parser.add_argument("--out", type=Path, default=PAGE)
    arguments = parser.parse_args()
    arguments.out.write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
