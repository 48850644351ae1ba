"""The rules of the house that no compiler checks: where `unsafe` may be, which way imports point, how long a file is.

They read the source tree. Where the tests run without one, beside an installed package, they are skipped.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
CORE = ROOT / "rust" / "core" / "src"
PACKAGE = ROOT / "python" / "turboquant_rs"

if not CORE.is_dir():
    pytest.skip("no source tree here: the rules of the house are checked in a checkout", allow_module_level=True)

#: Modules of the core, lowest first: a module may use lower lines and, where they are two sides of one idea, its own.
LAYERS = (
    ("bitmap", "error", "metric", "rng", "storage"),
    ("kernels",),
    ("codebook", "dense_rotation", "haar", "normals", "parallel", "projection", "rotation", "units"),
    ("codec", "codes"),
    ("scan", "topk", "papers"),
    ("index", "paper_index"),
)

#: The one module of ours that kernels may use: for the refusal of a level.
BELOW_KERNELS = {"error"}

LONGEST_FILE = 500
CODE_FOLDERS = ("benches", "docs/page", "python", "rust", "scripts", "tests")

#: Tables of constants, which a limit on lines would only make less readable.
TABLES = ("_levels.rs", "_levels.py", "_tables.rs", "_tables.py")


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rust_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.rs"))]


def rust_code(path: Path) -> list[str]:
    """Lines of a Rust file without comments and string literals (none of ours spans lines or nests quotes)."""
    text = [re.sub(r'"(\\.|[^"\\])*"', '""', line) for line in lines_of(path)]
    return [re.sub(r"//.*", "", line) for line in text]


def without_tests(lines: list[str]) -> list[str]:
    """The lines before the unit tests, which close a file and may use what they like."""
    for i, line in enumerate(lines):
        if line.strip() == "#[cfg(test)]" and re.match(r"\s*mod \w+ \{", lines[i + 1]):
            return lines[:i]
    return lines


def may_hold_unsafe(path: Path) -> bool:
    inside = path.relative_to(CORE).parts if path.is_relative_to(CORE) else ("",)
    return inside[0] == "kernels" or inside[-1] == "mmap.rs"


def test_unsafe_is_only_in_kernels() -> None:
    found = [
        f"{name_of(path)}:{number}"
        for path in rust_files("rust")
        if not may_hold_unsafe(path)
        for number, line in enumerate(rust_code(path), 1)
        if re.search(r"\bunsafe\b", line)
    ]
    assert not found, f"unsafe belongs in rust/core/src/kernels/ (or one mmap.rs): {found}"


def test_every_unsafe_block_says_why_it_is_safe() -> None:
    """By a `// SAFETY:` comment directly above the statement. Clippy checks the same, but on one architecture only."""
    missing = []
    for path in rust_files("rust"):
        comments, code = lines_of(path), rust_code(path)
        for i, line in enumerate(code):
            if not re.search(r"\bunsafe (\{|impl\b)", line):
                continue
            above = i
            # Up over the comment, and over the beginning of a statement that spans lines.
            while above > 0 and not re.search(r"[;{}]\s*$", code[above - 1]) and comments[above - 1].strip():
                above -= 1
            if not any("// SAFETY:" in comment for comment in comments[above:i]):
                missing.append(f"{name_of(path)}:{i + 1}")
    assert not missing, f"no SAFETY comment above: {missing}"


def implements_a_trait(code: list[str], i: int) -> bool:
    """Whether line i stands in an `impl Trait for Type`, where the trait's own documentation counts."""
    indent = len(code[i]) - len(code[i].lstrip())
    outer = (line for line in reversed(code[:i]) if line.strip() and len(line) - len(line.lstrip()) < indent)
    return bool(re.match(r"\s*(unsafe )?impl\b.* for ", next(outer, "")))


def test_unsafe_functions_say_what_they_need() -> None:
    missing = []
    for path in rust_files("rust"):
        lines, code = lines_of(path), rust_code(path)
        for i, line in enumerate(code):
            if not re.match(r"\s*(pub(\(\w+\))? )?unsafe fn ", line) or implements_a_trait(code, i):
                continue
            above = i
            while above > 0 and re.match(r"\s*(///|#\[)", lines[above - 1]):
                above -= 1
            if not any("# Safety" in comment for comment in lines[above:i]):
                missing.append(f"{name_of(path)}:{i + 1}")
    assert not missing, f"no '# Safety' section: {missing}"


def test_files_are_short() -> None:
    files = [path for folder in CODE_FOLDERS for path in (ROOT / folder).rglob("*")]
    code = [path for path in files if path.suffix in (".css", ".cu", ".js", ".py", ".pyi", ".rs", ".sh")]
    sizes = {path: len(lines_of(path)) for path in code if not path.name.endswith(TABLES)}
    long = {name_of(path): size for path, size in sizes.items() if size >= LONGEST_FILE}
    assert not long, f"one idea a file, under {LONGEST_FILE} lines: {long}"


def core_uses() -> Iterator[tuple[str, str, str]]:
    """(module, module it uses, place) for every `crate::…` of the core outside of its tests."""
    for path in rust_files("rust/core/src"):
        parts = path.relative_to(CORE).with_suffix("").parts
        if parts[-1] in ("lib", "testing", "tests") or parts[-1].endswith("_tests"):
            continue
        for number, line in enumerate(without_tests(rust_code(path)), 1):
            for used in re.findall(r"\bcrate::(\w+)", line):
                yield parts[0], used, f"{name_of(path)}:{number}"


def test_arrows_in_the_core_point_down() -> None:
    layer = {module: i for i, modules in enumerate(LAYERS) for module in modules}
    wrong = []
    for module, used, place in core_uses():
        assert module in layer, f"{place}: give the module `{module}` a place in LAYERS"
        assert used in layer, f"{place}: name the module, `crate::module::…`, and give `{used}` a place in LAYERS"
        if layer[used] > layer[module]:
            wrong.append(f"{place}: {module} uses {used}")
    assert not wrong, wrong


def test_kernels_use_nothing_of_ours() -> None:
    wrong = [
        place for module, used, place in core_uses() if module == "kernels" and used not in BELOW_KERNELS | {"kernels"}
    ]
    assert not wrong, wrong


def test_one_file_names_rayon() -> None:
    found = {name_of(p) for p in rust_files("rust/core/src") if any("rayon::" in line for line in rust_code(p))}
    assert found <= {"rust/core/src/parallel.rs"}


def test_the_core_needs_no_python() -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not here: the core's dependencies are not looked at")
    line = ["cargo", "tree", "--package", "turboquant-rs-core", "--edges", "normal", "--prefix", "none", "--offline"]
    tree = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    packages = {row.split()[0] for row in tree.splitlines() if row}
    assert "rayon" in packages
    assert not {name for name in packages if re.match(r"pyo3|numpy|python", name)}


def test_bindings_hold_no_instruction_set() -> None:
    found = [name_of(p) for p in rust_files("rust/python") if any("std::arch" in line for line in rust_code(p))]
    assert not found, found


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(absolute dotted name, place) of everything that a file of the package imports, inside of functions too."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [f"{module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, f"{name_of(path)}:{getattr(node, 'lineno', 0)}"


def package_imports(folder: Path) -> list[tuple[str, str]]:
    return [found for path in sorted(folder.rglob("*.py")) for found in imports(path)]


def starts(name: str, *modules: str) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def test_reference_needs_numpy_only() -> None:
    ours = "turboquant_rs.reference"
    wrong = [
        f"{place}: {name}"
        for name, place in package_imports(PACKAGE / "reference")
        if not starts(name, "numpy", ours) and name.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert not wrong, f"the reference is NumPy and the standard library: {wrong}"


def test_nothing_imports_the_command_line_or_the_figures() -> None:
    """Except the command line itself; so the library never needs the extras."""
    wrong = [
        f"{place}: {name}"
        for name, place in package_imports(PACKAGE)
        if starts(name, "turboquant_rs.cli", "turboquant_rs.viz")
        and not place.startswith(("python/turboquant_rs/cli", "python/turboquant_rs/viz"))
    ]
    assert not wrong, wrong


def test_the_library_needs_no_optional_package() -> None:
    """Optional packages are imported only by the modules that exist for them."""
    homes = {
        **dict.fromkeys(("click", "matplotlib", "rich", "typer"), ("cli/", "viz.py")),
        **dict.fromkeys(("array_api_compat", "cupy"), ("_device.py", "gpu/")),
        "torch": ("evaluation/",),
    }
    wrong = [
        f"{place}: {name}"
        for name, place in package_imports(PACKAGE)
        if (home := homes.get(name.partition(".")[0])) is not None
        and not place.removeprefix("python/turboquant_rs/").startswith(home)
    ]
    assert not wrong, wrong


def test_the_gpu_s_drivers_stand_on_the_reference() -> None:
    """Its `arrays`, `calls`, `codec`, `index` and `papers` know the package's classes; what launches kernels knows the
    reference's tables only.
    """
    wrong = [
        f"{place}: {name}"
        for name, place in package_imports(PACKAGE / "gpu")
        if starts(name, "turboquant_rs")
        and not starts(name, "turboquant_rs.gpu", "turboquant_rs.reference", "turboquant_rs._device")
        and not re.search(r"/gpu/(arrays|calls|codec|index|papers)\.py", place)
    ]
    assert not wrong, wrong


def test_importing_the_package_loads_little() -> None:
    """`import turboquant_rs` needs NumPy and loads neither an extra nor the evaluation."""
    code = "import sys, turboquant_rs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"matplotlib", "rich", "scipy", "typer", "cupy", "array_api_compat"}
    assert not loaded & {f"turboquant_rs.{part}" for part in ("cli", "evaluation", "gpu", "viz")}


def test_versions_agree() -> None:
    """The workspace's version is the one place; pyproject.toml, both crates and the package take theirs from it."""
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    for crate in ("core", "python"):
        manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
        assert manifest["package"]["version"] == {"workspace": True}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    assert {p["version"] for p in lock if p["name"].startswith("turboquant-rs")} == {workspace}
    assert version("turboquant-rs") == workspace, "the installed package is another version: make develop"


def test_extras_are_in_the_development_environment() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups, extras = document["dependency-groups"], document["project"]["optional-dependencies"]
    wanted = {entry for extra in extras.values() for entry in extra if not entry.startswith("turboquant-rs[")}
    # Two wheels of CuPy exclude each other, and neither is of use without a GPU; a machine that has one installs it.
    wanted = {entry for entry in wanted if not entry.startswith("cupy-")}
    listed = set(map(str, groups["dev"] + groups["test"]))
    assert wanted <= listed, "the groups dev and test list every extra's requirements"
