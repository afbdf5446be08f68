"""Calibrations of sites: kept as they were sent, handed out with the runs of their own site, withdrawn by digest.

The service does not verify them. Workers do, by keys that lie where they run, so that whoever may write into the
database cannot shift a hospital's ages.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.calibrations import CalibrationFile, CalibrationHeader, CalibrationUpload
from med3d_service.problems import ServiceError
from med3d_service.storage.database import now_of
from med3d_service.storage.guard import guard_of, is_genuine
from med3d_service.storage.tables import BundleRow, CalibrationRow, RunRow, StudyRow
from med3d_service.trust.access import Caller

LEAST_HEADS = 20
MOST_HEADS = 100_000
FOR_WORKERS_ALONE = frozenset(
    {"left_out", "age_range_years", "with_slope", "scanner", "age", "gap_bias", "residuals_years",
     "corrected_residuals_years", "latent_shift", "distance", "reconstruction", "false_alarm_rate", "figures"}
)  # fmt: skip
"""The other fields of format 1: a name beside them is of no calibration, and no worker would read the file."""


class _SentHeader(CalibrationHeader):
    """The header of a file that is sent now."""

    model_config = ConfigDict(extra="allow")

    created: date
    heads: int = Field(ge=LEAST_HEADS, le=MOST_HEADS)

    @model_validator(mode="after")
    def _is_of_format_1(self) -> Self:
        if (self.model_extra or {}).keys() - FOR_WORKERS_ALONE:
            raise ValueError("it has fields that no calibration has")
        if self.created > self.expires:
            raise ValueError("it expired before it was made")
        return self


def add_calibration(session: Session, upload: CalibrationUpload, owner: str) -> tuple[CalibrationRow, bool]:
    """Keep a calibration for the studies of ``owner``; whether anything is new. The same again changes nothing.

    A file that is known with another signature takes the one that comes now: whoever sent a wrong one can mend it.
    Raises ServiceError: calibration_unreadable, unknown_bundle, calibration_withdrawn, invalid_request where it has
    expired or is dated ahead.
    """
    header = _header(upload.file)
    digest = hashlib.sha256(upload.file).hexdigest()
    known = session.get(CalibrationRow, (digest, owner), with_for_update=True)
    if known is not None and (known.withdrawn_at is not None or _was_withdrawn(session, known)):
        raise ServiceError("calibration_withdrawn")
    if known is not None and not is_genuine(session, known):  # what comes now takes its place
        session.delete(known)
        session.flush()
        known = None
    if known is not None:
        is_signed_anew = known.signature != upload.signature
        known.signature = upload.signature
        return known, is_signed_anew
    if session.get(BundleRow, header.bundle.digest) is None:
        raise ServiceError("unknown_bundle", "The calibration was made with a model that this service does not know.")
    now = now_of(session)
    _require_current(header, datetime.fromtimestamp(now, UTC).date())
    row = CalibrationRow(
        digest=digest,
        owner=owner,
        bundle_digest=header.bundle.digest,
        site=header.site,
        heads=header.heads,
        created=header.created.isoformat(),
        expires=header.expires.isoformat(),
        file=upload.file,
        signature=upload.signature,
        added_at=now,
    )
    session.add(row)
    session.flush()
    return row, True


def calibrations_of(session: Session, caller: Caller) -> Sequence[CalibrationRow]:
    """Return those that the caller sees, the newest first; withdrawn ones, too."""
    query = select(CalibrationRow).where(caller.sees(CalibrationRow.owner))
    return session.scalars(query.order_by(CalibrationRow.added_at.desc(), CalibrationRow.digest)).all()


def withdraw_calibration(session: Session, digest: str, caller: Caller) -> None:
    """Hand it out no more; answers that were given keep its digest. Again is no error. Raises ServiceError."""
    query = select(CalibrationRow).where(CalibrationRow.digest == digest, caller.sees(CalibrationRow.owner))
    found = session.scalars(query.with_for_update()).all()
    if not found:
        raise ServiceError("unknown_calibration")
    for row in found:
        row.withdrawn_at = row.withdrawn_at or now_of(session)
        if (guard := guard_of(session)) is not None:
            guard.counter.withdraw(_named(row), row.withdrawn_at)


def calibrations_for(
    session: Session, runs: Iterable[RunRow], studies: Mapping[str, StudyRow]
) -> tuple[dict[str, tuple[str, ...]], tuple[CalibrationFile, ...]]:
    """Return the digests that each run may use, by its id, and the files that they name.

    The one made last comes first, of those of one day the one sent last: of two for a scanner, a worker takes the
    first. Expired ones go along: answers say that they were not applied.
    """
    runs = list(runs)
    query = (
        select(CalibrationRow)
        .where(
            CalibrationRow.bundle_digest.in_({run.bundle_digest for run in runs}),
            CalibrationRow.owner.in_({study.site for study in studies.values()}),
            CalibrationRow.withdrawn_at.is_(None),
        )
        .order_by(CalibrationRow.created.desc(), CalibrationRow.added_at.desc(), CalibrationRow.digest)
    )
    rows = [row for row in session.scalars(query) if _may_be_used(session, row)]
    found = {
        run.id: tuple(
            row.digest
            for row in rows
            if row.owner == studies[run.study_id].site and row.bundle_digest == run.bundle_digest
        )
        for run in runs
    }
    # Two hospitals may have sent one file with different signatures: the wrong one must not stand for the right one.
    files = {(row.digest, row.signature): row for row in rows}
    return found, tuple(_file(row) for row in files.values())


def stored_calibration(session: Session, digest: str, owner: str) -> CalibrationFile | None:
    """Return one as it was sent, also where it was withdrawn since; None where it never came this way."""
    row = session.get(CalibrationRow, (digest, owner))
    return None if row is None or not is_genuine(session, row) else _file(row)


def _named(row: CalibrationRow) -> str:
    return f"{row.digest}@{row.owner}"


def _was_withdrawn(session: Session, row: CalibrationRow) -> bool:
    guard = guard_of(session)
    return guard is not None and _named(row) in guard.counter.read().withdrawn


def _may_be_used(session: Session, row: CalibrationRow) -> bool:
    """Tell whether the service wrote the row so, and has not withdrawn it since."""
    guard = guard_of(session)
    if guard is None:
        return True
    if _was_withdrawn(session, row):
        guard.note_forged("calibration", row.digest)
        return False
    return guard.is_genuine(row)


def _file(row: CalibrationRow) -> CalibrationFile:
    file, signature = base64.b64encode(row.file), base64.b64encode(row.signature)
    return CalibrationFile(digest=row.digest, file=file, signature=signature)


def _header(content: bytes) -> _SentHeader:
    try:
        return _SentHeader.model_validate_json(content)
    except ValidationError as error:
        raise ServiceError("calibration_unreadable") from error


def _require_current(header: _SentHeader, today: date) -> None:
    if header.expires < today:
        raise ServiceError(
            "invalid_request",
            f"The calibration's last day was {header.expires}, so no scan would be answered with it. Calibrate the "
            "scanner anew with 'med3d calibrate', and send that file.",
        )
    if header.created > today + timedelta(days=1):  # a day ahead is what a clock east of here may say
        raise ServiceError(
            "invalid_request",
            f"The calibration is dated {header.created}, which is still to come. Set the clock of the machine that "
            "made it, calibrate anew, and send that file.",
        )
