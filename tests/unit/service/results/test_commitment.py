"""What peers report of the objects that they were asked to keep, and what becomes of the deliveries."""

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from med3d_contract.backoff import Backoff
from med3d_contract.results import Priority
from med3d_service.network.peers.configuration import DimsePeer
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.commitment import (
    COMMITTED,
    INVALID,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_OBJECT,
    SOME_FAILED,
    SUCCESS,
    Commitments,
    transaction_uid,
)
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.kinds import Kind
from med3d_service.runs import transitions
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.tables import DeliveryRow
from rig.service.parts import LEASES, add_run, completed, open_database, preprocessed, worker

PATIENCE = Patience(Backoff(first_s=1.0, longest_s=8.0), give_up_s=100.0, lease_s=30.0)
ARCHIVE = Destination(
    name="dimse:archive",
    kinds=frozenset({Kind.SR}),
    cohort=False,
    peer=DimsePeer(host="127.0.0.1", port=104, ae_title="ARCHIVE"),
    commitment=True,
)


@pytest.fixture
def database(tmp_path):
    made = open_database(tmp_path)
    yield made
    made.close()


@pytest.fixture
def commitments(database):
    return Commitments(database, [ARCHIVE], PATIENCE)


@pytest.fixture
def taken(database):
    """A delivery to the archive that a deliverer has in hand."""
    run_id = add_run(database, Priority.ROUTINE)
    vault = IdentifierVault(SiteKeys(b"o" * 32, b"i" * 32, b"b" * 32, b"u" * 32))
    with database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        vault.keep(session, run.study_id, "study_uid", "1.2.3")
        transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
        (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, run_id, completed(run.attempt), LEASES)
    with database.write() as session:
        outbox.plan(session, [ARCHIVE], PATIENCE)
    return claim(database)


def claim(database):
    with database.write() as session:
        return outbox.claim(session, ARCHIVE.name, PATIENCE)


def stored(database, taken, commitment_s=3600.0):
    with database.write() as session:
        outbox.stored(session, taken, commitment_s)


def report(taken, *, tries=None, failed=False):
    item, made = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", taken.object_uid
    made.TransactionUID = transaction_uid(taken.id, tries or taken.tries)
    setattr(made, "FailedSOPSequence" if failed else "ReferencedSOPSequence", [item])
    return made


def row(database):
    with database.read() as session:
        return session.scalars(select(DeliveryRow)).one()


def test_an_object_is_delivered_when_the_peer_reports_that_it_keeps_it(database, commitments, taken):
    stored(database, taken)
    assert (row(database).status, claim(database)) == ("stored", None)
    assert commitments.report("ARCHIVE", COMMITTED, report(taken)) == SUCCESS
    assert row(database).status == "delivered"


def test_a_report_that_is_faster_than_our_own_bookkeeping_counts(database, commitments, taken):
    assert commitments.report("ARCHIVE", COMMITTED, report(taken)) == SUCCESS
    stored(database, taken)
    assert row(database).status == "delivered"


def test_an_object_that_the_peer_does_not_keep_is_sent_again(database, commitments, taken):
    stored(database, taken)
    assert commitments.report("ARCHIVE", SOME_FAILED, report(taken, failed=True)) == SUCCESS
    assert (row(database).status, row(database).fault) == ("waiting", "peer_failed:not_committed")


def test_an_object_is_sent_again_when_no_report_comes(database, taken):
    stored(database, taken, commitment_s=-1.0)
    again = claim(database)
    assert (again.id, again.tries) == (taken.id, 2)


def test_a_late_report_on_an_earlier_try_counts(database, commitments, taken):
    stored(database, taken, commitment_s=-1.0)
    again = claim(database)
    assert commitments.report("ARCHIVE", COMMITTED, report(again, tries=1)) == SUCCESS
    assert row(database).status == "delivered"


def test_a_report_that_comes_twice_is_no_fault(database, commitments, taken):
    stored(database, taken)
    answers = [commitments.report("ARCHIVE", COMMITTED, report(taken)) for _ in range(2)]
    assert answers == [SUCCESS, SUCCESS]


def test_nobody_but_the_peer_that_was_asked_settles_a_delivery(database, commitments, taken):
    stored(database, taken)
    assert commitments.report("STRANGER", COMMITTED, report(taken)) == NO_SUCH_OBJECT
    assert row(database).status == "stored"


def test_a_report_on_a_request_that_was_never_made_settles_nothing(database, commitments, taken):
    stored(database, taken)
    assert commitments.report("ARCHIVE", COMMITTED, report(taken, tries=9)) == NO_SUCH_OBJECT
    assert row(database).status == "stored"


@pytest.mark.parametrize(
    ("event_type", "changes", "status"), [(7, {}, NO_SUCH_EVENT_TYPE), (1, {"TransactionUID": ""}, INVALID)]
)
def test_what_is_no_report_is_answered_as_the_standard_says(database, commitments, taken, event_type, changes, status):
    stored(database, taken)
    said = report(taken)
    said.update(changes)
    assert commitments.report("ARCHIVE", event_type, said) == status


def test_an_object_that_no_peer_commits_itself_to_is_dead_in_the_end(database, taken):
    taken.give_up_at = taken.created_at - 1
    stored(database, taken)
    assert (row(database).status, row(database).fault) == ("dead", "peer_failed:no_commitment")
