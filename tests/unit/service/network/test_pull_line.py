"""The line of pulls: who is next, whose claim counts, when it is tried again and when it is given up."""

import pytest
from sqlalchemy import select, update

from med3d_service.network.pulls.line import ASKED, AT_ONCE, Fetched, Origin, PullLine
from med3d_service.network.pulls.tables import PullRow
from med3d_service.network.pulls.wanted import StudyQuery, Wanted
from med3d_service.storage.database import db_now
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import load_keys
from med3d_service.storage.opening import open_database
from rig.service.parts import migrated

WARD = Origin(site="default", kind="request", source="dicomweb", peer="ward")
ARCHIVE = Origin(site="default", kind="request", source="dimse", peer="archive")
NOTHING = Fetched(instances=0, skipped_instances=0, arrival_id=None, study_id=None, run_id=None)


class Line(PullLine):
    """The line on a database of its own."""

    def __init__(self, folder, **settings):
        made = migrated(folder, **settings)
        self.database = open_database(made)
        super().__init__(self.database, IdentifierVault(load_keys(made)), made)

    def want(self, study_uid, origin=WARD, urgency=ASKED, occasion=None):
        with self.database.write() as session:
            pull, known = self.ask(session, origin, Wanted(study_uid=study_uid), urgency=urgency, occasion=occasion)
            return pull.id, known

    def row(self, pull_id):
        with self.database.read() as session:
            return session.scalars(select(PullRow).where(PullRow.id == pull_id)).one()

    def set(self, pull_id, **values):
        with self.database.write() as session:
            session.execute(update(PullRow).where(PullRow.id == pull_id).values(**values))


@pytest.fixture
def line(tmp_path):
    made = Line(tmp_path)
    yield made
    made.database.close()


def test_the_same_wish_is_one_pull_until_it_is_over(line):
    first, known = line.want("1.2.3")
    assert (line.want("1.2.3"), known) == ((first, True), False)
    assert line.want("1.2.3", ARCHIVE)[1] is False
    claimed = line.claim()
    line.done(claimed, NOTHING)
    again, known = line.want("1.2.3")
    assert (again != first, known) == (True, False)


def test_an_occasion_is_pulled_once_for_ever_and_a_later_state_of_the_study_again(line):
    first, _ = line.want("1.2.3", urgency=AT_ONCE, occasion="1.2.3 at nine")
    line.done(line.claim(), NOTHING)
    assert line.want("1.2.3", urgency=AT_ONCE, occasion="1.2.3 at nine") == (first, True)
    assert line.want("1.2.3", urgency=AT_ONCE, occasion="1.2.3 at ten")[1] is False


def test_what_is_urgent_goes_first_and_no_peer_is_asked_for_more_than_two_at_once(line):
    for number in range(3):
        line.want(f"1.2.{number}")
    line.want("1.9", ARCHIVE)
    line.want("1.2.9", urgency=AT_ONCE)
    assert [line.claim().wanted.study_uid for _ in range(3)] == ["1.2.9", "1.2.0", "1.9"]
    assert line.claim() is None


def test_a_lost_claim_goes_to_another_and_its_old_holder_changes_nothing(line):
    pull_id, _ = line.want("1.2.3")
    lost = line.claim()
    assert line.claim() is None
    line.set(pull_id, lease_until=0.0)
    taken = line.claim()
    assert (taken.id, taken.claim) == (lost.id, lost.claim + 1)
    assert line.renew(lost) is False
    line.done(lost, NOTHING)
    line.failed(lost, "peer_failed", "It failed.", may_pass=False)
    line.give_back(lost)
    assert line.row(pull_id).status == "fetching"
    line.done(taken, NOTHING)
    assert line.row(pull_id).status == "done"


def test_pauses_double_up_to_the_longest_and_a_fault_that_stays_ends_the_pull(line):
    pull_id, _ = line.want("1.2.3")
    pauses = []
    for _ in range(9):
        line.failed(line.claim(), "peer_unreachable", "Nobody answers.", may_pass=True)
        row = line.row(pull_id)
        pauses.append(round(row.next_try_at - line.database.now()))
        assert (row.status, row.fault["code"]) == ("waiting", "peer_unreachable")
        assert line.claim() is None
        line.set(pull_id, next_try_at=0.0)
    assert pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    line.set(pull_id, give_up_at=db_now() + 10)
    line.failed(line.claim(), "peer_unreachable", "Nobody answers.", may_pass=True)
    assert line.row(pull_id).status == "failed"


def test_what_is_given_back_was_no_try(line):
    pull_id, _ = line.want("1.2.3")
    line.give_back(line.claim())
    assert (line.row(pull_id).status, line.row(pull_id).tries) == ("waiting", 0)
    assert line.claim().claim == 2


@pytest.mark.parametrize(("ends", "status"), [(("done", "failed"), "done"), (("failed", "failed"), "failed")])
def test_a_search_is_over_with_the_last_of_its_finds(line, ends, status):
    with line.database.write() as session:
        wanted = Wanted(query=StudyQuery(patient_id="P-1"))
        search, _ = line.ask(session, WARD, wanted, urgency=ASKED)
    line.found(line.claim(), WARD, ["1.1", "1.2"])
    for end in ends:
        assert line.row(search.id).status == "fetching"
        if end == "done":
            line.done(line.claim(), NOTHING)
        else:
            line.failed(line.claim(), "nothing_found", "Not there.", may_pass=False)
    assert (line.row(search.id).status, line.claim()) == (status, None)


def test_what_was_wanted_is_sealed(line, tmp_path):
    line.want("1.2.840.99.77")
    line.database.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"1.2.840.99.77" not in kept
