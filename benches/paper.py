"""The papers' figures and tables made anew: docs/papers/*.png, docs/papers/report.md, benches/results/paper.json.

    make paper              (or: python benches/paper.py [--out docs/papers] [--parts recall_2 recall_4])

Data: real sentence embeddings of 384 dimensions, and random unit vectors of as many. The embeddings are the 5,000 that
come with the package, or, where TURBOQUANT_CACHE names a folder for data sets, the full 100,000 with 1,000 held-out
queries and rows for fitting that are in neither. The figures are drawn from the numbers in the JSON file, and each part
of it can be measured on its own.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import paper_errors
import paper_recall
import paper_report
from paper_errors import Data, unit
from turboquant_rs.evaluation import datasets

PARTS: dict[str, Callable[[Data], Any]] = {
    "distortion": paper_errors.distortions,
    "inner_products": paper_errors.inner_product_errors,
    "variances": lambda data: paper_errors.variances(),
    "polar": paper_errors.polar_rows,
    "entropy": paper_errors.entropies,
    "recall_2": lambda data: paper_recall.recalls(data, 2),
    "recall_4": lambda data: paper_recall.recalls(data, 4),
    "encode": paper_recall.encode_times,
}
#: As many queries as the paper takes (section 4.4 there).
QUERIES = 1000


def load() -> Data:
    """Return the full set where TURBOQUANT_CACHE is set, else the sample; random vectors, as many up to 20,000."""
    if os.environ.get("TURBOQUANT_CACHE"):
        full = datasets.glosses_full()
        base, queries, train, seeds = unit(full.base), unit(full.queries[:QUERIES]), unit(full.train), 2
    else:
        sample = datasets.load_glosses_sample()
        base, queries, train, seeds = unit(sample.base), unit(sample.queries), None, 3
    random = unit(np.random.default_rng(0).standard_normal((min(len(base), 20_000), base.shape[1])))
    return Data(base, queries, train, random, seeds)


def main() -> None:
    """Measure, write the JSON after every part, draw, write the report."""
    parser = argparse.ArgumentParser(description="Make the papers' figures and tables anew.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "papers")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="measure these only")
    parser.add_argument("--redraw", action="store_true", help="draw and write from the JSON of the last run")
    arguments = parser.parse_args()
    path = harness.RESULTS / "paper.json"
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not arguments.redraw:
        data = load()
        if results.get("data") != data.sizes():  # parts of one report are of one data set
            results = {"data": data.sizes()}
        for part in arguments.parts:
            results[part] = PARTS[part](data)
            results["machine"] = harness.machine()
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(f"{part}: measured", flush=True)
    missing = [part for part in PARTS if part not in results]
    if missing:
        print(f"no report yet: {', '.join(missing)} not measured on this data")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    paper_report.write(results, arguments.out)


if __name__ == "__main__":
    main()
