"""Sealed originals: what was written comes back, and nothing else does."""

import hashlib
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from med3d_service.storage import sealed
from med3d_service.storage.sealed import (
    CHUNK_BYTES,
    NAMELESS_MAGIC,
    ObjectName,
    SealBrokenError,
    SealedReader,
    SealedWriter,
)
from rig.service.earlier import sealed_nameless

KEY = b"k" * 32


NAME = ObjectName("original", "originals/1", "here")


def seal(path, *pieces, key=KEY):
    path.unlink(missing_ok=True)
    writer = SealedWriter(path, key, NAME)
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return writer


def unseal(path, key=KEY, name=NAME, sha256=None):
    with SealedReader(path, key, name, sha256) as reader:
        return io.BufferedReader(reader).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_files_of_every_length_come_back(tmp_path, size):
    data = bytes(index % 251 for index in range(size))
    assert seal(tmp_path / "x", data).size_bytes == size
    assert unseal(tmp_path / "x") == data


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, 3 * CHUNK_BYTES), length=st.integers(0, 2 * CHUNK_BYTES))
def test_any_place_can_be_read(tmp_path, offset, length):
    data = b"".join(number.to_bytes(4, "big") for number in range(5 * CHUNK_BYTES // 8))
    if not (tmp_path / "x").exists():
        seal(tmp_path / "x", data[:1000], data[1000:])
    with SealedReader(tmp_path / "x", KEY, NAME, None) as reader:
        buffered = io.BufferedReader(reader)
        buffered.seek(offset)
        assert buffered.read(length) == data[offset : offset + length]


def test_the_plaintext_is_not_on_the_disk_and_the_same_file_never_looks_the_same(tmp_path):
    seal(tmp_path / "a", b"SECRET" * 100)
    seal(tmp_path / "b", b"SECRET" * 100)
    first, second = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    assert b"SECRET" not in first
    assert first != second
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def chunks_swapped(data):
    first, second = sealed.HEADER_BYTES, sealed.HEADER_BYTES + CHUNK_BYTES + sealed.TAG_BYTES
    end = second + CHUNK_BYTES + sealed.TAG_BYTES
    return data[:first] + data[second:end] + data[first:second] + data[end:]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda data: data[:-1],
        lambda data: data[: sealed.HEADER_BYTES + CHUNK_BYTES + sealed.TAG_BYTES],
        lambda data: data + b"\0",
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:10] + bytes([data[10] ^ 1]) + data[11:],
        chunks_swapped,
        lambda _: b"",
        lambda _: b"no sealed file",
    ],
    ids=["cut", "last chunks dropped", "longer", "a bit turned", "salt turned", "chunks swapped", "empty", "alien"],
)
def test_a_file_that_was_changed_is_not_read(tmp_path, tamper):
    seal(tmp_path / "x", bytes(3 * CHUNK_BYTES))
    (tmp_path / "x").write_bytes(tamper((tmp_path / "x").read_bytes()))
    with pytest.raises(SealBrokenError):
        unseal(tmp_path / "x")


def test_another_key_opens_nothing(tmp_path):
    seal(tmp_path / "x", b"data")
    with pytest.raises(SealBrokenError):
        unseal(tmp_path / "x", b"l" * 32)


def test_a_file_on_a_full_disk_is_removed_though_closing_it_fails(tmp_path):
    path = tmp_path / "original"
    path.symlink_to("/dev/full")
    writer = SealedWriter(path, KEY, NAME, flags=0)
    writer.write(b"what still waits in the buffer")
    writer.discard()
    assert not path.is_symlink()


# --- under its own name ---


@pytest.mark.parametrize(
    "other",
    [
        ObjectName("original", "originals/2", "here"),
        ObjectName("report", "originals/1", "here"),
        ObjectName("original", "originals/1", "there"),
    ],
    ids=["another object", "another kind", "another site"],
)
def test_a_file_opens_under_no_name_but_its_own(tmp_path, other):
    sha256 = seal(tmp_path / "x", b"data").sha256
    assert unseal(tmp_path / "x", sha256=sha256) == b"data"
    with pytest.raises(SealBrokenError):
        unseal(tmp_path / "x", name=other)
    with pytest.raises(SealBrokenError):
        unseal(tmp_path / "x", name=other, sha256=sha256)


def test_a_file_that_is_not_the_recorded_one_is_not_read_though_its_name_fits(tmp_path):
    earlier = seal(tmp_path / "x", b"an earlier state").sha256
    seal(tmp_path / "x", b"data")
    with pytest.raises(SealBrokenError, match="not the file that was recorded"):
        unseal(tmp_path / "x", sha256=earlier)


def test_a_file_of_the_first_format_is_read_by_its_recorded_digest_alone(tmp_path):
    sealed_nameless(tmp_path / "x", b"old data", KEY)
    sha256 = hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()
    assert (tmp_path / "x").read_bytes().startswith(NAMELESS_MAGIC)
    assert unseal(tmp_path / "x", sha256=sha256) == b"old data"
    for told in (None, "0" * 64):
        with pytest.raises(SealBrokenError):
            unseal(tmp_path / "x", sha256=told)
