"""Compares an instance with those of its UID: other pixels, or the same of a patient who was corrected."""

import hashlib
import io
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.sealed import SealBrokenError, SealedReader
from med3d_service.studies.arrivals.entries import Entry, Rival
from med3d_service.studies.dicom_instances.instance_headers import (
    HEAD_BYTES,
    InstanceHeaders,
    InstanceRefused,
    read_headers,
    skip_to_pixels,
)
from med3d_service.studies.original_names import original_key, original_name
from med3d_service.studies.working_copy.attributes import MALFORMED
from med3d_store.object_store import ObjectMissingError, ObjectStore

_NOT_TO_BE_READ = (InstanceRefused, SealBrokenError, ObjectMissingError, FileNotFoundError, *MALFORMED)


def identity_index(vault: IdentifierVault, headers: InstanceHeaders) -> str:
    """The blind index of whom an instance is of."""
    # Digested first, for the index evens out case and blanks, which a correction may be about.
    return vault.blind_index("identity", hashlib.sha256(headers.identity.encode()).hexdigest())


class Comparison:
    """Reads sealed originals as far as it takes."""

    def __init__(
        self, database: Database, store: ObjectStore, vault: IdentifierVault, spool_dir: Path, key: bytes
    ) -> None:
        self._database, self._store, self._vault = database, store, vault
        self._spool_dir = spool_dir
        self._key = key

    def compared(self, entry: Entry, rivals: Sequence[Rival]) -> Entry:
        """Note which rivals have other pixels, and which another identity.

        Of those that retention removed the pixels pass for the same; they count as the same patient's where whose they
        are was not noted.
        """
        stored = {one.upload_id: self._stored(one.upload_id, entry.site) for one in rivals}
        ours = self._pixel_digest(_Stored(entry.upload_id, entry.site, entry.stored_sha256))
        apart = frozenset(
            one.digest
            for one in rivals
            if not self._is_removed(one.upload_id)
            and (ours is None or self._pixel_digest(stored[one.upload_id]) != ours)
        )
        same = [one for one in rivals if one.digest not in apart]
        identities = {one.digest: one.identity_index or self._identity_of(stored[one.upload_id]) for one in same}
        corrects = {
            digest: index for digest, index in identities.items() if index is not None and index != entry.identity_index
        }
        return replace(
            entry,
            told_apart=entry.told_apart | apart,
            same_pixels=entry.same_pixels | identities.keys(),
            corrects={**entry.corrects, **corrects},
        )

    def _is_removed(self, upload_id: str) -> bool:
        with self._database.read() as session:
            query = (
                select(ArrivalRow.id)
                .join(ArrivedInstanceRow, ArrivedInstanceRow.arrival_id == ArrivalRow.id)
                .where(
                    ArrivedInstanceRow.upload_id == upload_id,
                    ArrivedInstanceRow.arrived_at <= ArrivalRow.input_removed_at,
                )
            )
            return session.scalars(query).first() is not None

    def _stored(self, upload_id: str, site: str) -> "_Stored | None":
        with self._database.read() as session:
            query = select(ArrivedInstanceRow.stored_sha256).where(ArrivedInstanceRow.upload_id == upload_id)
            sha256 = session.scalars(query).first()
        return None if sha256 is None else _Stored(upload_id, site, sha256)

    def _pixel_digest(self, stored: "_Stored | None") -> str | None:
        """Digest an original's pixel data; None where it cannot be found, or is not what was stored."""
        try:
            with self._opened(stored) as file:
                return _digest(file, skip_to_pixels(file))
        except _NOT_TO_BE_READ:
            return None

    def _identity_of(self, stored: "_Stored | None") -> str | None:
        """Read whose an original is that came before this was noted; None where it is gone."""
        try:
            with self._opened(stored) as file:
                return identity_index(self._vault, read_headers(file.read(HEAD_BYTES)))
        except _NOT_TO_BE_READ:
            return None

    @contextmanager
    def _opened(self, stored: "_Stored | None") -> Iterator[io.BufferedReader]:
        if stored is None:
            raise ObjectMissingError
        key, fetched = original_key(stored.upload_id), self._spool_dir / f"{secrets.token_hex(16)}.compared"
        path = self._store.local_path(key)
        try:
            if path is None:
                path = self._store.fetch(key, fetched)
            name = original_name(stored.upload_id, stored.site)
            with SealedReader(path, self._key, name, stored.sha256) as reader:
                yield io.BufferedReader(reader, HEAD_BYTES)
        finally:
            fetched.unlink(missing_ok=True)


def _digest(file: io.BufferedReader, size_bytes: int | None) -> str:
    """Digest so much of a file, or all that is left of it."""
    digest, left = hashlib.sha256(str(size_bytes).encode()), size_bytes
    while piece := file.read(HEAD_BYTES if left is None else min(left, HEAD_BYTES)):
        digest.update(piece)
        left = None if left is None else left - len(piece)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Stored:
    """Where an original lies, and what it was when it was stored."""

    upload_id: str
    site: str
    sha256: str
