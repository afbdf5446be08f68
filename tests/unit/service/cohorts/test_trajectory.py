"""A subject over time: order, breaks, and what may be called a change."""

import re

import pytest
from sqlalchemy import select, update

from med3d_contract.pictures import ReferenceCohort, reference_cohort_key
from med3d_service.cohorts import reprocessing
from med3d_service.cohorts.charts.trajectory_chart import broken_between, draw_trajectory, rows_of_words
from med3d_service.cohorts.figures import draw_figures
from med3d_service.cohorts.tables import FiguresRow, ScanFactsRow
from med3d_service.cohorts.trajectory import AGES_DISAGREE, answered_runs, stated_errors, trajectory
from med3d_service.settings import Settings
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.tables import BundleRow, StudyRow
from med3d_service.trust.access import Caller, Role
from med3d_store.object_store import ObjectStore
from rig.service.cohorts import new_cohort, predict, prepare, runs_of
from rig.service.parts import open_database
from rig.service.work import BUNDLE

CALLER = Caller("key", "x", Role.VIEWER, clinical=False, site="default", every_site=False, address="local")


class Person:
    """A subject with a scan for each of ``answers``, all by one bundle and one scanner."""

    def __init__(self, folder, answers):
        self.database = open_database(folder)
        self.vault = IdentifierVault(load_keys(Settings(data_dir=folder)))
        self.subject_id = self.vault.blind_index("subject", "S-1")
        cohort = new_cohort(self.database, len(answers))
        with self.database.write() as session:
            self.studies = [study.id for study in session.scalars(select(StudyRow).order_by(StudyRow.seq))]
            for study_id in self.studies:
                self.vault.keep(session, study_id, "subject", "s-1 ")
            row = reprocessing.begin(session, cohort, session.get_one(BundleRow, BUNDLE.digest), in_window=False)
            reprocessing.feed(session, row, 100)
        runs = runs_of(self.database)
        for run in runs:
            prepare(self.database, run.id)
        said = dict(zip([run.id for run in runs], answers, strict=True))
        predict(self.database, lambda run: said[run.id])
        draw_figures(self.database, answered_runs(CALLER, self.subject_id, BUNDLE.digest))
        self.runs = [run.id for run in runs]
        self.figures(0, len(answers), manufacturer="SIEMENS", model="Trio", field_strength_t=3.0, sequence="3D")

    def figures(self, first, last, **values):
        with self.database.write() as session:
            session.execute(update(FiguresRow).where(FiguresRow.run_id.in_(self.runs[first:last])).values(**values))

    def ages(self, *ages):
        with self.database.write() as session:
            for study_id, age in zip(self.studies, ages, strict=True):
                session.execute(update(StudyRow).where(StudyRow.id == study_id).values(stated_age=age))

    def dates(self, *dates):
        with self.database.write() as session:
            for study_id, date in zip(self.studies, dates, strict=True):
                self.vault.keep(session, study_id, "study_date", date)

    def trajectory(self, caller=CALLER, **errors):
        with self.database.read() as session:
            bundle = session.get_one(BundleRow, BUNDLE.digest)
            return trajectory(session, self.vault, caller, self.subject_id, bundle, errors)


@pytest.fixture
def person(tmp_path):
    made = Person(tmp_path, [50.0, 51.5, 58.0])
    yield made
    made.database.close()


def test_visits_stand_in_the_order_of_age_however_they_came(person):
    person.ages(46, 44, 48)
    found = person.trajectory()
    assert (found.time_basis, [v.time for v in found.visits]) == ("age", [44, 46, 48])
    assert [v.gap for v in found.visits] == [7.5, 4, 10]
    assert found.visits[0].brain_age_interval == (43.5, 59.5)
    assert [v.breaks for v in found.visits] == [(), (), ()]


def test_without_ages_the_study_dates_tell_how_far_apart_and_not_when(person):
    person.dates("20200101", "20210101", "20190101")
    found = person.trajectory()
    assert (found.time_basis, [v.time for v in found.visits]) == ("study_date", [0, 0.999, 2.001])
    assert "2020" not in found.model_dump_json(exclude={"visits": {"__all__": {"study_id", "run_id"}}})


def test_ages_that_fall_while_the_dates_go_on_do_not_turn_the_visits_round_and_break_the_line(person):
    person.ages(54, 46, 47)
    person.dates("20190101", "20200101", "20210101")
    found = person.trajectory(brain_age=1.0)
    assert (found.time_basis, [v.age for v in found.visits]) == ("study_date", [54, 46, 47])
    assert [v.breaks for v in found.visits] == [(), (AGES_DISAGREE,), ()]
    assert [(one.first_study_id, one.last_study_id) for one in found.reliable_changes] == [tuple(person.studies[1:])]


def test_ages_in_whole_years_agree_with_dates_within_a_year_more_or_less(person):
    person.ages(45, 45, 47)
    person.dates("20190102", "20191230", "20210106")
    found = person.trajectory()
    assert (found.time_basis, [v.breaks for v in found.visits]) == ("age", [(), (), ()])


def test_without_either_the_order_of_arrival_is_all_that_is_known(person):
    assert [person.trajectory().time_basis, *(v.time for v in person.trajectory().visits)] == ["order", 1, 2, 3]
    drawn = draw_trajectory(person.trajectory())
    assert drawn.names == ["", "1", "2", "3"]
    assert (low := drawn.x_range[0]) < 1 < 3 < drawn.x_range[1], low


def test_a_first_scan_without_a_number_is_not_named_beside_the_frame(tmp_path):
    person = Person(tmp_path, ["too_noisy", 50.0, 58.0])
    drawn = draw_trajectory(person.trajectory()).as_form("svg").decode()
    assert set(re.findall(r">\s*([123])\s*</text>", drawn)) == {"2", "3"}
    person.database.close()


def test_a_scanner_that_changed_at_a_refused_scan_breaks_the_line_to_the_next_number(tmp_path):
    person = Person(tmp_path, ["too_noisy", 50.0, "too_noisy", 58.0])
    person.figures(1, 2, model="Prisma")
    visits = person.trajectory().visits
    assert [bool(visit.breaks) for visit in visits] == [False, True, True, False], (
        "both changes are at scans beside numbers"
    )
    assert broken_between(visits) == [((visits[1].time + visits[3].time) / 2, ("scanner changed",))]
    person.database.close()


def test_the_line_breaks_where_scanner_field_sequence_or_software_changed(person):
    person.ages(44, 46, 48)
    person.figures(2, 3, model="Prisma", sequence="3D inversion-prepared", preprocessing_digest="q" * 64)
    breaks = person.trajectory().visits[2].breaks
    assert breaks == ("scanner changed", "sequence changed", "processing software changed")
    drawn = draw_trajectory(person.trajectory())
    assert "scanner changed, sequence changed, processing software changed" in drawn.as_form("svg").decode()


def test_scans_that_do_not_say_what_made_them_are_not_broken_and_say_so(person):
    person.figures(0, 3, manufacturer=None, model=None, field_strength_t=None, sequence=None)
    assert [(v.acquisition_known, v.breaks) for v in person.trajectory().visits] == [(False, ())] * 3


def test_where_the_images_do_not_say_it_the_manifest_tells_of_another_scanner_or_site(person):
    person.figures(0, 3, manufacturer=None, model=None, field_strength_t=None, sequence=None)
    stated = ({"scanner": "Trio", "scan_site": "A"}, {"scanner": None, "scan_site": "A"}, {"scanner": "Prisma"})
    with person.database.write() as session:
        session.add_all(
            ScanFactsRow(study_id=study_id, **facts) for study_id, facts in zip(person.studies, stated, strict=True)
        )
    assert [v.breaks for v in person.trajectory().visits] == [(), (), ()], "nothing is known to have changed"
    with person.database.write() as session:
        session.get(ScanFactsRow, person.studies[1]).scanner = "Trio"
        session.get(ScanFactsRow, person.studies[2]).scan_site = "B"
    assert [v.breaks for v in person.trajectory().visits] == [(), (), ("scanner changed", "site changed")]


def test_a_change_is_called_reliable_only_beyond_the_test_retest_error_that_the_bundle_states(person):
    person.ages(44, 46, 48)
    assert person.trajectory().reliable_changes == ()
    (change,) = person.trajectory(brain_age=1.0).reliable_changes  # gaps of 6, 5.5 and 10
    assert (change.measure, change.change, change.reliable) == ("gap", 4, True)
    assert change.least == pytest.approx(1.96 * 2**0.5, abs=1e-3)
    assert not person.trajectory(brain_age=2.0).reliable_changes[0].reliable
    person.figures(1, 2, model="Prisma")
    assert person.trajectory(brain_age=1.0).reliable_changes == (), "no two scans can be compared any more"


def test_a_visit_without_a_number_breaks_no_line(tmp_path):
    person = Person(tmp_path, [50.0, "too_noisy", 58.0])
    person.ages(44, 46, 48)
    found = person.trajectory(brain_age=1.0)
    assert [v.code for v in found.visits] == [None, "too_noisy", None]
    assert found.reliable_changes[0].change == 4
    person.database.close()


def test_measured_scores_stand_beside_estimates(person):
    with person.database.write() as session:
        session.add(ScanFactsRow(study_id=person.studies[0], visit="v1", sdmt=58.0))
    assert (person.trajectory().visits[0].visit, person.trajectory().visits[0].sdmt_measured) == ("v1", 58)


def test_who_sees_another_site_sees_nobody_here(person):
    foreign = Caller("key", "x", Role.ADMIN, clinical=True, site="elsewhere", every_site=False, address="local")
    assert person.trajectory(foreign).visits == ()


def test_the_test_retest_error_comes_from_the_bundle_by_way_of_its_workers(tmp_path):
    store = ObjectStore.make(f"file://{tmp_path}/store")
    assert stated_errors(store, "b" * 64) == {}
    cohort = ReferenceCohort(name="x", ages=(), brain_ages=(), pls_age=(), within_subject_sd={"brain_age": 1.5})
    store.put(reference_cohort_key("b" * 64), cohort.model_dump_json().encode())
    assert stated_errors(store, "b" * 64) == {"brain_age": 1.5}


def test_words_at_lines_stand_the_higher_the_farther_out_and_no_two_on_a_row():
    assert rows_of_words([1, 2.5, 4.5], (0, 6)) == [0, 2, 1]
    assert rows_of_words([4, 5, 6], (0, 6)) == [2, 1, 0], "all of them lead to the left"
    assert rows_of_words([], (0, 6)) == []
