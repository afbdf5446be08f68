"""Compares an instance with those of its UID: other pixels, or the same of a patient who was corrected."""

import hashlib
import io
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy import select

from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.sealed import SealBrokenError, SealedReader, file_key
from med3d_service.studies.arrivals.entries import Entry, Rival
from med3d_service.studies.dicom_instances.instance_headers import (
    HEAD_BYTES,
    InstanceHeaders,
    InstanceRefused,
    read_headers,
    skip_to_pixels,
)
from med3d_service.studies.file_meta import read_file_meta
from med3d_service.studies.original_names import original_key, original_name
from med3d_service.studies.working_copy.attributes import MALFORMED
from med3d_service.studies.working_copy.messages import Container, Member
from med3d_service.studies.working_copy.pixels.decoder import PixelDecoder
from med3d_store.object_store import ObjectMissingError, ObjectStore

_PLAIN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
_NOT_TO_BE_READ = (InstanceRefused, SealBrokenError, ObjectMissingError, FileNotFoundError, *MALFORMED)


def identity_index(vault: IdentifierVault, headers: InstanceHeaders) -> str:
    """Return the blind index of whom an instance is of."""
    # Digested first, for the index evens out case and blanks, which a correction may be about.
    return vault.blind_index("identity", hashlib.sha256(headers.identity.encode()).hexdigest())


class Comparison:
    """Reads sealed originals as far as it takes."""

    def __init__(
        self, database: Database, store: ObjectStore, vault: IdentifierVault, settings: Settings, key: bytes
    ) -> None:
        self._database, self._store, self._vault = database, store, vault
        self._spool_dir, self._max_bytes = settings.spool_dir, settings.max_instance_bytes
        self._decoder = PixelDecoder.of(settings)
        self._key = key

    def compared(self, entry: Entry, rivals: Sequence[Rival]) -> Entry:
        """Note which rivals have other pixels, and which another identity.

        Of those that retention removed the pixels pass for the same; they count as the same patient's where whose they
        are was not noted.
        """
        stored = {one.upload_id: self._stored(one.upload_id, entry.site) for one in rivals}
        ours = self._looked_at(_Stored(entry.upload_id, entry.site, entry.stored_sha256))
        apart = frozenset(
            one.digest
            for one in rivals
            if not self._is_removed(one.upload_id)
            and not self._show_the_same(entry.study, ours, self._looked_at(stored[one.upload_id]))
        )
        same = [one for one in rivals if one.digest not in apart]
        uploads = {one.digest: one.upload_id for one in same}
        identities = {one.digest: one.identity_index or self._identity_of(stored[one.upload_id]) for one in same}
        corrects = {
            digest: index
            for digest, index in identities.items()
            if index is not None
            and index != entry.identity_index
            # What was noted by an earlier release may have read the name otherwise.
            and self._identity_of(stored[uploads[digest]]) != entry.identity_index
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

    def _looked_at(self, stored: "_Stored | None") -> "_Original":
        """Digest an original's pixel data as it is written."""
        try:
            with self._opened(stored) as file:
                is_plain = read_file_meta(file.read(HEAD_BYTES)).transfer_syntax_uid in _PLAIN
                file.seek(0)
                return _Original(stored, _digest(file, skip_to_pixels(file)), is_plain)
        except _NOT_TO_BE_READ:
            return _Original(stored, None, is_plain=False)

    def _show_the_same(self, study: tuple[str, str], ours: "_Original", theirs: "_Original") -> bool:
        """Tell whether two originals have the same pixels, which are decoded where their bytes do not tell."""
        if ours.digest is not None and ours.digest == theirs.digest:
            return True
        if (ours.is_plain and theirs.is_plain) or ours.stored is None or theirs.stored is None:
            return False
        try:
            with self._located(ours.stored) as path, self._located(theirs.stored) as other_path:
                containers = [self._container(ours.stored, path), self._container(theirs.stored, other_path)]
                members = [
                    Member(container=number, kind="dicom", offset_bytes=0, size_bytes=self._max_bytes)
                    for number in range(2)
                ]
                return self._decoder.show_the_same(study, containers, members)
        except _NOT_TO_BE_READ:
            return False

    def _container(self, stored: "_Stored", path: Path) -> Container:
        key = file_key(path, self._key).hex()
        sha256, upload_id = stored.sha256, stored.upload_id
        return Container.model_validate(
            {"path": str(path), "upload_id": upload_id, "site": stored.site, "sha256": sha256, "key": key}
        )

    def close(self) -> None:
        """End the child that decodes."""
        self._decoder.close()

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
        name = original_name(stored.upload_id, stored.site)
        with self._located(stored) as path, SealedReader(path, self._key, name, stored.sha256) as reader:
            yield io.BufferedReader(reader, HEAD_BYTES)

    @contextmanager
    def _located(self, stored: "_Stored") -> Iterator[Path]:
        """Tell where the sealed original lies here: in the store, or fetched from it for the time being."""
        key, fetched = original_key(stored.upload_id), self._spool_dir / f"{secrets.token_hex(16)}.compared"
        try:
            yield self._store.local_path(key) or self._store.fetch(key, fetched)
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


@dataclass(frozen=True)
class _Original:
    """An original as it was looked at. digest: None where it cannot be read; is_plain: neither packed nor swapped."""

    stored: _Stored | None
    digest: str | None
    is_plain: bool
