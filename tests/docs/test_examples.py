"""The examples of every docstring, of the README and of the pages under docs/ run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import turboquant_rs

ROOT = Path(__file__).resolve().parents[2]

#: Packages that a module may need and that a plain installation lacks: the extras, and what builds a data set.
OPTIONAL = {"typer", "rich", "click", "matplotlib", "torch", "transformers", "cupy"}

FENCE = re.compile(r"^```(python|pycon|py)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)

needs_numpy_2 = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="examples show scalars as NumPy 2 does"
)


def public_modules() -> list[str]:
    """Return the names of all modules of the package but private ones."""
    names = ["turboquant_rs"]
    for module in pkgutil.walk_packages(turboquant_rs.__path__, "turboquant_rs.", onerror=lambda _: None):
        if not any(part.startswith("_") for part in module.name.split(".")):
            names.append(module.name)
    return names


def pages() -> list[Path]:
    """Return the README and the pages under docs/, those that there are."""
    found = [path for path in (ROOT / "README.md",) if path.is_file()]
    return found + sorted((ROOT / "docs").rglob("*.md"))


def load(name: str) -> ModuleType:
    """Import a module, or skip the test if a package that is optional is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OPTIONAL or any(package in str(error) for package in OPTIONAL):
            pytest.skip(f"{name} needs {missing or error}, which is not installed")
        raise


def run(test: doctest.DocTest) -> None:
    """Run one test and fail with doctest's own report."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST)
    with np.printoptions():
        result = runner.run(test, out=report.append, clear_globs=False)
    assert result.failed == 0, "".join(report)


def test_the_modules_are_found() -> None:
    names = set(public_modules())
    assert {"turboquant_rs.codec", "turboquant_rs.reference.rotation", "turboquant_rs.evaluation.sweep"} <= names


@needs_numpy_2
@pytest.mark.parametrize("name", public_modules())
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = load(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        if test.examples:
            run(test)


@pytest.mark.parametrize("name", turboquant_rs.__all__)
def test_public_names_have_docstrings(name: str) -> None:
    """What a user imports says what it is; the classes that work show an example."""
    value = getattr(turboquant_rs, name)
    assert value.__doc__
    if name in ("QJL", "Codes", "Index", "PaperCodes", "PolarQuant", "TurboQuant", "TurboQuantProd", "simd"):
        assert ">>>" in value.__doc__
    if isinstance(value, type):
        for attribute in vars(value):
            if not attribute.startswith("_"):
                member = getattr(value, attribute)
                assert attribute in getattr(value, "__slots__", ()) or member.__doc__, f"{name}.{attribute}"


@needs_numpy_2
@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of Python with prompts run one after another, as one session; those without compile."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    for match in FENCE.finditer(text):
        block, line = match.group(2), text.count("\n", 0, match.start(2))
        if ">>>" in block:
            test = doctest.DocTestParser().get_doctest(block, names, page.name, str(page), line)
            run(test)
            names.update(test.globs)
        else:
            compile(block, f"{page}:{line + 1}", "exec")


def test_a_wrong_example_is_noticed() -> None:
    """The control: an example that prints something else fails, and a later block knows the names of an earlier one."""
    names: dict[str, object] = {}
    first = doctest.DocTestParser().get_doctest(">>> x = 1\n", names, "page", "page", 0)
    run(first)
    names.update(first.globs)
    run(doctest.DocTestParser().get_doctest(">>> x\n1\n", names, "page", "page", 0))
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", names, "page", "page", 0)
    with pytest.raises(AssertionError, match="Expected"):
        run(wrong)
