"""Damaged bytes: every flipped bit, cut and insertion is reported with section and offset before anything uses it."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turboquant_rs import Codes, CorruptError, Index, TurboQuant

#: A message says what is damaged and where, or that the version is another one.
MESSAGE = re.compile(
    r"^damaged code bytes: .*(header|padding|packed codes|scales|TQCODE|bytes expected).* byte \d+( of .*)?$"
    r"|^(.*: )?code bytes have format version \d+, this build reads version \d+; update turboquant-rs$"
)


def sample(n: int = 3, dim: int = 13, bits: int = 3) -> bytes:
    """Return the bytes of a few codes, with padding after every section."""
    return TurboQuant(dim, bits, seed=9).encode(np.random.default_rng(n).standard_normal((n, dim))).to_bytes()


def assert_refused(data: bytes) -> str:
    """Assert that the bytes are refused as they must be; return the message."""
    with pytest.raises(CorruptError) as caught:
        Codes.from_bytes(data)
    text = str(caught.value)
    assert MESSAGE.match(text), text
    return text


def assert_file_refused(path: Path, data: bytes, *, mmap: bool) -> str:
    path.write_bytes(data)
    with pytest.raises(CorruptError) as caught:
        Codes.load(path, mmap=mmap)
    text = str(caught.value)
    assert MESSAGE.match(text), text
    return text


def flips(data: bytes) -> list[bytes]:
    """Return the bytes with each bit flipped in turn."""
    result = []
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            result.append(bytes(damaged))
    return result


def test_the_error_is_a_value_error() -> None:
    assert issubclass(CorruptError, ValueError)
    assert CorruptError.__module__ == "turboquant_rs"


def test_the_sample_is_sound() -> None:
    data = sample()
    assert Codes.from_bytes(data).to_bytes() == data
    packed = 3 * (2 + 4)
    assert len(data) == 64 + 64 + 3 * 4, "header, packed rows with padding, scales"
    assert any(data[64 : 64 + packed])
    assert not any(data[64 + packed : 128])


def test_every_flipped_bit_of_bytes() -> None:
    for damaged in flips(sample()):
        assert_refused(damaged)


@pytest.mark.parametrize("mmap", [False, True])
def test_every_flipped_bit_of_a_file(tmp_path: Path, mmap: bool) -> None:
    """With ``verify``, the default, a file is checked as bytes are: padding too."""
    for at, damaged in enumerate(flips(sample())):
        try:
            assert_file_refused(tmp_path / "damaged.tq", damaged, mmap=mmap)
        except BaseException as error:
            raise AssertionError(f"byte {at // 8}, bit {at % 8}") from error


def test_every_truncation(tmp_path: Path) -> None:
    data = sample()
    for length in range(len(data)):
        assert_refused(data[:length])
        assert_file_refused(tmp_path / "damaged.tq", data[:length], mmap=length % 2 == 0)


def test_every_insertion_and_deletion(tmp_path: Path) -> None:
    data = sample()
    for at in range(len(data) + 1):
        for extra in (b"\0", b"\xff", b"T"):
            assert_refused(data[:at] + extra + data[at:])
        if at < len(data):
            assert_refused(data[:at] + data[at + 1 :])
    for extra in (b"\0", b"\0" * 64, b"TQCODE", data):
        assert_refused(data + extra)
        assert_file_refused(tmp_path / "damaged.tq", data + extra, mmap=True)


def test_sections_and_offsets_are_named() -> None:
    data = sample()

    def flip(at: int) -> bytes:
        damaged = bytearray(data)
        damaged[at] ^= 1
        return bytes(damaged)

    assert "the first bytes must be TQCODE) at byte 0" in assert_refused(flip(2))
    assert "header fails its checksum at byte 56" in assert_refused(flip(33))
    assert "header's padding is not zero at byte 61" in assert_refused(flip(61))
    assert "packed codes fail their checksum, section starts at byte 64" in assert_refused(flip(70))
    assert "padding is not zero at byte 100" in assert_refused(flip(100))
    assert "scales fail their checksum, section starts at byte 128" in assert_refused(flip(130))
    assert "140 bytes expected, cut short at byte 139" in assert_refused(data[:139])
    assert "140 bytes expected, more follow at byte 140" in assert_refused(data + b"\0")
    assert "header is cut short at byte 63" in assert_refused(data[:63])
    assert "TQCODE" in assert_refused(b"")
    assert "TQCODE" in assert_refused(b"\x93NUMPY" + data[6:])


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.tqi"
    Index(8).save(path)
    for load in (Codes.load, TurboQuant.load):
        path.write_bytes(b"hello")
        with pytest.raises(
            CorruptError, match=rf"the first bytes must be TQCODE\) at byte 0 of {re.escape(str(path))}$"
        ):
            load(path)
        Index(8).save(path)
        with pytest.raises(CorruptError, match=rf"^{re.escape(str(path))} is an index file, .* Index.open reads it$"):
            load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_sections_of_files_are_named(tmp_path: Path, mmap: bool) -> None:
    for at, text in (
        (70, "packed codes fail their checksum, section starts at byte 64"),
        (130, "scales fail their checksum, section starts at byte 128"),
        (33, "header fails its checksum at byte 56"),
    ):
        damaged = bytearray(sample())
        damaged[at] ^= 1
        assert text in assert_file_refused(tmp_path / "damaged.tq", bytes(damaged), mmap=mmap)


def reseal(data: bytes, at: int, value: bytes) -> bytes:
    """Return the bytes with a header field replaced and the header's checksum made to fit."""
    damaged = bytearray(data)
    damaged[at : at + len(value)] = value
    damaged[56:60] = struct.pack("<I", zlib.crc32(damaged[:56]))
    return bytes(damaged)


def test_a_newer_version() -> None:
    for version in (2, 3, 255, 65_535):
        newer = reseal(sample(), 6, struct.pack("<H", version))
        text = f"code bytes have format version {version}, this build reads version 1; update turboquant-rs"
        assert assert_refused(newer) == text


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (8, struct.pack("<Q", 1)),  # fingerprint
        (16, struct.pack("<Q", 4)),  # rows
        (16, struct.pack("<Q", 2)),
        (16, struct.pack("<Q", 0)),
        (16, struct.pack("<Q", 2**64 - 1)),
        (16, struct.pack("<Q", 2**63)),
        (16, struct.pack("<Q", 2**58)),
        (24, struct.pack("<I", 14)),  # dim
        (24, struct.pack("<I", 0)),
        (24, struct.pack("<I", 2**32 - 1)),
        (28, b"\x01"),  # scale
        (28, b"\x04"),
        (29, b"\x07"),  # refine
        (30, b"\x01"),  # rotation
        (31, b"\x00"),  # segments
        (31, b"\x02"),
        (31, b"\xff"),
        (32, struct.pack("<Q", 10)),  # seed
        (40, struct.pack("<I", 14)),  # the segment's dim
        (40, struct.pack("<I", 0)),
        (40, struct.pack("<I", 65_537)),
        (40, struct.pack("<I", 2**32 - 1)),
        (44, b"\x00"),  # its bits
        (44, b"\x04"),
        (44, b"\x09"),
        (45, b"\x00"),  # bits kept
        (45, b"\x01"),
        (45, b"\x02"),
        (45, b"\x04"),
        (46, b"\x01"),  # reserved
        (47, b"\x80"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else value.hex(),
)
def test_headers_of_a_faulty_writer(tmp_path: Path, at: int, value: bytes) -> None:
    """A header that contradicts itself under a checksum that fits: still refused, never read beyond the bytes."""
    damaged = reseal(sample(), at, value)
    assert_refused(damaged)
    assert_file_refused(tmp_path / "damaged.tq", damaged, mmap=True)


@given(data=st.data(), n=st.integers(0, 5), dim=st.integers(1, 70), bits=st.integers(1, 8))
def test_random_damage(data: st.DataObject, n: int, dim: int, bits: int) -> None:
    sound = sample(n, dim, bits)
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["set", "delete", "insert", "swap", "zero"]))
        at = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        other = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        low, high = min(at, other), max(at, other)
        if kind == "set" and damaged:
            damaged[at] = data.draw(st.integers(0, 255))
        elif kind == "delete":
            del damaged[low:high]
        elif kind == "insert":
            damaged[at:at] = data.draw(st.binary(max_size=70))
        elif kind == "swap":
            damaged[low:high] = damaged[low:high][::-1]
        elif kind == "zero":
            damaged[low:high] = bytes(high - low)
    if bytes(damaged) != sound:
        assert_refused(bytes(damaged))


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    assert_refused(data)
    assert_refused(b"TQCODE\0\0" + data)


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Codes.load(tmp_path / "none.tq")
    with pytest.raises(IsADirectoryError):
        Codes.load(tmp_path)
    (tmp_path / "empty.tq").touch()
    with pytest.raises(CorruptError, match="TQCODE"):
        Codes.load(tmp_path / "empty.tq", mmap=True)


@pytest.mark.parametrize("value", ["text", 5, None, ["a"]])
def test_what_is_no_bytes(value: object) -> None:
    with pytest.raises(TypeError, match=r"^data must be bytes"):
        Codes.from_bytes(value)  # type: ignore[arg-type]


def test_without_verify_a_section_is_taken_as_it_is(tmp_path: Path) -> None:
    """What ``verify=False`` skips is the sections' checksums; the header and the length are checked all the same."""
    data = bytearray(sample())
    data[64] ^= 1
    path = tmp_path / "codes.tq"
    path.write_bytes(data)
    loaded = Codes.load(path, verify=False)
    assert loaded.packed[0, 0] == data[64]
    for damaged in (bytes(data[:-1]), bytes(data) + b"\0", bytes(data[:33]) + b"\xff" + bytes(data[34:])):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError):
            Codes.load(path, verify=False)
