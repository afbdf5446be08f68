"""What earlier releases left behind, made as they made it."""

import hashlib
import hmac
import io
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydicom import Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import Connection, MetaData, insert, update

from med3d_service.results.kinds import Kind, object_uid
from med3d_service.storage.keys import derive


def sealed_nameless(path: Path, plaintext: bytes, key: bytes) -> None:
    """Seal a file as releases up to 0.2.0 did: in one chunk, bound to no name."""
    salt = os.urandom(16)
    nonce = (0).to_bytes(11, "big") + b"\1"
    chunk = AESGCM(derive(key, "sealed-file", salt)).encrypt(nonce, plaintext, b"M3DSEAL1")
    path.write_bytes(b"M3DSEAL1" + salt + chunk)


def sha256(content: bytes | str) -> str:
    """In lower-case hex, as rows have it."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def report_of(run_id: str) -> bytes:
    """Make a file that says whose it is, as each DICOM object of ours does."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", object_uid(run_id, Kind.SR)
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def trail_of_0_2_0(connection: Connection, found: MetaData, key: bytes, entries: int) -> None:
    """Leave a trail of so many entries, and its head sealed as 0.2.0 did."""
    mac = ""
    for seq in range(1, entries + 1):
        said = [mac, seq, float(seq), "key", "abcdefgh", "admin", "10.0.0.1", "read", "done", "study", "s", "{}"]
        mac = _hmac(key, ["entry", *said])
        names = [
            "seq",
            "at",
            "actor_kind",
            "actor",
            "role",
            "address",
            "action",
            "outcome",
            "object_kind",
            "object_id",
            "detail",
        ]
        row = dict(zip(names, said[1:], strict=True)) | {"mac": mac}
        connection.execute(insert(found.tables["audit_trail"]).values(row))
    head = {"first_seq": 1, "first_mac": "", "last_seq": entries, "last_mac": mac}
    seal = _hmac(key, ["head", *head.values()])
    connection.execute(update(found.tables["audit_head"]).values(head | {"seal": seal, "forwarded_seq": 2}))


def _hmac(key: bytes, values: list[object]) -> str:
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
