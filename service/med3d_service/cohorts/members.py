"""Who belongs to a cohort: by list, by filter, by what a manifest says."""

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, and_, exists, func, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from med3d_contract.cohorts import CohortDraft, MemberEntry, MemberFilter, MembersAnswer
from med3d_service.cohorts.tables import CohortMemberRow, CohortRow, ScanFactsRow
from med3d_service.problems import ServiceError
from med3d_service.storage.database import db_now, now_of
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.tables import IdentifierRow, StudyRow
from med3d_service.trust.access import Caller

FACTS = ("visit", "scan_site", "scanner", "sdmt")


def create_cohort(session: Session, site: str, draft: CohortDraft) -> CohortRow:
    """Make a cohort. Raises ServiceError("cohort_exists")."""
    cohort = CohortRow(
        id=str(uuid.uuid4()),
        site=site,
        name=draft.name,
        bundle=draft.bundle,
        schedule=None if draft.schedule is None else draft.schedule.model_dump(mode="json"),
        member_filter=None if draft.member_filter is None else draft.member_filter.model_dump(mode="json"),
        created_at=now_of(session),
    )
    session.add(cohort)
    try:
        session.flush()
    except IntegrityError as error:
        raise ServiceError("cohort_exists") from error
    join_by_filter(session, cohort)
    return cohort


def find_cohort(session: Session, caller: Caller, wanted: str, *, lock: bool = False) -> CohortRow:
    """Find a cohort that ``caller`` sees by id or name. Raises ServiceError("unknown_cohort")."""
    named = (CohortRow.id == wanted) | (CohortRow.name == wanted)
    query = select(CohortRow).where(caller.sees(CohortRow.site), named)
    found = session.scalars(query.with_for_update() if lock else query).first()
    if found is None:
        raise ServiceError("unknown_cohort")
    return found


def count_members(session: Session, cohort_id: str) -> tuple[int, int]:
    """Tell how many studies, and of how many subjects; a study without any name is a subject of its own."""
    members = select(CohortMemberRow.study_id).where(CohortMemberRow.cohort_id == cohort_id)
    studies = session.execute(select(func.count()).select_from(members.subquery())).scalar_one()
    named = subject_indices(members).subquery()
    distinct, with_name = session.execute(
        select(func.count(func.distinct(named.c.subject_index)), func.count(named.c.study_id)).select_from(named)
    ).one()
    return studies, distinct + studies - with_name


def subject_indices(study_ids: Select[Any]) -> Select[str, str | None]:
    """Select (study_id, subject_index) of those with a name: blind index of the pseudonym, else of the patient id.

    One is enough to tell whose scans belong together, and nothing can be read from it. "subject" sorts behind
    "patient_id", so the greatest kind is the one to take.
    """
    kinds = ("patient_id", "subject")
    best = (
        select(IdentifierRow.study_id, func.max(IdentifierRow.kind).label("kind"))
        .where(IdentifierRow.kind.in_(kinds), IdentifierRow.study_id.in_(study_ids))
        .group_by(IdentifierRow.study_id)
        .subquery()
    )
    return select(IdentifierRow.study_id, IdentifierRow.blind_index.label("subject_index")).join(
        best, and_(best.c.study_id == IdentifierRow.study_id, best.c.kind == IdentifierRow.kind)
    )


def join_by_filter(session: Session, cohort: CohortRow) -> int:
    """Let all studies join that fit the cohort's filter and are not in it yet; how many did."""
    if cohort.member_filter is None:
        return 0
    return _join(session, cohort, *_conditions(MemberFilter.model_validate(cohort.member_filter)))


def add_entries(
    session: Session, vault: IdentifierVault, cohort: CohortRow, entries: tuple[MemberEntry, ...]
) -> MembersAnswer:
    """Let the studies of ``entries`` join that are in the store, and note what is said of them."""
    studies = _studies(session, cohort.site, entries)
    missing: list[int] = []
    found: dict[str, StudyRow] = {}
    for place, entry in enumerate(entries):
        study = studies.get(entry.study_id or entry.study_digest or "")
        if study is None:
            missing.append(place)
            continue
        found[study.id] = study
        note_facts(session, vault, study, entry)
    added = _join(session, cohort, StudyRow.id.in_(found)) if found else 0
    return MembersAnswer(added=added, known=len(found) - added, missing=tuple(missing))


def add_study(session: Session, cohort: CohortRow, study_id: str) -> None:
    """Let one study join; one that is in it stays."""
    _join(session, cohort, StudyRow.id == study_id)


def note_facts(session: Session, vault: IdentifierVault, study: StudyRow, entry: MemberEntry) -> None:
    """Keep what is said of a study; what is left out stays as it was."""
    if entry.age is not None:
        study.stated_age = entry.age
    if entry.sex is not None:
        study.stated_sex = entry.sex
    if entry.participant_id is not None and vault.read(session, study.id, "subject") != entry.participant_id:
        vault.keep(session, study.id, "subject", entry.participant_id)
    said = {name: value for name in FACTS if (value := getattr(entry, name)) is not None}
    if said:
        row = session.get(ScanFactsRow, study.id)
        if row is None:
            row = ScanFactsRow(study_id=study.id)
            session.add(row)
        for name, value in said.items():
            setattr(row, name, value)
    session.flush()


def _studies(session: Session, site: str, entries: tuple[MemberEntry, ...]) -> dict[str, StudyRow]:
    """Compare by whichever of id and digest the entries use."""
    ids = [entry.study_id for entry in entries if entry.study_id]
    digests = [entry.study_digest for entry in entries if entry.study_digest]
    query = select(StudyRow).where(StudyRow.site == site, StudyRow.id.in_(ids) | StudyRow.digest.in_(digests))
    studies = session.scalars(query).all()
    return {study.id: study for study in studies} | {study.digest: study for study in studies}


def _join(session: Session, cohort: CohortRow, *conditions: ColumnElement[bool]) -> int:
    there = exists().where(CohortMemberRow.cohort_id == cohort.id, CohortMemberRow.study_id == StudyRow.id)
    joining = select(literal(cohort.id), StudyRow.id, db_now()).where(StudyRow.site == cohort.site, ~there, *conditions)
    statement = insert(CohortMemberRow).from_select(["cohort_id", "study_id", "added_at"], joining)
    return session.connection().execute(statement).rowcount


def _conditions(wanted: MemberFilter) -> list[ColumnElement[bool]]:
    age = func.coalesce(StudyRow.stated_age, StudyRow.found_age["years"].as_float(), type_=Float)
    sex = func.coalesce(StudyRow.stated_sex, StudyRow.found_sex)
    conditions: list[ColumnElement[bool]] = []
    if wanted.sex is not None:
        conditions.append(sex == wanted.sex)
    if wanted.age_min is not None:
        conditions.append(age >= wanted.age_min)
    if wanted.age_max is not None:
        conditions.append(age <= wanted.age_max)
    if wanted.scan_sites is not None:
        here = exists().where(ScanFactsRow.study_id == StudyRow.id, ScanFactsRow.scan_site.in_(wanted.scan_sites))
        conditions.append(here)
    if wanted.received_after is not None:
        conditions.append(StudyRow.created_at >= wanted.received_after.timestamp())
    if wanted.received_before is not None:
        conditions.append(StudyRow.created_at < wanted.received_before.timestamp())
    return conditions
