"""A new key for the identifiers: everything that the old one sealed is sealed anew, and the old one opens nothing more.

The blind index keeps its key, which opens nothing: HMACs cannot be made anew without what they are of.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from med3d_service.network.pulls.tables import PullRow
from med3d_service.settings import Settings
from med3d_service.storage.arrival_tables import PatientUpdateRow
from med3d_service.storage.database import Database
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import KEY_BYTES, identifier_keys, load_keys, write_identifier_keys
from med3d_service.storage.opening import open_database
from med3d_service.storage.tables import IdentifierRow, VerdictRow
from med3d_service.trust.audit import Action, AuditEvent, AuditTrail, command_line

ROWS_AT_ONCE = 500
Row = TypeVar("Row", IdentifierRow, PatientUpdateRow, PullRow, VerdictRow)


@dataclass(frozen=True)
class Rotated:
    """How many rows were sealed anew, and whether the old keys are gone already."""

    rows: int
    old_keys_removed: bool


def rotate_identifier_key(settings: Settings) -> Rotated:
    """Seal all identifiers under a new key.

    The key is made here and kept in ``data_dir/identifier.keys``; nothing else may run meanwhile, for it would not know
    the key. Where the settings give the keys, their first one is the new one: then other processes may run if they know
    it, and the operator removes the older ones afterwards. Broken off anywhere, nothing is lost: the next call ends it.
    """
    given = settings.identifier_keys is not None
    if not given:
        write_identifier_keys(settings, (secrets.token_bytes(KEY_BYTES), *identifier_keys(settings)))
    keys = load_keys(settings)
    database = open_database(settings, keys)  # guarded: verdicts are sealed with what is in them
    try:
        rows = seal_identifiers_anew(database, IdentifierVault(keys))
        AuditTrail(database, keys.audit).record(
            AuditEvent(
                command_line(), Action.SECURE, object_kind="identifier_key", detail={"change": "rotated", "rows": rows}
            )
        )
        if not given:
            require_newest(database, IdentifierVault(replace(keys, older_identifiers=())))
            write_identifier_keys(settings, (keys.identifiers,))
    finally:
        database.close()
    return Rotated(rows, old_keys_removed=not given)


def seal_identifiers_anew(database: Database, vault: IdentifierVault) -> int:
    """Seal what names a patient under the vault's newest key, of a guarded database; how many rows there were.

    Raises InvalidTag for a row that no key of the vault opens, unless it is a forged verdict's, which nobody reads.
    """

    def seal_pull(pull: PullRow) -> None:
        pull.wanted = vault.seal(vault.unseal(pull.wanted, pull.id), pull.id)

    def seal_update(told: PatientUpdateRow) -> None:
        told.told = vault.seal(vault.unseal(told.told, told.id), told.id)

    def seal_verdict(verdict: VerdictRow) -> None:
        if database.guard is None or database.guard.is_genuine(verdict):
            verdict.why = vault.seal(vault.unseal(verdict.why, verdict.id), verdict.id)

    return (
        _seal_anew(database, IdentifierRow, IdentifierRow.id, vault.renew)
        + _seal_anew(database, PullRow, PullRow.seq, seal_pull)
        + _seal_anew(database, VerdictRow, VerdictRow.seq, seal_verdict)
        + _seal_anew(database, PatientUpdateRow, PatientUpdateRow.seq, seal_update)
    )


def _seal_anew(
    database: Database, table: type[Row], number: InstrumentedAttribute[int], seal: Callable[[Row], None]
) -> int:
    """Seal all rows in short transactions, so that intake need not wait where it runs; return how many there were."""
    done, last = 0, 0
    while True:
        with database.write() as session:
            rows = session.scalars(select(table).where(number > last).order_by(number).limit(ROWS_AT_ONCE)).all()
            for row in rows:
                seal(row)
                last = getattr(row, number.key)
            done += len(rows)
        if len(rows) < ROWS_AT_ONCE:
            return done


def require_newest(database: Database, vault: IdentifierVault) -> None:
    """Read every row by the new key alone before the old one goes. Raises InvalidTag."""
    with database.read() as session:
        for row in session.scalars(select(IdentifierRow).execution_options(yield_per=ROWS_AT_ONCE)):
            vault.opened(row)
