"""The only place where identifiers of patients are kept: encrypted, and found again through an HMAC blind index."""

import hashlib
import hmac
import os
from collections.abc import Collection
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.tables import IdentifierRow

NONCE_BYTES = 12
FORMER = "former_"
"""Before the kind of an identifier that a correction has replaced: kept, found by nobody."""
INDEXED = frozenset({"patient_id", "accession_number", "study_uid", "subject"})


class IdentifierVault:
    """Writes and reads identifiers within the caller's transaction. AES-256-GCM, bound to study and kind."""

    def __init__(self, keys: SiteKeys) -> None:
        self._cipher = AESGCM(keys.identifiers)
        self._older = tuple(AESGCM(key) for key in keys.older_identifiers)
        self._index_key = keys.blind_index

    def blind_index(self, kind: str, text: str) -> str:
        """Return the HMAC-SHA256 of an identifier, blanks and case evened out: equal ones meet, nothing can be read."""
        return hmac.new(self._index_key, f"{kind}\0{text.strip().casefold()}".encode(), hashlib.sha256).hexdigest()

    def keep(self, session: Session, study_id: str, kind: str, *texts: str) -> None:
        """Keep an identifier of a study in place of what there is of this kind; several where the images contradict."""
        session.execute(delete(IdentifierRow).where(IdentifierRow.study_id == study_id, IdentifierRow.kind == kind))
        for text in texts:
            nonce = os.urandom(NONCE_BYTES)
            session.add(
                IdentifierRow(
                    study_id=study_id,
                    kind=kind,
                    blind_index=self.blind_index(kind, text) if kind in INDEXED else None,
                    ciphertext=nonce + self._cipher.encrypt(nonce, text.encode(), _bound_to(study_id, kind)),
                )
            )

    def read(self, session: Session, study_id: str, kind: str) -> str | None:
        """Read an identifier of a study."""
        return self.read_all(session, [study_id], kind).get(study_id)

    def read_all(self, session: Session, study_ids: Collection[str], kind: str) -> dict[str, str]:
        """Read this identifier of several studies, by study; those without it are left out."""
        rows = session.scalars(
            select(IdentifierRow).where(IdentifierRow.study_id.in_(study_ids), IdentifierRow.kind == kind)
        )
        return {row.study_id: self.opened(row) for row in rows}

    def retire(self, session: Session, study_id: str, kinds: Collection[str] | None = None) -> None:
        """Keep a study's identifiers as former ones: encrypted, not found, and not read as what they were.

        kinds: those that do; by itself all that the images say, and not what a person calls the subject.
        """
        which = IdentifierRow.kind.in_(kinds) if kinds is not None else IdentifierRow.kind != "subject"
        rows = select(IdentifierRow).where(
            IdentifierRow.study_id == study_id, which, IdentifierRow.kind.not_like(f"{FORMER}%")
        )
        for row in session.scalars(rows).all():
            text, nonce = self.opened(row), os.urandom(NONCE_BYTES)
            row.kind, row.blind_index = FORMER + row.kind, None
            row.ciphertext = nonce + self._cipher.encrypt(nonce, text.encode(), _bound_to(study_id, row.kind))
        session.flush()

    def renew(self, row: IdentifierRow) -> None:
        """Encrypt a row again under the newest key."""
        bound_to = _bound_to(row.study_id, row.kind)
        nonce = os.urandom(NONCE_BYTES)
        row.ciphertext = nonce + self._cipher.encrypt(nonce, self.opened(row).encode(), bound_to)

    def opened(self, row: IdentifierRow) -> str:
        """Decrypt a row. Raises InvalidTag where none of the keys fits."""
        return self._opened(row.ciphertext, _bound_to(row.study_id, row.kind))

    def find(self, kind: str, text: str) -> Select[Any]:
        """Select the ids of the studies that have this identifier."""
        return select(IdentifierRow.study_id).where(
            IdentifierRow.kind == kind, IdentifierRow.blind_index == self.blind_index(kind, text)
        )

    def seal(self, text: str, bound_to: str) -> bytes:
        """Encrypt what stands in a table of its own; it opens only as what it is ``bound_to``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), bound_to.encode())

    def unseal(self, sealed: bytes, bound_to: str) -> str:
        """Decrypt what ``seal`` made."""
        return self._opened(sealed, bound_to.encode())

    def _opened(self, sealed: bytes, bound_to: bytes) -> str:
        """Decrypt by the key that fits. Raises InvalidTag where none does: another site's, or altered."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        for cipher in (self._cipher, *self._older):
            try:
                return cipher.decrypt(nonce, ciphertext, bound_to).decode()
            except InvalidTag:
                continue
        raise InvalidTag


def _bound_to(study_id: str, kind: str) -> bytes:
    return f"{study_id}\0{kind}".encode()
