"""Reports that were made: shown as they were made, of this very run, or not at all."""

import hashlib
import threading

import pytest
from sqlalchemy import select, update

from med3d_service.results.kinds import Kind
from med3d_service.results.reports.kept import KeptReports, ReportDamagedError
from med3d_service.storage.tables import ReportRow, RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit.tables import AuditRow
from rig.service.api import empty_api
from rig.service.earlier import report_of, sealed_nameless
from rig.service.parts import add_run


class Shelf:
    """Runs of two sites, and what is kept of each."""

    def __init__(self, api):
        self.api, self.service = api, api.service
        self.kept = KeptReports(api.service)
        self.here, self.there = add_run(api.service.database), add_run(api.service.database)
        with api.service.database.write() as session:
            study = select(RunRow.study_id).where(RunRow.id == self.there).scalar_subquery()
            session.execute(update(StudyRow).where(StudyRow.id == study).values(site="there"))

    def row(self, run_id):
        with self.service.database.read() as session:
            return session.get(ReportRow, (run_id, Kind.SR))

    def path(self, run_id):
        return self.service.store.local_path(self.row(run_id).key)

    def record(self, run_id, path):
        """What a writer of the database would do for the store's."""
        with self.service.database.write() as session:
            session.get_one(ReportRow, (run_id, Kind.SR)).sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def nameless(self, run_id, content):
        """What releases before kept rows left."""
        path = self.service.store.local_path(f"reports/{run_id}/sr")
        path.parent.mkdir(parents=True, exist_ok=True)
        sealed_nameless(path, content, self.service.keys.originals)

    def alerts(self):
        with self.service.database.read() as session:
            query = select(AuditRow.object_id, AuditRow.detail).where(AuditRow.action == "alert")
            return [tuple(row) for row in session.execute(query)]


@pytest.fixture
def shelf(tmp_path):
    api = empty_api(tmp_path)
    yield Shelf(api)
    api.close()


def test_what_was_kept_is_found_again_and_is_not_readable_in_the_store(shelf):
    made = report_of(shelf.here)
    assert shelf.kept.keep(shelf.here, Kind.SR, made) == made
    assert shelf.kept.find(shelf.here, Kind.SR) == made
    assert shelf.kept.find(shelf.there, Kind.SR) is None
    assert b"DICM" not in shelf.path(shelf.here).read_bytes()
    assert list(shelf.service.settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize("recorded", [False, True], ids=["in the store", "in store and database"])
def test_a_report_that_was_copied_over_another_sites_is_never_shown(shelf, recorded):
    for run_id in (shelf.here, shelf.there):
        shelf.kept.keep(run_id, Kind.SR, report_of(run_id))
    shelf.path(shelf.here).write_bytes(shelf.path(shelf.there).read_bytes())
    if recorded:
        shelf.record(shelf.here, shelf.path(shelf.here))
    with pytest.raises(ReportDamagedError):
        shelf.kept.find(shelf.here, Kind.SR)
    assert shelf.alerts() == [(shelf.here, '{"code":"report_damaged"}')]
    answer = shelf.api.request("GET", f"/runs/{shelf.here}/sr", shelf.api.key(Role.VIEWER, clinical=True))
    assert (answer.status_code, answer.json()["code"]) == (500, "report_damaged")
    assert shelf.kept.find(shelf.there, Kind.SR) == report_of(shelf.there)


@pytest.mark.parametrize("of_this_site", [False, True])
def test_a_row_that_names_another_runs_report_shows_nothing(shelf, of_this_site):
    beside = add_run(shelf.service.database) if of_this_site else shelf.there
    for run_id in (shelf.here, beside):
        shelf.kept.keep(run_id, Kind.SR, report_of(run_id))
    other = shelf.row(beside)
    with shelf.service.database.write() as session:
        row = session.get_one(ReportRow, (shelf.here, Kind.SR))
        row.key, row.sha256 = other.key, other.sha256
    with pytest.raises(ReportDamagedError):
        shelf.kept.find(shelf.here, Kind.SR)


def test_a_report_of_an_earlier_release_is_found_and_sealed_anew_under_its_name(shelf):
    made = report_of(shelf.here)
    shelf.nameless(shelf.here, made)
    assert shelf.kept.find(shelf.here, Kind.SR) == made
    assert shelf.path(shelf.here).read_bytes().startswith(b"M3DSEAL2")
    assert [stored.key for stored in shelf.service.store.list("reports")] == [shelf.row(shelf.here).key]
    assert shelf.kept.find(shelf.here, Kind.SR) == made


def test_a_report_of_an_earlier_release_that_is_another_runs_is_never_shown(shelf):
    shelf.nameless(shelf.here, report_of(shelf.there))
    with pytest.raises(ReportDamagedError):
        shelf.kept.find(shelf.here, Kind.SR)
    assert shelf.row(shelf.here) is None


def test_of_two_that_are_made_at_once_one_is_kept_and_both_are_given_it(shelf):
    start, given = threading.Barrier(2), []

    def keep(number):
        start.wait()
        given.append(shelf.kept.keep(shelf.here, Kind.SR, report_of(shelf.here) + bytes([number])))

    threads = [threading.Thread(target=keep, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given[0] == given[1] == shelf.kept.find(shelf.here, Kind.SR)
    assert len(list(shelf.service.store.list("reports"))) == 1


def test_a_report_that_the_store_has_lost_is_made_anew(shelf):
    shelf.kept.keep(shelf.here, Kind.SR, report_of(shelf.here))
    shelf.path(shelf.here).unlink()
    assert shelf.kept.find(shelf.here, Kind.SR) is None
    again = report_of(shelf.here)
    assert shelf.kept.keep(shelf.here, Kind.SR, again) == again == shelf.kept.find(shelf.here, Kind.SR)
