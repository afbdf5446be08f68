import pytest
from sqlalchemy import select

from med3d_contract.cohorts import CohortDraft, MemberEntry, MemberFilter
from med3d_service.cohorts import members
from med3d_service.cohorts.corrected_members import follow_corrections
from med3d_service.cohorts.tables import CohortMemberRow, ScanFactsRow
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.tables import StudyRow
from rig.service.parts import add_study, open_database


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def vault(tmp_path):
    return IdentifierVault(load_keys(Settings(data_dir=tmp_path)))


def cohort(database, **draft):
    with database.write() as session:
        return members.create_cohort(session, "default", CohortDraft(name="c", **draft))


def add(database, vault, made, *entries):
    with database.write() as session:
        return members.add_entries(session, vault, made, entries)


def study(database, age=None, site="default"):
    with database.write() as session:
        study_id = add_study(session)
        row = session.scalars(select(StudyRow).where(StudyRow.id == study_id)).one()
        row.stated_age, row.site = age, site
        return study_id, row.digest


def test_studies_join_by_id_and_by_digest_and_what_is_not_in_the_store_is_named(database, vault):
    made, (first, _), (_, digest) = cohort(database), study(database), study(database)
    entries = (MemberEntry(study_id=first), MemberEntry(study_digest="f" * 64), MemberEntry(study_digest=digest))
    answer = add(database, vault, made, *entries)
    assert (answer.added, answer.known, answer.missing) == (2, 0, (1,))


def test_joining_twice_is_joining_once(database, vault):
    made, (first, digest) = cohort(database), study(database)
    add(database, vault, made, MemberEntry(study_id=first))
    answer = add(database, vault, made, MemberEntry(study_digest=digest))
    assert (answer.added, answer.known) == (0, 1)
    with database.read() as session:
        assert members.count_members(session, made.id) == (1, 1)


def test_a_member_whose_patient_was_corrected_gives_its_place_to_the_study_that_holds_the_images_now(database, vault):
    made, (old, _), (new, _) = cohort(database), study(database), study(database)
    add(database, vault, made, MemberEntry(study_id=old, sdmt=55, visit="v1"))
    assert follow_corrections(database) == 0
    with database.write() as session:
        session.scalars(select(StudyRow).where(StudyRow.id == old)).one().corrected_by = new
    assert follow_corrections(database) == 1
    assert follow_corrections(database) == 0
    with database.read() as session:
        assert list(session.scalars(select(CohortMemberRow.study_id))) == [new]
        facts = session.get_one(ScanFactsRow, new)
        assert (facts.sdmt, facts.visit) == (55, "v1")


def test_where_both_are_members_one_is_left(database, vault):
    made, (old, _), (new, _) = cohort(database), study(database), study(database)
    add(database, vault, made, MemberEntry(study_id=old), MemberEntry(study_id=new, visit="v2"))
    with database.write() as session:
        session.scalars(select(StudyRow).where(StudyRow.id == old)).one().corrected_by = new
    assert follow_corrections(database) == 1
    with database.read() as session:
        assert list(session.scalars(select(CohortMemberRow.study_id))) == [new]
        assert session.get_one(ScanFactsRow, new).visit == "v2"


def test_a_study_of_another_site_is_not_there(database, vault):
    made, (foreign, _) = cohort(database), study(database, site="elsewhere")
    assert add(database, vault, made, MemberEntry(study_id=foreign)).missing == (0,)


def test_what_the_manifest_says_is_kept_and_what_it_leaves_out_stays(database, vault):
    made, (first, _) = cohort(database), study(database)
    add(database, vault, made, MemberEntry(study_id=first, participant_id="S-1", age=40, sdmt=55, scan_site="X"))
    add(database, vault, made, MemberEntry(study_id=first, visit="v1"))
    with database.read() as session:
        facts = session.get_one(ScanFactsRow, first)
        assert (facts.visit, facts.scan_site, facts.sdmt) == ("v1", "X", 55)
        assert vault.read(session, first, "subject") == "S-1"
        assert session.scalars(select(StudyRow.stated_age).where(StudyRow.id == first)).one() == 40


def test_scans_of_one_participant_are_one_subject(database, vault):
    made = cohort(database)
    ids = [study(database)[0] for _ in range(4)]
    names = ("S-1", "S-1", "S-2", None)
    entries = [MemberEntry(study_id=i, participant_id=name) for i, name in zip(ids, names, strict=True)]
    add(database, vault, made, *entries)
    with database.read() as session:
        assert members.count_members(session, made.id) == (4, 3)


def test_studies_that_fit_the_filter_join_when_it_is_made_and_later(database, vault):
    young, old = study(database, age=30)[0], study(database, age=70)[0]
    study(database)  # of unknown age
    made = cohort(database, member_filter=MemberFilter(age_min=60))
    later = study(database, age=60)[0]
    with database.write() as session:
        assert members.join_by_filter(session, made) == 1
        assert members.join_by_filter(session, made) == 0
        found = set(session.scalars(select(CohortMemberRow.study_id)))
    assert found == {old, later}
    assert young not in found


def test_a_filter_may_ask_for_the_age_that_the_images_tell_and_for_sex_and_scan_site(database, vault):
    wanted, other = study(database)[0], study(database)[0]
    with database.write() as session:
        row = session.scalars(select(StudyRow).where(StudyRow.id == wanted)).one()
        row.found_age, row.found_sex = {"years": 65.5, "source": "birth_date"}, "F"
        session.add(ScanFactsRow(study_id=wanted, scan_site="X"))
        session.add(ScanFactsRow(study_id=other, scan_site="X"))
    made = cohort(database, member_filter=MemberFilter(age_min=65, age_max=66, sex="F", scan_sites=("X", "Y")))
    with database.read() as session:
        assert list(session.scalars(select(CohortMemberRow.study_id).where(CohortMemberRow.cohort_id == made.id))) == [
            wanted
        ]


def test_a_name_is_given_once(database):
    cohort(database)
    with pytest.raises(ServiceError, match="cohort_exists"):
        cohort(database)


def test_an_entry_names_its_study_in_one_way():
    with pytest.raises(ValueError, match="study_id or by study_digest"):
        MemberEntry(participant_id="S-1")
