"""Speed of the GPU codec on this machine's card, beside the bandwidth that a plain copy reaches on it.

    make bench-gpu            # or: python benches/gpu.py [--bytes 1073741824] [--rounds 20]

Encoding and decoding read or write float32 rows and little else, so their measure is float32 bytes a second over the
bytes that a device copy reads and writes a second; scoring's is rows a second. Times are CUDA events around a call
without validation, the median of rounds after a warm-up; rows are checked against the reference before they are timed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import harness
from turboquant_rs import TurboQuant, reference
from turboquant_rs.gpu.runtime import missing_device

#: Dimensions, bits and refine of what is encoded and decoded.
CODECS = (
    (1024, 4, False),
    (1024, 1, False),
    (1024, 8, False),
    (1024, 4, 16),
    (128, 4, False),
    (384, 4, False),
    (768, 4, False),
    (1000, 4, False),
    (1536, 4, False),
    (3072, 4, False),
    (16_384, 4, False),
)
QUERIES = (1, 4, 32, 256)


def seconds(cp: Any, run: Callable[[], object], rounds: int) -> list[float]:
    """Return the time of each round by the device's own clock, after three that are not counted."""
    for _ in range(3):
        run()
    found = []
    for _ in range(rounds):
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record()
        run()
        end.record()
        end.synchronize()
        found.append(cp.cuda.get_elapsed_time(start, end) / 1e3)
    return found


def check(cp: Any, q: TurboQuant, x: Any) -> None:
    """Compare the first rows, their decoded values and scores with the reference."""
    plain = reference.TurboQuant(q.dim, q.bits, refine=q.refine)
    rows = cp.asnumpy(x[:64])
    want, got = plain.encode(rows), q.encode(x[:64])
    same = [
        (cp.asnumpy(got.packed), want.packed),
        (cp.asnumpy(got.scales), want.scales),
        (cp.asnumpy(q.decode(got)), plain.decode(want)),
        (cp.asnumpy(q.score(x[:2], got)), reference.score(plain, rows[:2], want)),
        (cp.asnumpy(q.score(x[:9], got)), reference.score(plain, rows[:9], want)),
    ]
    if any(a.tobytes() != b.tobytes() for a, b in same):
        raise SystemExit(f"{q!r}: the card and the reference differ; nothing is timed before they agree")


def device(cp: Any) -> dict[str, Any]:
    """Return the card in words."""
    properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "memory_bytes": properties["totalGlobalMem"],
        "multiprocessors": properties["multiProcessorCount"],
        "clock_mhz": properties["clockRate"] / 1e3 if "clockRate" in properties else None,
        "driver": cp.cuda.runtime.driverGetVersion(),
        "runtime": cp.cuda.runtime.runtimeGetVersion(),
        "nvrtc": list(cp.cuda.nvrtc.getVersion()),
        "cupy": cp.__version__,
    }


def rate(amount: float, times: list[float]) -> dict[str, float]:
    """Return amount a second: of the median round, and of the slowest and fastest."""
    return harness.summary([amount / t for t in times]) | {"median": float(f"{amount / statistics.median(times):.4g}")}


def main() -> None:
    """Measure and write ``results/gpu.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=1 << 30, help="bytes of float32 rows (default: 1 GiB)")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    reason = missing_device()
    if reason is not None:
        raise SystemExit(f"this benchmark runs on a GPU: {reason}")
    import cupy as cp

    flat = cp.random.default_rng(0).standard_normal(arguments.bytes // 4, dtype=cp.float32)
    other = cp.empty_like(flat)
    copied = seconds(cp, lambda: cp.copyto(other, flat), arguments.rounds)
    result: dict[str, Any] = {
        "device": device(cp),
        "machine": harness.machine(),
        "rounds": arguments.rounds,
        "row_bytes": arguments.bytes,
        "copy_bytes_per_s": rate(2 * flat.nbytes, copied),
        "codecs": [],
    }
    copy = result["copy_bytes_per_s"]["median"]
    for dim, bits, refine in CODECS:
        x = flat[: flat.size // dim * dim].reshape(-1, dim)
        q = TurboQuant(dim, bits, refine=refine)
        check(cp, q, x)
        codes = q.encode(x)
        entry: dict[str, Any] = {"dim": dim, "bits": bits, "refine": refine, "rows": len(x)}
        encoded = seconds(cp, lambda q=q, x=x: q.encode(x, validate=False), arguments.rounds)  # type: ignore[misc]
        entry["encode_input_bytes_per_s"] = rate(x.nbytes, encoded)
        decoded = seconds(cp, lambda q=q, codes=codes: q.decode(codes), arguments.rounds)  # type: ignore[misc]
        entry["decode_output_bytes_per_s"] = rate(x.nbytes, decoded)
        entry["encode_over_copy"] = round(entry["encode_input_bytes_per_s"]["median"] / copy, 3)
        for nq in QUERIES:
            part = codes[: min(len(codes), (1 << 28) // nq)]
            queries = x[:nq]
            run = lambda q=q, queries=queries, part=part: q.score(queries, part, validate=False)  # noqa: E731
            entry[f"score_{nq}_rows_per_s"] = rate(len(part), seconds(cp, run, arguments.rounds))
        result["codecs"].append(entry)
        print(f"{q!r}: encode {entry['encode_input_bytes_per_s']['median'] / 1e9:,.0f} GB/s of input", file=sys.stderr)
    print(harness.write("gpu", result))


if __name__ == "__main__":
    main()
