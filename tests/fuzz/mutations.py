"""Real files, spoilt: each number makes the same input each time."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

LARGEST_BYTES = 1_500_000
NASTY = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xfe\xff\xff\xff", b"\x01\0\0\0")


@dataclass(frozen=True)
class Spoilt:
    """One input: where it came from, what was done to it, its bytes."""

    source: str
    done: tuple[str, ...]
    data: bytes


def sources(folder: Path) -> list[Path]:
    """Real DICOM and NIfTI files that are small enough to be read thousands of times; of each folder a few."""
    found: list[Path] = []
    for place in sorted({path.parent for path in folder.rglob("*") if path.is_file()}):
        files = sorted(path for path in place.iterdir() if path.is_file() and _is_wanted(path))
        found += files[:: max(1, len(files) // 3)][:3]
    return found


def _is_wanted(path: Path) -> bool:
    if path.stat().st_size > LARGEST_BYTES:
        return False
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or path.name.endswith((".nii", ".nii.gz"))


def spoil(files: list[Path], number: int) -> Spoilt:
    """The input of this number."""
    chance = random.Random(number)
    path = chance.choice(files)
    data = path.read_bytes()
    if path.name.endswith(".gz") and chance.random() < 0.7:
        data = gzip.decompress(data)
    done = []
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        change = chance.choice(CHANGES)
        data = change(data, chance, files)
        done.append(change.__name__.strip("_"))
    if chance.random() < 0.1:
        data = _packed(data, chance)
        done.append("packed")
    return Spoilt(path.name, tuple(done), data)


def _flip_bits(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 4, 32))):
        if changed:
            changed[_place(changed, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _nasty_number(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(NASTY) + data[at + 4 :]


def _cut_off(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    return data[: _place(data, chance)]


def _cut_out(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 8, 512)) :]


def _repeat(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    at, length = _place(data, chance), chance.choice((1, 8, 64, 4096))
    return data[:at] + data[at : at + length] * chance.choice((2, 50)) + data[at:]


def _insert_noise(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.randbytes(chance.choice((1, 16, 1024))) + data[at:]


def _splice(data: bytes, chance: random.Random, files: list[Path]) -> bytes:
    other = chance.choice(files).read_bytes()
    return data[: _place(data, chance)] + other[_place(other, chance) :]


def _nest_sequences(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    """Explicit-VR sequences within one another, deeper than any parser's stack likes; of undefined length."""
    at = _element(data, chance)
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return data[:at] + opened * chance.choice((3, 200, 3000)) + data[at:]


def _change_element(data: bytes, chance: random.Random, _files: list[Path]) -> bytes:
    """Another VR or length at the begin of what looks like a DICOM element."""
    at = _element(data, chance)
    if chance.random() < 0.5:
        return data[: at + 4] + chance.choice((b"SQ", b"UN", b"OB", b"US", b"PN", b"\0\0", b"DS")) + data[at + 6 :]
    return data[: at + 6] + struct.pack("<H", chance.choice((0, 1, 0xFFFF, 0x7FFF))) + data[at + 8 :]


BYTE_CHANGES = (_flip_bits, _nasty_number, _cut_off, _cut_out, _repeat, _insert_noise)
"""Those that need neither other files nor DICOM elements."""
CHANGES = (
    _flip_bits,
    _nasty_number,
    _cut_off,
    _cut_out,
    _repeat,
    _insert_noise,
    _splice,
    _nest_sequences,
    _change_element,
    _change_element,
)


def _place(data: bytes | bytearray, chance: random.Random) -> int:
    """Somewhere: three times of four among the headers, where parsers decide."""
    longest = len(data) if chance.random() < 0.25 else min(len(data), 4096)
    return chance.randrange(longest) if longest else 0


def _element(data: bytes, chance: random.Random) -> int:
    """Where some VR stands, four bytes earlier; anywhere if there is none."""
    start = _place(data, chance)
    for vr in chance.sample((b"UI", b"LO", b"DS", b"IS", b"US", b"CS", b"SQ", b"PN"), 8):
        found = data.find(vr, start)
        if found >= 4:
            return found - 4
    return start


def _packed(data: bytes, chance: random.Random) -> bytes:
    """As an archive, itself spoilt now and then."""
    whole = io.BytesIO()
    if chance.random() < 0.5:
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a/1.dcm", data)
    else:
        with tarfile.open(fileobj=whole, mode="w:gz") as packed_tar:
            entry = tarfile.TarInfo("a/1.dcm")
            entry.size = len(data)
            packed_tar.addfile(entry, io.BytesIO(data))
    result = whole.getvalue()
    return _flip_bits(result, chance, []) if chance.random() < 0.7 else result
