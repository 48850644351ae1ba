#!/usr/bin/env bash
# Builds the wheel, the sdist and the crate into dist/, and tests each as its user gets it: wheel.sh VENV
#
# The wheel (abi3, manylinux2014, linked by zig) and the sdist are each installed into an empty environment, where the
# import must work with NumPy alone; then the Python tests run there on a copy, outside of the source tree. The wheel keeps
# only the test tools beside it; the sdist gets the extras too. The crate is unpacked and tested from its own files.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(cd "$1" && pwd)
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rm -rf dist
mkdir dist
# maturin finds zig through the python on PATH.
PATH=$venv/bin:$PATH "$venv/bin/maturin" build --release --locked --zig --compatibility manylinux2014 --strip --out dist
"$venv/bin/maturin" sdist --out dist
wheel=$(echo dist/turboquant_rs-*-abi3-manylinux*.whl)
sdist=$(echo dist/turboquant_rs-*.tar.gz)

# The environment's pip and build of the sdist, at the versions of constraints.txt.
export PIP_CONSTRAINT=$root/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
unset VIRTUAL_ENV PYTHONPATH

test_installed() {
  local name=$1 artifact=$2 extras=$3
  local python=$work/$name/bin/python
  echo "== $artifact in an empty environment"
  "$venv/bin/python" scripts/make_venv.py "$work/$name"
  "$python" -m pip install --quiet pip
  CARGO_TARGET_DIR=$root/target/$name "$python" -m pip install --quiet "$artifact"
  mkdir "$work/$name/run"
  cp -R tests pyproject.toml "$work/$name/run"
  (
    cd "$work/$name/run"
    "$python" -m pip list --format freeze | grep -vE '^(pip|setuptools)==' | sed 's/^/with /'
    "$python" -I -W error - << 'PYTHON'
import importlib.metadata as metadata
import pathlib
import sys

installed = {d.metadata["Name"].lower() for d in metadata.distributions()} - {"pip", "setuptools"}
assert installed == {"numpy", "turboquant-rs"}, installed
import turboquant_rs

package = pathlib.Path(turboquant_rs.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert turboquant_rs.__version__ == metadata.version("turboquant-rs")
files = {str(f.relative_to(package)) for f in package.rglob("*") if f.is_file()}
missing = {"py.typed", "_core.pyi", "reference/beta_levels.bin", "gpu/src/device.cuh"} - files
assert not missing, missing
PYTHON
    "$python" -m pip install --quiet --group test
    "$python" -m pip install --quiet "turboquant-rs$extras"
    "$python" -m pytest -p no:cacheprovider --numprocesses auto --dist loadfile
  )
}

test_installed wheel "$wheel" ""
test_installed sdist "$sdist" "[all]"

echo "== the crate"
cargo package --package turboquant-rs-core --locked --allow-dirty --no-verify
crate=$(echo target/package/turboquant-rs-core-*.crate)
cp "$crate" dist
tar -xzf "$crate" -C "$work"
(cd "$work"/turboquant-rs-core-* && CARGO_TARGET_DIR=$root/target/crate cargo test --release --locked)

ls -l dist
