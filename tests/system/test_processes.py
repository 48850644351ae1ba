"""Processes: forks, spawns, Ctrl-C, imports. Each runs in a process of its own, so that a hang is a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib.resources import files
from pathlib import Path

import pytest

#: Seconds that a script may take before it counts as hung: a loaded machine needs a tenth.
HANGS = 120
#: Seconds within which Ctrl-C must be heard. The promise is about one; a loaded machine may take some more.
HEARD = 5.0

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and fork")


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in another interpreter with two threads by default."""
    return subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=HANGS,
        env={**os.environ, "RAYON_NUM_THREADS": "2", "RUST_BACKTRACE": "0", **environment},
    )


def assert_prints(expected: str, script: str, *arguments: str, **environment: str) -> None:
    done = run(script, *arguments, **environment)
    assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr[-3000:]


# --- fork --------------------------------------------------------------------------------------------------------

#: The parent works in parallel, so that its thread pools exist; the child has none of their threads. Everything that is
#: parallel must still work there, within the time limit.
FORK = """
    import os, signal, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks in processes with threads
    import numpy as np
    from turboquant_rs import Codes, Index, TurboQuant

    x = np.random.default_rng(0).standard_normal((6000, 64), np.float32)
    q = TurboQuant(64, 4)
    index = Index(codec=q)

    def work():
        codes = q.encode(x)
        answers = [codes.to_bytes(), q.decode(codes).tobytes(), q.score(x[:300], codes).tobytes()]
        answers += [codes.truncate(2).to_bytes(), *(a.tobytes() for a in index.search(x[:300], 5))]
        answers += [a.tobytes() for a in index.search(x[0], 5, threads=3)]
        if WHAT == "reconstruct":
            answers.append(index.reconstruct(np.arange(6000)).tobytes())
        return answers

    WHAT = sys.argv[1]
    index.add(x)
    before = work()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        same = work() == before
        index.add(x[:10])
        os._exit(0 if same and len(index) == 6010 else 1)
    _, status = os.waitpid(child, 0)
    print("child", os.waitstatus_to_exitcode(status), "parent", work() == before, len(index))
"""


@posix
@pytest.mark.parametrize("what", ["most", "reconstruct"])
def test_a_forked_child_works(what: str) -> None:
    script = textwrap.dedent(FORK).replace("sys.argv[1]", repr(what))
    assert_prints("child 0 parent True 6000", script)


@posix
def test_a_child_forked_while_threads_work() -> None:
    """Locks that other threads hold at the fork stay locked in the child; encoding and a new index need none."""
    assert_prints(
        "[0, 0, 0, 0, 0]",
        """
        import os, signal, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np
        from turboquant_rs import Index, TurboQuant

        x = np.random.default_rng(0).standard_normal((4000, 64), np.float32)
        q = TurboQuant(64, 4)
        expected = q.encode(x).to_bytes()
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                q.encode(x)

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()
        results = []
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                index = Index(codec=q)
                index.add(x)
                os._exit(0 if q.encode(x).to_bytes() == expected and index.search(x[7], 1)[1][0] == 7 else 1)
            results.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop.set()
        for thread in threads:
            thread.join()
        print(results)
        """,
    )


SPAWN = """
import multiprocessing
import numpy as np
from turboquant_rs import Codes, TurboQuant


def work(job):
    q, codes, x = job
    return q.encode(x), codes.codec.decode(codes).tobytes(), q


if __name__ == "__main__":
    q = TurboQuant(33, 5, seed=2**64 - 1, scale="mse", refine=16)
    x = np.random.default_rng(0).standard_normal((100, 33))
    codes = q.encode(x)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for made, decoded, codec in pool.map(work, [(q, codes[i::4], x[i::4]) for i in range(4)]):
            assert codec == q and codec.refine == 16
            assert decoded == q.decode(made).tobytes()
        print("done")
"""


def test_codecs_and_codes_go_to_spawned_processes(tmp_path: Path) -> None:
    path = tmp_path / "spawning.py"
    path.write_text(SPAWN, encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=HANGS)
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr[-3000:]


# --- Ctrl-C ------------------------------------------------------------------------------------------------------

LONG: dict[str, str] = {
    # Inputs are one row shown many times, so that minutes of work take little memory.
    "encode": """
        x = np.broadcast_to(rng.standard_normal(4096).astype(np.float32), (1 << 22, 4096))
        q = TurboQuant(4096, 1)
        work = lambda: q.encode(x)
    """,
    "encode, contiguous": """
        x = np.ones((1 << 15, 2048), np.float32)
        q = TurboQuant(2048, 8, refine=32)
        work = lambda: q.encode(x)
    """,
    "encode, one thread": """
        x = np.ones((1 << 15, 2048), np.float32)
        q = TurboQuant(2048, 8, refine=32)
        work = lambda: q.encode(x, threads=1)
    """,
    "add": """
        x = np.broadcast_to(rng.standard_normal(4096), (1 << 21, 4096))
        index = Index(4096, 1)
        work = lambda: index.add(x)
    """,
    "decode": """
        q = TurboQuant(4096, 4)
        codes = q.encode(np.ones((1, 4096)))
        codes = codes[np.zeros(60_000, int)]
        work = lambda: q.decode(codes)
    """,
    "score": """
        q = TurboQuant(4096, 8)
        codes = q.encode(np.ones((1, 4096)))[np.zeros(20_000, int)]
        queries = np.ones((8_000, 4096), np.float32)
        work = lambda: q.score(queries, codes)
    """,
    "search": """
        index = Index(256, 8)
        index.add(rng.standard_normal((150_000, 256), np.float32))
        queries = rng.standard_normal((150_000, 256), np.float32)
        work = lambda: index.search(queries, 1)
    """,
    "search, one thread": """
        index = Index(256, 8)
        index.add(rng.standard_normal((150_000, 256), np.float32))
        queries = rng.standard_normal((20_000, 256), np.float32)
        work = lambda: index.search(queries, 1, threads=1)
    """,
}


@posix
@pytest.mark.parametrize("what", LONG)
def test_ctrl_c_ends_long_work(what: str) -> None:
    """The work is repeated until it is interrupted, so a fast machine is no excuse for not listening."""
    script = "\n".join(
        [
            "import sys\nimport numpy as np\nfrom turboquant_rs import Index, TurboQuant",
            "rng = np.random.default_rng(0)",
            textwrap.dedent(LONG[what]),
            'print("ready", flush=True)',
            "try:\n    while True:\n        work()",
            'except KeyboardInterrupt:\n    print("interrupted", flush=True)',
            "sys.stdout.flush()\nimport os\nos._exit(0)",  # freeing what was mapped is not what is measured
        ]
    )
    environment = {**os.environ, "RAYON_NUM_THREADS": "2"}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
            time.sleep(0.5)  # inside the call
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate(timeout=HEARD)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{what} did not hear Ctrl-C within {HEARD} seconds")
        finally:
            child.kill()
    assert (output, child.returncode) == ("interrupted\n", 0), errors


# --- threads -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by Linux's /proc")
def test_few_rows_wake_no_pool() -> None:
    """What is one task stays on the calling thread: waking a pool takes longer than encoding a row."""
    script = """
        import os
        import numpy as np
        from turboquant_rs import PaperIndex, QJL, Index, TurboQuant

        x = np.random.default_rng(0).standard_normal((1025, 64), np.float32)
        before = len(os.listdir("/proc/self/task"))
        q = TurboQuant(64, 4)
        codes = q.encode(x[:256], threads=3)
        q.decode(codes), codes.truncate(2), q.score(x[0], codes)
        index, paper = Index(codec=q, keep="int8"), PaperIndex(QJL(64, 64))
        for i in range(1024):
            index.add(x[i : i + 1]), paper.add(x[i : i + 1])
        index.search(x[0], rescore=2), index.reconstruct(range(256)), index.range_search(x[0], 1.0)
        paper.search(x[0]), paper.reconstruct(range(64))
        few = len(os.listdir("/proc/self/task")) - before
        q.encode(x[:257], threads=3), index.add(x[1024:]), index.search(x[0], threads=2)
        print(few, len(os.listdir("/proc/self/task")) - before)
    """
    assert_prints("0 5", script)


# --- imports -----------------------------------------------------------------------------------------------------


def test_importing_warns_of_nothing() -> None:
    assert_prints("", "import turboquant_rs, turboquant_rs.reference, turboquant_rs.simd", "-W", "error")


def test_numpy_is_all_that_is_needed() -> None:
    assert_prints(
        "[]",
        """
        import sys

        blocked = {"typer", "rich", "click", "matplotlib", "scipy", "ml_dtypes", "torch", "cupy", "pandas", "numba",
                   "hypothesis", "pytest", "array_api_strict"}

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in blocked:
                    raise ImportError(f"{name} is blocked")

        sys.meta_path.insert(0, Blocker())
        import numpy as np
        import turboquant_rs
        import turboquant_rs.reference
        import turboquant_rs.evaluation
        from turboquant_rs import Index, TurboQuant

        x = np.eye(8, dtype=np.float32)
        q = TurboQuant(8)
        q.score(x, q.encode(x))
        index = Index(8)
        index.add(x)
        index.search(x, 3)
        print(sorted(blocked & set(sys.modules)))
        """,
    )


def test_importing_is_light() -> None:
    """No module that only some calls need comes with the package: not the reference, nor the evaluation."""
    assert_prints(
        "[]",
        """
        import sys
        import turboquant_rs
        parts = {"cli", "reference", "evaluation", "viz"}
        print([name for name in sys.modules if name.startswith("turboquant_rs.") and name.split(".")[1] in parts])
        """,
    )


def test_types_ship_with_the_package() -> None:
    package = files("turboquant_rs")
    assert (package / "py.typed").is_file()
    stub = (package / "_core.pyi").read_text(encoding="utf-8")
    from turboquant_rs import _core

    for name in dir(_core):
        if not name.startswith("_"):
            assert f"class {name}" in stub or f"def {name}(" in stub, f"{name} is missing in _core.pyi"


def test_a_level_that_the_machine_lacks_is_refused_when_work_starts() -> None:
    done = run(
        """
        import turboquant_rs
        try:
            turboquant_rs.TurboQuant(8).encode([[1.0] * 8])
        except ValueError as error:
            print(error)
        """,
        TURBOQUANT_SIMD="mmx",
    )
    assert done.stdout.startswith('SIMD level "mmx" is unknown; available: scalar'), done.stderr
