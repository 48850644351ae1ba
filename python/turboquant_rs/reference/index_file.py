"""A reader of index files, version 1 (docs/format.md), that shares no code with the one in Rust: what a file means.

>>> read_index(b"something else")
Traceback (most recent call last):
    ...
ValueError: header, byte 0: not an index file
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codes import CodecSpec, Codes
from .fitted_codec import FittedTurboQuant
from .index import Index
from .mse import TurboQuant
from .sections import up
from .staged import has_first_stage, stage_bytes
from .units import row_bytes, stage_ends

MAGIC, CHUNK_MAGIC = b"TQINDX", b"TQCHNK"
VERSION = 1
METRICS = ("ip", "cosine", "l2")
KEEPS = (None, "float32", "float16", "bfloat16", "int8")
SECTOR, BLOCK_BYTES = 512, 65_536
#: Kinds of sections.
LONG_BLOCKS, STAGE, BOUNDS, SCALES, SQUARES, NUMBERS, IDS, GONE, NAME_ENDS, NAMES, ORIGINALS = range(1, 12)
ORIGINAL_SCALES, FITTED_BOUNDS, BLOCKS = 12, 13, 14
#: Rows of a block of a first stage; files from before had longer ones.
BLOCK_ROWS = {BLOCKS: 16, LONG_BLOCKS: 64}
_HEADER = struct.Struct("<6sHQIBB6sI")
_RECORD = struct.Struct("<QQQI32sI")
_HEAD = struct.Struct("<6sHQQQQQIIq")
_ENTRY = struct.Struct("<HBBIQQ8s")


class Record(NamedTuple):
    """Up to where a file counts."""

    sequence: int
    end: int
    rows: int
    #: Checksum of the last chunk's head, of the header without chunks.
    chain: int


@dataclass(frozen=True)
class Section:
    """A section of a chunk, its content checked."""

    kind: int
    partition: int
    stage: int
    width: int
    content: bytes


@dataclass(frozen=True)
class Chunk:
    """What one commit has added."""

    rows: int
    plain: int
    ascending: bool
    largest: int
    sections: list[Section]
    after: Record


def read_index(data: bytes) -> Index:
    """Return the index in the bytes of a file, all of which are checked; ValueError names the part and its byte."""
    codec, metric, keep, start = _read_header(data)
    index = Index(codec, metric, keep)
    record, known = _read_record(data, start)
    last = start
    stays = np.empty(0, bool)
    while last.end < record.end:
        chunk = _read_chunk(data[: record.end], last) if known is None or last.end != known.after.end else known
        before = index.names
        stays = _add_chunk(index, chunk, stays)
        same_kind = (before is None) == (index.names is None)
        _check(same_kind or last == start, "chunk", last.end, "ids of another kind than those before")
        last = chunk.after
    _check(last[1:] == record[1:] and last.sequence <= record.sequence, "commit record", SECTOR, "contradiction")
    index.retain(stays)
    if index.names is not None and len(set(index.names)) < len(index.names):
        raise ValueError("a string id stands twice")
    return index


def _read_header(data: bytes) -> tuple[TurboQuant, str, str | None, Record]:
    """Return the codec, the metric, the form of originals, and the state of the file without any commit."""
    _check(data[:6] == MAGIC, "header", 0, "not an index file")
    _check(len(data) >= 3 * SECTOR, "header", len(data), "cut short")
    _, version, codec_len, codec_crc, metric, keep, zeros, crc = _HEADER.unpack_from(data)
    _check(version == VERSION, "header", 6, f"version {version}, this reader knows {VERSION}")
    _check(zlib.crc32(data[: _HEADER.size - 4]) == crc, "header", 0, "checksum")
    _check(metric < len(METRICS) and keep < len(KEEPS) and not any(zeros), "header", 20, "unknown fields")
    _check(not any(data[_HEADER.size : SECTOR]), "header", _HEADER.size, "padding")
    codec_at = 3 * SECTOR
    end = up(codec_at + codec_len)
    _check(len(data) >= end, "codec", len(data), "cut short")
    described = data[codec_at : codec_at + codec_len]
    _check(zlib.crc32(described) == codec_crc, "codec", codec_at, "checksum")
    _check(not any(data[codec_at + codec_len : end]), "codec", codec_at + codec_len, "padding")
    spec = Codes.from_bytes(described).spec
    return codec_of(spec), METRICS[metric], KEEPS[keep], Record(0, end, 0, crc)


def codec_of(spec: CodecSpec) -> TurboQuant:
    """Return the codec of a description."""
    if spec.fitted is None:
        options = {"seed": spec.seed, "rotation": spec.rotation, "scale": spec.scale, "refine": spec.refine}
        bits = spec.segments[0].bits if not spec.outliers else (spec.segments[0].bits, spec.segments[1].bits)
        return TurboQuant(spec.dim, bits, outliers=spec.outliers, **options)  # type: ignore[arg-type]
    fitted, dual = spec.fitted, spec.fitted.dual
    return FittedTurboQuant(
        fitted.center,
        fitted.transform,
        fitted.sigmas,
        [(s.dim, s.bits) for s in spec.segments],
        fitted.order,
        seed=spec.seed,
        scale=spec.scale,
        refine=spec.refine,
        dual=None if dual is None else dual.matrix,
        row_gains=None if dual is None else dual.row_gains,
        query_gains=None if dual is None else dual.query_gains,
    )


def _read_record(data: bytes, start: Record) -> tuple[Record, Chunk | None]:
    """Return up to where the file counts: where one record is damaged, up to the chunk behind the other."""
    records = [_record_at(data, number, start) for number in (0, 1)]
    even, odd = records
    if even is not None and odd is not None:
        _check(abs(even.sequence - odd.sequence) == 1, "commit records", SECTOR, "contradiction")
        return max(even, odd), None
    last = even or odd
    if last is None:
        raise ValueError(f"commit record, byte {SECTOR}: both are damaged")
    at = SECTOR * (2 - last.sequence % 2)
    try:
        chunk = _read_chunk(data, last)
    except ValueError as error:
        raise ValueError(f"commit record, byte {at}: damaged, and no whole chunk follows ({error})") from None
    _check(chunk.after.sequence == last.sequence + 1, "commit record", at, "damaged")
    return chunk.after, chunk


def _record_at(data: bytes, number: int, start: Record) -> Record | None:
    """Return commit record 0 or 1, None if it is damaged."""
    sector = data[SECTOR * (1 + number) :][:SECTOR]
    if not any(sector):
        return start if number == 0 else None
    sequence, end, rows, chain, zeros, crc = _RECORD.unpack_from(sector)
    right = zlib.crc32(sector[: _RECORD.size - 4]) == crc and not any(zeros) and not any(sector[_RECORD.size :])
    if not right or sequence < 1 or sequence % 2 != number or end < start.end:
        return None
    return Record(sequence, end, rows, chain)


def _read_chunk(data: bytes, last: Record) -> Chunk:
    """Return the chunk that follows on ``last``."""
    at = last.end
    _check(len(data) >= at + _HEAD.size, "chunk", len(data), "cut short")
    fields = _HEAD.unpack_from(data, at)
    magic, count, sequence, length, rows, before, plain, chain, ascending, largest = fields
    _check(magic == CHUNK_MAGIC, "chunk", at, "no chunk")
    table = at + _HEAD.size
    _check(len(data) >= table + count * _ENTRY.size, "chunk", len(data), "cut short")
    entries = [_ENTRY.unpack_from(data, table + i * _ENTRY.size) for i in range(count)]
    crcs_at = table + count * _ENTRY.size
    blocks = [-(-up(entry[5]) // BLOCK_BYTES) for entry in entries]
    end = crcs_at + 4 * sum(blocks)
    _check(len(data) >= up(end + 4), "chunk", len(data), "cut short")
    (crc,) = struct.unpack_from("<I", data, end)
    _check(zlib.crc32(data[at:end]) == crc, "chunk's head", at, "checksum")
    _check(not any(data[end + 4 : up(end + 4)]), "chunk's head", end + 4, "padding")
    follows = chain == last.chain and before == last.rows and sequence > last.sequence
    _check(follows and plain <= rows and ascending < 2, "chunk's head", at, "does not follow the one before it")
    _check(len(data) >= at + length, "chunk", len(data), "cut short")
    crcs = iter(struct.unpack_from(f"<{sum(blocks)}I", data, crcs_at))
    sections, place = [], up(end + 4)
    for kind, partition, stage, width, offset, size, zeros in entries:
        _check(at + offset == place and not any(zeros), "chunk's table", table, "sections do not follow one another")
        padded = data[place : place + up(size)]
        for first in range(0, len(padded), BLOCK_BYTES):
            right = zlib.crc32(padded[first : first + BLOCK_BYTES]) == next(crcs)
            _check(right, f"section {kind}", place + first, "checksum")
        sections.append(Section(kind, partition, stage, width, padded[:size]))
        place += up(size)
    _check(place == at + length, "chunk", at, "length")
    return Chunk(rows, plain, ascending == 1, largest, sections, Record(sequence, place, before + rows, crc))


def _add_chunk(index: Index, chunk: Chunk, stays: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Take the rows of a chunk into an index; return which rows are not gone after it."""
    sections = deque(chunk.sections)
    codec, first = index.codec, len(index.ids)
    kinds = [(codec, chunk.rows - chunk.plain)]
    if isinstance(codec, FittedTurboQuant) and codec.plain is not None:
        kinds.append((codec.plain, chunk.plain))
    elif chunk.plain:
        raise ValueError("a chunk has plain rows of a codec that has none")
    squares = np.empty(chunk.rows, np.float32)
    for partition, (codec, rows) in enumerate(kinds):
        if rows == 0:
            continue
        codes, own_squares, numbers = _read_partition(sections, partition, codec, rows, chunk.rows, index.metric)
        if own_squares is not None:
            squares[numbers] = own_squares
        index.append(codec, first + numbers, codes)
    ids = _numbers(_take(sections, IDS, 0, 0, 8), "<i8", chunk.rows) if chunk.rows else index.ids[:0]
    stays = np.concatenate([stays, np.ones(chunk.rows, bool)])
    if sections and sections[0].kind == GONE:
        content = _take(sections, GONE, 0, 0, 8)
        gone = _numbers(content, "<i8", len(content) // 8)
        if not len(gone) or gone[0] < 0 or gone[-1] >= len(stays) or (np.diff(gone) <= 0).any():
            raise ValueError("removed rows do not ascend")
        if not stays[gone].all():
            raise ValueError("removed rows were removed before")
        stays[gone] = False
    names = _read_names(sections, chunk.rows)
    index.names = None if names is None else (index.names or []) + names
    if index.keep is not None and chunk.rows:
        index.originals = np.concatenate([index.originals, _read_originals(sections, index, chunk.rows)])
    if sections:
        raise ValueError("a chunk has a section too many")
    if index.metric == "l2":
        index.squares = np.concatenate([index.squares, squares])
    index.ids = np.concatenate([index.ids, ids])
    if index.ids.max(initial=-1) > chunk.largest or (chunk.ascending and (np.diff(index.ids) <= 0).any()):
        raise ValueError("a chunk's head tells other ids than it has")
    return stays


def _read_names(sections: deque[Section], rows: int) -> list[str] | None:
    """Return the string ids of a chunk, None where ids are integers."""
    if not sections or sections[0].kind != NAME_ENDS:
        return None
    ends = _numbers(_take(sections, NAME_ENDS, 0, 0, 8), "<u8", rows)
    text = _take(sections, NAMES, 0, 0, 1)
    starts = np.concatenate([ends[:0], np.zeros(min(1, rows), ends.dtype), ends[:-1]])
    if (starts > ends).any() or int(ends[-1] if rows else 0) != len(text):
        raise ValueError("string ids do not end where they should")
    try:
        return [text[start:end].decode() for start, end in zip(starts, ends, strict=True)]
    except UnicodeDecodeError:
        raise ValueError("string ids are not UTF-8") from None


def _read_originals(sections: deque[Section], index: Index, rows: int) -> NDArray[np.float64]:
    """Return the kept rows of a chunk, as values that float64 holds exactly."""
    dim = index.codec.dim
    dtype = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "i1"}[index.keep or ""]
    content = _take(sections, ORIGINALS, 0, 0, dim * np.dtype(dtype).itemsize)
    values = _numbers(content, dtype, rows * dim).reshape(rows, dim)
    if index.keep == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    result: NDArray[np.float64] = values.astype(np.float64)
    if index.keep == "int8":
        scales = _numbers(_take(sections, ORIGINAL_SCALES, 0, 0, 4), "<f4", rows).astype(np.float64)
        if (values == -128).any() or not (np.isfinite(scales) & (scales >= 0)).all():
            raise ValueError("originals or their scales are out of range")
        result = result * scales[:, None]
    if not np.isfinite(result).all():
        raise ValueError("originals are not finite")
    return result


def _read_partition(
    sections: deque[Section], partition: int, codec: TurboQuant, rows: int, all_rows: int, metric: str
) -> tuple[Codes, NDArray[np.float32] | None, NDArray[np.int64]]:
    """Return the codes of a partition, squared norms with metric l2, and the numbers of its rows in the chunk."""
    spec = codec.spec
    parts, sizes = [], stage_sizes(codec)
    staged = has_first_stage(codec)
    fitted = spec.fitted is not None
    bounds = FITTED_BOUNDS if fitted else BOUNDS
    if staged and fitted and any((s.kind, s.partition) == (BOUNDS, partition) for s in sections):
        # As files held fitted codes before, with a first stage of other bytes or other bounds.
        bounds, sizes = BOUNDS, [sections[0].width, sum(sizes) - sections[0].width]
    # Codes of 1 bit are in blocks as first stages are, but for files from before they were.
    whole = not fitted and len(spec.segments) == 1 and spec.segments[0].bits == 1
    in_blocks = staged or (whole and bool(sections) and sections[0].kind != STAGE)
    if in_blocks:
        size = sizes[0]
        kind = LONG_BLOCKS if sections and sections[0].kind == LONG_BLOCKS else BLOCKS
        length = BLOCK_ROWS[kind]
        blocks = -(-rows // length)
        content = _take(sections, kind, partition, 0, size)
        columns = _numbers(content, "u1", blocks * size * length).reshape(blocks, size, length)
        parts.append(columns.transpose(0, 2, 1).reshape(-1, size)[:rows])
    for stage, size in list(enumerate(sizes))[int(in_blocks) :]:
        parts.append(_numbers(_take(sections, STAGE, partition, stage, size), "u1", rows * size).reshape(rows, size))
    if staged:
        # They follow from the codes, so this reader has no use for them.
        _numbers(_take(sections, bounds, partition, 0, 4), "<u4", rows)
    norms = spec.norms
    scales = _numbers(_take(sections, SCALES, partition, 0, 4 * norms), "<f4", rows * norms).reshape(rows, norms)
    squares = _numbers(_take(sections, SQUARES, partition, 0, 4), "<f4", rows) if metric == "l2" else None
    numbers: NDArray[np.int64] = np.arange(rows, dtype=np.int64)
    if rows < all_rows:
        numbers = _numbers(_take(sections, NUMBERS, partition, 0, 8), "<i8", rows)
        if (np.diff(numbers) <= 0).any() or numbers[0] < 0 or numbers[-1] >= all_rows:
            raise ValueError("row numbers do not ascend")
    if not np.isfinite(scales).all() or (squares is not None and not (np.isfinite(squares) & (squares >= 0)).all()):
        raise ValueError("scales or squared norms are not finite")
    return Codes(np.concatenate(parts, axis=1), scales, spec, spec.full), squares, numbers


def stage_sizes(codec: TurboQuant) -> list[int]:
    """Return the bytes of every stage of a row, one after another in it.

    >>> stage_sizes(TurboQuant(16, bits=4))
    [2, 2, 4]
    """
    spec = codec.spec
    if spec.fitted is None:
        # The stages of a split codec hold those of both segments.
        sizes = [0] * max(len(stage_ends(segment.bits)) for segment in spec.segments)
        for segment in spec.segments:
            ends = [row_bytes(segment.dim, segment.bits, end) for end in stage_ends(segment.bits)]
            for stage, size in enumerate(np.diff([0, *ends])):
                sizes[stage] += int(size)
        return sizes
    whole = spec.row_bytes(spec.full)
    if not has_first_stage(codec):
        return [whole]
    first = stage_bytes(codec)
    return [first, whole - first]


def _take(sections: deque[Section], kind: int, partition: int, stage: int, width: int) -> bytes:
    """Return the content of the next section, which must be this one."""
    section = sections.popleft() if sections else None
    expected = (kind, partition, stage, width)
    if section is None or (section.kind, section.partition, section.stage, section.width) != expected:
        raise ValueError(f"section {expected} expected, got {section}")
    return section.content


def _numbers(content: bytes, dtype: str, count: int) -> NDArray[Any]:
    values = np.frombuffer(content, dtype)
    if len(values) != count:
        raise ValueError(f"{count} values expected, got {len(values)}")
    return values.astype(values.dtype.newbyteorder("="))


def _check(condition: bool, part: str, at: int, what: str) -> None:
    if not condition:
        raise ValueError(f"{part}, byte {at}: {what}")
