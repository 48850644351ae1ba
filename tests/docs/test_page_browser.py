"""docs/explained.html run in headless Chromium: its numbers are the library's, and its controls turn its figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.browser import PAGE, ask
from turboquant_rs.evaluation.datasets import load_glosses_sample
from turboquant_rs.reference import PolarQuant, TurboQuant, TurboQuantProd
from turboquant_rs.reference.haar import haar
from turboquant_rs.reference.lloyd_max import solve
from turboquant_rs.reference.normals import normals
from turboquant_rs.reference.rng import derive
from turboquant_rs.reference.units import unpack

if not PAGE.is_file():
    pytest.skip("no documentation beside the tests", allow_module_level=True)

DIMS = (2, 3, 4, 8, 16, 32, 64, 128, 256, 384, 512, 768)
SEEDS = (0, 7, 999_999)
#: Of |q||x|: the page sums products in float64, decode rounds each of its ~30 operations a coordinate to float32,
#: 2^-24 each, and the errors of coordinates add up in their squares.
FLOAT32_ERROR = 1e-5


def rows(seed: int, count: int, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The page's sample vectors."""
    return normals(derive(seed, 1000), count * dim).reshape(count, dim)


def test_codes_and_scales_are_the_reference_s(tmp_path: Path) -> None:
    cases = [
        (dim, bits, seed, scale)
        for dim in DIMS
        for bits in (1, 2, 3, 4, 6, 8)
        for seed, scale in zip(SEEDS, ("unbiased", "mse", "matched"), strict=True)
    ] + [(dim, 2, 0, "paper") for dim in DIMS]
    question = """
      return %s.map(([dim, bits, seed, scale]) => {
        const q = new turboquant.TurboQuant(dim, bits, { seed, scale });
        return turboquant.gaussianRows(seed, 2, dim).map((x) => {
          const { codes, scale } = q.encode(x);
          return { codes: Array.from(codes), scale, x: Array.from(q.decode({ codes, scale })) };
        });
      });"""
    for (dim, bits, seed, scale), found in zip(
        cases, ask(question % json.dumps(cases), tmp_path, figures=False), strict=True
    ):
        q = TurboQuant(dim, bits, seed=seed, scale=scale)
        codes = q.encode(rows(seed, 2, dim))
        name = f"{dim} dims, {bits} bits, seed {seed}, {scale}"
        assert np.array_equal(q.unpack(codes)[0], [row["codes"] for row in found]), name
        assert np.array_equal(codes.scales[:, 0], np.float32([row["scale"] for row in found])), name
        assert np.array_equal(q.decode(codes), np.float32([row["x"] for row in found])), name


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal"])
def test_the_second_step_is_the_reference_s(kind: str, tmp_path: Path) -> None:
    cases = [(32, 2, 0), (64, 3, 7), (128, 2, 0), (256, 4, 1)]
    question = """
      return %s.map(([dim, bits, seed]) => {
        const codec = new turboquant.TurboQuantProd(dim, bits, "%s", seed);
        return turboquant.pairsAt(0.8, seed, 2, dim).map(({ x, q }) => {
          const { codes, signs, scales, c } = codec.encode(x);
          const estimate = turboquant.dot(codec.coarse.rotation.apply(q), codec.rotated({ signs, scales, c }));
          const all = [x, q, codes, signs, scales].map((values) => Array.from(values));
          return [...all, estimate];
        });
      });"""
    for (dim, bits, seed), found in zip(
        cases, ask(question % (json.dumps(cases), kind), tmp_path, figures=False), strict=True
    ):
        x, q, levels, signs, scales = (np.array(part) for part in list(zip(*found, strict=True))[:5])
        estimate = np.array([row[5] for row in found])
        codec = TurboQuantProd(dim, bits, projection=kind, seed=seed)
        codes = codec.encode(x.astype(np.float32))
        packed, sketch = codec._split(codes)
        assert np.array_equal(unpack(packed, dim, bits - 1, bits - 1), levels)
        assert np.array_equal(unpack(sketch, dim, 1, 1), signs)
        assert np.array_equal(codes.scales, scales.astype(np.float32))
        exact = np.sum(codec.decode(codes).astype(np.float64) * q, axis=1)
        assert np.abs(exact - estimate).max() < FLOAT32_ERROR
        assert np.sum(x * q, axis=1) == pytest.approx(0.8, abs=1e-6)


def test_the_polar_recursion_is_the_reference_s(tmp_path: Path) -> None:
    settings = [(4, 2, 2, 2), (4, 3, 2, 2), (2, 1, 1, 1), (4, 4, 4, 4), (3, 2, 1, 4)]
    question = """
      return %s.map((bits) => turboquant.TABLES.embeddings.map(({ text, vector }) => {
        const found = turboquant.polarLevels(vector, 3, bits);
        const radii = Array.from(found.radii, (r) => r * 2 ** found.exponent);
        return { text, radii, codes: found.levels.flatMap((level) => level.codes) };
      }));"""
    glosses = load_glosses_sample()
    for bits, found in zip(settings, ask(question % json.dumps(settings), tmp_path, figures=False), strict=True):
        places = [glosses.base_texts.index(row["text"]) for row in found]
        q = PolarQuant(384, 4, bits, seed=3, radius="float32")
        codes = q.encode(glosses.base[places])
        assert np.array_equal(q.radii(codes), np.float32([row["radii"] for row in found]))
        string = np.unpackbits(codes.packed[:, 4 * 24 :], axis=1, bitorder="little")
        fields, start = [], 0
        for level, width in enumerate(bits, 1):
            count = 384 >> level
            part = string[:, start : start + count * width].reshape(-1, count, width)
            fields.append((part << np.arange(width)).sum(axis=2))
            start += count * width
        assert np.array_equal(np.concatenate(fields, axis=1), [row["codes"] for row in found]), bits


def test_the_dense_rotation_is_the_reference_s(tmp_path: Path) -> None:
    question = "return [2, 5, 64].map((dim) => turboquant.haar(dim, 12345n).map((row) => Array.from(row)));"
    for dim, found in zip((2, 5, 64), ask(question, tmp_path, figures=False), strict=True):
        assert np.array_equal(haar(dim, 12345), found)


def test_the_error_of_levels_is_equation_4_s(tmp_path: Path) -> None:
    """Integrated in the page for the levels that are shipped; the Gaussian table's cost, below 0.5 %, is in it."""
    question = """return turboquant.TABLES.dims.map((dim) => [1, 2, 3, 4, 5, 6].map((bits) =>
      turboquant.errorOf(turboquant.levels(bits, dim), dim)));"""
    for dim, errors in zip(DIMS, ask(question, tmp_path, figures=False), strict=True):
        for bits, error in enumerate(errors, 1):
            least = solve(bits, dim).distortion
            # The midpoint rule on 20,000 cells of a piecewise smooth function: far below 1e-5 of it.
            assert least * (1 - 1e-5) < error < least * 1.005, (dim, bits)


TURN = """
  const found = [];
  for (const place of document.querySelectorAll("figure[data-figure]")) {
    const html = (part) => place.querySelector("." + part).innerHTML;
    const drawing = () => ["panels", "table", "words"].map(html).join("\\n");
    for (const input of place.querySelectorAll("input, select")) {
      const first = input.value, before = drawing();
      const value = input.type === "range" ? (first === input.min ? input.max : input.min)
        : input.type === "number" ? "123" : [...input.options].find((o) => o.value !== first).value;
      const turn = async (to) => {
        input.value = to;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await wait(50);
        return drawing();
      };
      const after = await turn(value);
      const back = await turn(first);
      const nan = /NaN|undefined|Infinity/.test(after);
      found.push({ control: input.id, changed: after !== before, same: back === before, nan });
    }
    const button = place.querySelector("button");
    if (button) {
      const before = drawing();
      button.click();
      await wait(50);
      found.push({ control: place.id + " button", changed: drawing() !== before, same: true, nan: false });
    }
  }
  return found;"""


def test_every_control_changes_its_figure_and_back(tmp_path: Path) -> None:
    found = ask(TURN, tmp_path)
    assert len({row["control"].split("-")[1].split(" ")[0] for row in found}) == 7, "figures"
    for row in found:
        assert row["changed"], row
        assert row["same"], row
        assert not row["nan"], row


EVERY_STEP = """
  let drawings = 0;
  for (const place of document.querySelectorAll("figure[data-figure]")) {
    for (const input of place.querySelectorAll("input[type=range], select")) {
      const first = input.value;
      const all = input.type === "range" ? Array.from({ length: Number(input.max) + 1 }, (_, i) => String(i))
        : [...input.options].map((o) => o.value);
      for (const value of all) {
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await wait(20);
        drawings++;
        const html = place.innerHTML;
        if (/NaN|undefined|Infinity/.test(html)) problems.push(input.id + " " + value);
      }
      input.value = first;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }
  return drawings;"""


@pytest.mark.skipif(
    not os.environ.get("TURBOQUANT_REQUIRE_BROWSER"), reason="every step of every control: make test-page draws them"
)
def test_every_step_of_every_control_can_be_drawn(tmp_path: Path) -> None:
    assert ask(EVERY_STEP, tmp_path) > 60


ACCESS = """
  await wait(100);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const ids = all("[id]").map((node) => node.id);
  return {
    unlabelled: all("input, select").filter((node) => !node.labels[0]?.textContent).map((node) => node.id),
    unnamed: all("svg[role=img]").filter((node) => node.getAttribute("aria-label").length < 20).length,
    pictures: all("svg[role=img]").length,
    hidden: all("svg:not([role=img])").filter((node) => node.getAttribute("aria-hidden") !== "true").length,
    twice: ids.filter((id, i) => ids.indexOf(id) !== i),
    broken: all("a[href^='#']").filter((a) => !document.getElementById(a.getAttribute("href").slice(1))).length,
    live: all("figure .words[aria-live=polite]").length,
    lang: document.documentElement.lang,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    width: document.documentElement.clientWidth,
  };"""


@pytest.mark.parametrize("width", [1000, 500])
def test_it_is_labelled_and_fits(width: int, tmp_path: Path) -> None:
    """500 is the least that a headless window takes; the pictures are drawn down to 280."""
    found = ask(ACCESS, tmp_path, width=width)
    assert found["unlabelled"] == found["twice"] == []
    assert found["unnamed"] == found["hidden"] == found["broken"] == 0
    assert found["pictures"] > 8
    assert found["live"] == 7
    assert found["lang"] == "en"
    assert found["wide"] == 0


def test_an_error_in_the_page_is_noticed(tmp_path: Path) -> None:
    """The control: what the page throws, logs or rejects fails the question."""
    with pytest.raises(AssertionError, match="on purpose"):
        ask(
            'setTimeout(() => { throw new Error("on purpose"); }, 0); await wait(50); return 1;',
            tmp_path,
            figures=False,
        )
