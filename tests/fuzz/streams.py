"""Associations as real senders open them, recorded byte for byte, and spoilt: each number makes the same stream each time."""

import random
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    MRImageStorage,
    StorageCommitmentPushModel,
    Verification,
)

from fuzz.mutations import NASTY
from rig.service.arriving import saved, slices

CALLING = "SCANNER"
LARGEST_BYTES = 400_000
PIECE_BYTES = 65536
Pdus = list[bytes]
PdusChange = Callable[[Pdus, random.Random, Sequence[Pdus]], Pdus]


@dataclass(frozen=True)
class Spoilt:
    """One input: which recording, what was done to it, its bytes, and how the sender behaves."""

    source: str
    done: tuple[str, ...]
    data: bytes
    piece_bytes: int
    ending: str  # "closes", "resets" or "is silent"


# --- recordings ---------------------------------------------------------------------------------------------------------


@contextmanager
def tapped(port: int) -> Iterator[tuple[int, list[bytearray]]]:
    """A port that leads to ``port``, and what was sent through it, association by association."""
    sent: list[bytearray] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_tap, args=(listening, port, sent), daemon=True).start()
        yield int(listening.getsockname()[1]), sent


def _tap(listening: socket.socket, port: int, sent: list[bytearray]) -> None:
    with suppress(OSError):  # closed: that is the end
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port))
            sent.append(bytearray())
            threading.Thread(target=_pass, args=(near, far, sent[-1]), daemon=True).start()
            threading.Thread(target=_pass, args=(far, near, bytearray()), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            kept += piece
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


def record(port: int, folder: Path, data: Path | None = None) -> dict[str, Pdus]:
    """Let real senders speak to the listener at ``port``; what each of them said, in PDUs.

    With ``data``, compressed images of the sample data are sent, too.
    """
    files = [saved(one) for one in slices(3, series="fuzz", StudyInstanceUID="1.2.826.0.1.3680043.8.498.77")]
    found = {}
    for name, send in _senders(folder, files, data).items():
        with tapped(port) as (tap, sent):
            send(tap)
            found[name] = pdus_of(bytes(sent[-1]))
    return found


def _senders(folder: Path, files: list[bytes], data: Path | None) -> dict[str, Callable[[int], None]]:
    paths = []
    for number, file in enumerate(files):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(file)
    senders = {"pynetdicom C-ECHO": _echo, "pynetdicom C-STORE": lambda port: _store(port, *paths)}
    senders["pynetdicom N-EVENT-REPORT"] = _report
    if shutil.which("/usr/bin/storescu"):
        senders["dcmtk C-ECHO"] = lambda port: _dcmtk("echoscu", port)
        for option in ("-xi", "-xe", "-xb", "-xd"):
            senders[f"dcmtk C-STORE {option}"] = lambda port, option=option: _dcmtk("storescu", port, option, *paths)
    for path in sorted((data / "dicom" / "fragments").rglob("*.dcm")) if data else ():
        if path.stat().st_size < LARGEST_BYTES and (syntax := dcmread(path).file_meta.TransferSyntaxUID).is_compressed:
            senders.setdefault(f"pynetdicom C-STORE {syntax.name}", lambda port, path=path: _store(port, path))
    return senders


def _dcmtk(program: str, port: int, *words: str | Path) -> None:
    command = [f"/usr/bin/{program}", "-aet", CALLING, "-aec", "MED3D", *words[:1], "127.0.0.1", str(port), *words[1:]]
    subprocess.run(command, capture_output=True, check=False, timeout=60)


def _echo(port: int) -> None:
    entity = AE(ae_title=CALLING)
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port)
    association.send_c_echo()
    association.release()


def _store(port: int, *paths: Path) -> None:
    entity = AE(ae_title=CALLING)
    datasets = [dcmread(path) for path in paths]
    entity.add_requested_context(datasets[0].SOPClassUID, datasets[0].file_meta.TransferSyntaxUID)
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port)
    for dataset in datasets:
        association.send_c_store(dataset)
    association.release()


def _report(port: int) -> None:
    """As an archive reports what it has committed itself to keep."""
    report, item = Dataset(), Dataset()
    report.TransactionUID = "1.2.826.0.1.3680043.8.498.78"
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, "1.2.826.0.1.3680043.8.498.79"
    report.ReferencedSOPSequence = [item]
    entity = AE(ae_title=CALLING)
    entity.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    association = entity.associate("127.0.0.1", port, ext_neg=roles)
    association.send_n_event_report(report, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    association.release()


def pdus_of(stream: bytes) -> Pdus:
    """Cut a stream at the lengths that its PDUs state."""
    found, at = [], 0
    while at < len(stream):
        end = at + 6 + int.from_bytes(stream[at + 2 : at + 6])
        found.append(stream[at:end])
        at = end
    return found


# --- spoiling -----------------------------------------------------------------------------------------------------------


def spoil(recorded: dict[str, Pdus], number: int) -> Spoilt:
    """The input of this number."""
    chance = random.Random(number)
    name = chance.choice(sorted(recorded))
    pdus, others, done = list(recorded[name]), [recorded[one] for one in sorted(recorded)], []
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        change = chance.choice(CHANGES)
        if pdus:
            pdus = change(pdus, chance, others)
        done.append(change.__name__.strip("_"))
    data = b"".join(pdus)
    ending = chance.choices(("closes", "resets", "is silent"), (90, 8, 2))[0]
    return Spoilt(name, tuple(done), data, chance.choice((1, 7, 4096, PIECE_BYTES)), ending)


def _flip_bits(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    def flipped(pdu: bytes) -> bytes:
        changed = bytearray(pdu)
        for _ in range(chance.choice((1, 4, 32))):
            changed[_place(pdu, chance)] ^= 1 << chance.randrange(8)
        return bytes(changed)

    return _with_one(pdus, chance, flipped)


def _nasty_number(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    def changed(pdu: bytes) -> bytes:
        at = _place(pdu, chance)
        return pdu[:at] + chance.choice(NASTY) + pdu[at + 4 :]

    return _with_one(pdus, chance, changed)


def _cut_off(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    at = chance.randrange(len(pdus))
    return [*pdus[:at], pdus[at][: _place(pdus[at], chance)]]


def _cut_out(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    def cut(pdu: bytes) -> bytes:
        at = _place(pdu, chance)
        return pdu[:at] + pdu[at + chance.choice((1, 2, 8, 512)) :]

    return _with_one(pdus, chance, cut)


def _lie_about_the_pdu(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """Another length of the PDU: much too long, none, or a little off."""

    def lied(pdu: bytes) -> bytes:
        true = max(0, len(pdu) - 6)
        lengths = (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 1024 * 1024, 1024 * 1024 + 1, true + 1, true - 1, true * 2)
        return pdu[:2] + struct.pack(">I", chance.choice(lengths) % 2**32) + pdu[6:]

    return _with_one(pdus, chance, lied)


def _lie_about_the_fragment(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """Another length, presentation context or control header of a presentation data value."""

    def lied(pdu: bytes) -> bytes:
        length = int.from_bytes(pdu[6:10])
        match chance.randrange(3):
            case 0:
                wrong = chance.choice((0, 1, 2, length + 1, length - 1, 0xFFFFFFFF, 0x7FFFFFFF))
                return pdu[:6] + struct.pack(">I", wrong % 2**32) + pdu[10:]
            case 1:
                return pdu[:10] + bytes([chance.choice((0, 2, 7, 253, 255))]) + pdu[11:]
            case _:
                return pdu[:11] + bytes([chance.randrange(256)]) + pdu[12:]

    return _with_one(pdus, chance, lied)


def _shuffle(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """PDUs in another order, the request for the association mostly still the first."""
    first = 0 if chance.random() < 0.2 else 1
    rest = pdus[first:]
    chance.shuffle(rest)
    return pdus[:first] + rest


def _drop(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    at = chance.randrange(len(pdus))
    return pdus[:at] + pdus[at + 1 :]


def _repeat(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    at = chance.randrange(len(pdus))
    return pdus[:at] + [pdus[at]] * chance.choice((2, 2, 50)) + pdus[at + 1 :]


def _other_kind(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    return _with_one(pdus, chance, lambda pdu: bytes([chance.randrange(12)]) + pdu[1:])


def _splice(pdus: Pdus, chance: random.Random, others: Sequence[Pdus]) -> Pdus:
    """Go on as another sender does, whose presentation contexts are not those that were agreed on."""
    other = chance.choice(others)
    return pdus[: chance.randrange(len(pdus)) + 1] + other[chance.randrange(len(other)) :]


def _break_up(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """A data PDU as many of a few bytes each, all of them said to be the last or none."""
    at = chance.randrange(len(pdus))
    pdu, size, control = pdus[at], chance.choice((1, 2, 100)), chance.randrange(4)
    if pdu[:1] != b"\x04" or len(pdu) < 13:
        return pdus
    pieces = [pdu[12:][start : start + size] for start in range(0, min(len(pdu) - 12, 2000), size)]
    return [*pdus[:at], *(_data(pdu[10], control, piece) for piece in pieces), *pdus[at + 1 :]]


def _endless_command(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """A command set that does not come to its end."""
    return [*pdus[:1], *[_data(1, 1, chance.randbytes(16_000))] * 8, *pdus[1:]]


def _other_command(pdus: Pdus, chance: random.Random, _others: Sequence[Pdus]) -> Pdus:
    """Another command field, status, message id or kind of data set in a command set."""

    def changed(pdu: bytes) -> bytes:
        element = bytes((0, 0, *chance.choice(((0x00, 0x01), (0x10, 0x01), (0x00, 0x08), (0x02, 0x10), (0x00, 0x10)))))
        at = pdu.find(element, 12)
        if at < 0:
            return pdu
        value = struct.pack("<H", chance.choice((1, 0x30, 0x100, 0x0FFF, 0x8001, 0x20, 0x101, 0, 0xFFFF)))
        return pdu[: at + 8] + value + pdu[at + 10 :]

    return _with_one(pdus, chance, changed)


CHANGES: tuple[PdusChange, ...] = (
    _flip_bits,
    _flip_bits,
    _nasty_number,
    _cut_off,
    _cut_out,
    _lie_about_the_pdu,
    _lie_about_the_fragment,
    _lie_about_the_fragment,
    _shuffle,
    _drop,
    _repeat,
    _other_kind,
    _splice,
    _break_up,
    _endless_command,
    _other_command,
    _other_command,
)


def _with_one(pdus: Pdus, chance: random.Random, change: Callable[[bytes], bytes]) -> Pdus:
    at = chance.randrange(len(pdus))
    return [*pdus[:at], change(pdus[at]) if len(pdus[at]) > 12 else pdus[at], *pdus[at + 1 :]]


def _place(data: bytes, chance: random.Random) -> int:
    """Somewhere: three times of four among the first bytes, where parsers decide."""
    return chance.randrange(len(data) if chance.random() < 0.25 else min(len(data), 400)) if data else 0


def _data(context_id: int, control: int, value: bytes) -> bytes:
    return struct.pack(">BxIIBB", 4, len(value) + 6, len(value) + 2, context_id, control) + value
