# Needs cargo (Rust 1.89 or newer) and Python 3.10 or newer; everything else is made here, in $(VENV) and target/.
# Stamps keep what is done from being done again. Variables: PYTHON (to make the environment with), VENV, CARGO, CUPY.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
CARGO ?= cargo
# For the GPU targets: the CuPy of the driver's CUDA, cupy-cuda12x or cupy-cuda13x.
CUPY ?= cupy-cuda13x
FUZZ_SECONDS ?= 600
# A worker a core, each with whole files: what a module makes once (the cubins of all kernels) is made by one worker.
WORKERS := --numprocesses auto --dist loadfile

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check

# maturin and PyO3 use this environment, whatever is active outside.
export VIRTUAL_ENV := $(abspath $(VENV))
export CARGO_TERM_PROGRESS_WHEN := never
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH

RUST_FILES := Cargo.toml Cargo.lock $(shell find rust -type f -not -name '*.md')

.PHONY: help venv develop demo test test-emulated test-crash test-threads fuzz test-gpu gpu lint lint-rust lint-python wheel bench bench-gpu paper page test-page lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

venv: $(VENV)/.dev ## Make the virtual environment, every package at the version of constraints.txt

develop: $(VENV)/.built ## Build the extension module (release) into the environment; Python files are used in place

demo: develop ## Set up, then show the library at work
	$(VENV)/bin/turboquant demo

test: develop ## Build, then run every test: Rust (release; then with debug assertions, without threads), Python
	@# Link-time optimisation would be done again for each test binary; the extension module that Python tests has it.
	CARGO_PROFILE_RELEASE_LTO=off $(CARGO) test --workspace --locked --release
	$(CARGO) test --package turboquant-rs-core --locked --profile checked --no-default-features --lib --tests
	$(PY) -m pytest $(WORKERS)

test-emulated: ## Run the Rust tests on emulated ARM and older x86 processors (installs what that takes)
	scripts/test-emulated.sh

test-crash: develop ## Kill 500 writers of an index file at random moments, and open what they leave
	TURBOQUANT_CRASH_RUNS=500 $(PY) -m pytest tests/system/test_killed_writers.py

test-threads: develop ## Search from eight threads beside changes, a minute a metric, and tell how long searches take
	TURBOQUANT_THREADS_SECONDS=60 $(PY) -m pytest tests/system/test_changes_beside_searches.py

# The targets are index_file, codec_header and codes; what they find is kept in rust/fuzz.
fuzz: ## Fuzz the readers of bytes, FUZZ_SECONDS each (600); needs a nightly compiler and cargo-fuzz
	@$(CARGO) fuzz --version > /dev/null 2>&1 || { echo "no cargo-fuzz here: cargo install cargo-fuzz" >&2; exit 1; }
	for target in index_file codec_header codes; do \
		mkdir -p rust/fuzz/corpus/$$target; \
		$(CARGO) +nightly fuzz run --fuzz-dir rust/fuzz $$target rust/fuzz/corpus/$$target rust/core/tests/fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=20000; \
	done

test-gpu: gpu ## Run the parity tests on this machine's GPU, then some under compute-sanitizer where that is installed
	$(PY) -m pytest -m gpu tests/gpu
	@# Without CuPy's pool every array is an allocation of its own, at whose end memcheck sees an access.
	@if command -v compute-sanitizer > /dev/null; then \
		for tool in memcheck racecheck; do \
			TURBOQUANT_GPU_POOL=0 compute-sanitizer --tool $$tool --error-exitcode 1 --target-processes all \
				$(PY) -m pytest -m gpu tests/gpu/test_parity.py tests/gpu/test_faults.py tests/gpu/test_search.py \
				-k "kind_of_row or more_rows or any_address or largest_dimensions or not_finite or every_k or are_cut"; \
		done; \
	else \
		echo "compute-sanitizer is not installed (it comes with the CUDA toolkit): memcheck and racecheck were not run" >&2; \
	fi

# What test-gpu and bench-gpu need: a GPU, then CuPy for it.
gpu: develop
	@nvidia-smi -L > /dev/null 2>&1 || { echo "no GPU here: nvidia-smi finds no device, and these targets run on one" >&2; exit 1; }
	$(PIP) install --constraint constraints.txt $(CUPY)
	@$(PY) -c "import sys; from turboquant_rs.gpu.runtime import missing_device; sys.exit(missing_device())"

lint: lint-rust lint-python ## Check format, lints, types, the stub and the documentation build (make -k lint: all at once)

lint-rust: $(PY)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --package turboquant-rs-core --all-targets --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

lint-python: develop
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m mypy.stubtest --mypy-config-file pyproject.toml turboquant_rs._core

wheel: $(VENV)/.wheel ## Build wheel, sdist and crate into dist/, and test each as its user gets it
	scripts/wheel.sh $(VENV)

bench: develop ## Run the benchmarks of both languages
	$(PY) benches/encode.py
	$(PY) benches/search.py
	$(PY) benches/kernels.py
	$(CARGO) bench --package turboquant-rs-core --locked

paper: develop ## Make the papers' figures and tables anew, into docs/papers/
	$(PY) benches/paper.py

page: develop ## Make docs/explained.html anew from docs/explained.md and docs/page/
	$(PY) scripts/make_page.py

test-page: page ## Run docs/explained.html in headless Chromium, which must be there (Debian: apt install chromium)
	TURBOQUANT_REQUIRE_BROWSER=1 $(PY) -m pytest tests/docs/test_page.py tests/docs/test_page_browser.py

bench-gpu: gpu ## Run the benchmarks of this machine's GPU
	$(PY) benches/gpu.py
	$(PY) benches/gpu_search.py

lock: $(VENV)/.dev ## Renew constraints.txt and Cargo.lock
	$(PIP) install --constraint constraints.txt --group lock
	$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --all-extras --group dev --group wheel \
		--group lock --custom-compile-command "make lock" --output-file constraints.txt pyproject.toml
	$(CARGO) update

clean: ## Remove what was built, but not the environment or the emulator's tools
	rm -rf target dist .aarch64/target
	rm -f $(VENV)/.built

$(PY):
	$(PYTHON) scripts/make_venv.py $(VENV)

$(VENV)/.dev: constraints.txt pyproject.toml | $(PY)
	$(PIP) install --constraint constraints.txt pip
	$(PIP) install --constraint constraints.txt --group dev
	touch $@

$(VENV)/.wheel: $(VENV)/.dev
	$(PIP) install --constraint constraints.txt --group wheel
	touch $@

$(VENV)/.built: $(RUST_FILES) $(VENV)/.dev
	$(VENV)/bin/maturin develop --release --locked
	touch $@
