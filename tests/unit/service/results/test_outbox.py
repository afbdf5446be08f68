"""From stored answers to deliveries: each planned once, taken by one sender at a time, tried with patience."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from med3d_contract.backoff import Backoff
from med3d_contract.results import Priority
from med3d_service.problems import ServiceError
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.filtering import Filter
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.delivery.receivers import Webhook
from med3d_service.results.delivery.states import DeliveryStatus
from med3d_service.results.kinds import Kind, object_uid
from med3d_service.runs import transitions
from med3d_service.storage.identifiers import IdentifierVault
from med3d_service.storage.keys import SiteKeys
from med3d_service.storage.tables import DeliveryRow, OutboxRow, RunRow
from med3d_service.studies.own_objects import OWN_UID_ROOT, is_own, own_uid
from rig.service.parts import LEASES, add_run, completed, failed, open_database, preprocessed, refused, worker
from rig.service.work import BUNDLE

PATIENCE = Patience(Backoff(first_s=1.0, longest_s=8.0), give_up_s=100.0, lease_s=30.0)
VAULT = IdentifierVault(SiteKeys(b"o" * 32, b"i" * 32, b"b" * 32, b"u" * 32))
HOOK = Webhook.model_validate({"url": "http://127.0.0.1:9/", "secret": {"env": "PATH"}})


def destination(name="dimse:pacs", kinds=(Kind.SR,), cohort=False):
    return Destination(name=name, kinds=frozenset(kinds), cohort=cohort, peer=HOOK)


@pytest.fixture
def database(tmp_path):
    made = open_database(tmp_path)
    yield made
    made.close()


def answered(database, ending=completed, *, priority=Priority.ROUTINE, is_dicom=True):
    """A run that has ended so; its id."""
    run_id = add_run(database, priority)
    with database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        if is_dicom:
            VAULT.keep(session, run.study_id, "study_uid", "1.2.3")
        transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
        (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, run_id, ending(run.attempt), LEASES)
    return run_id


def planned(database, *destinations):
    with database.write() as session:
        return outbox.plan(session, destinations, PATIENCE)


def rows(database):
    with database.read() as session:
        return list(session.scalars(select(DeliveryRow).order_by(DeliveryRow.seq)))


def claim(database, name="dimse:pacs"):
    with database.write() as session:
        return outbox.claim(session, name, PATIENCE)


def later(database, seconds):
    """Let time pass for deliveries."""
    with database.write() as session:
        session.execute(
            update(DeliveryRow).values(
                next_try_at=DeliveryRow.next_try_at - seconds,
                give_up_at=DeliveryRow.give_up_at - seconds,
                lease_until=DeliveryRow.lease_until - seconds,
            )
        )


# --- what is planned ---


FITTING = {"sources": ("up*",), "sites": ("default",), "bundles": (f"{BUNDLE.name}@*",)}


@pytest.mark.parametrize(
    ("ending", "stated", "planned_rows"),
    [
        (completed, {}, 1),
        (completed, {"decisions": ("refused",)}, 0),
        (refused, {}, 0),
        (refused, {"decisions": ("refused",)}, 1),
        (completed, FITTING, 1),
        (completed, FITTING | {"sources": ("dimse",)}, 0),
        (completed, FITTING | {"rules": ("*",)}, 0),
        (completed, FITTING | {"bundles": ("another@*",)}, 0),
    ],
)
def test_a_destination_gets_what_its_filter_takes_and_refusals_where_asked(database, ending, stated, planned_rows):
    answered(database, ending)
    assert planned(database, destination().model_copy(update={"filter": Filter(**stated)})) == planned_rows


@pytest.mark.parametrize("ending", [completed, refused])
def test_an_answer_and_its_outbox_row_are_one_transaction(database, ending):
    run_id = answered(database, ending)
    with database.read() as session:
        assert list(session.scalars(select(OutboxRow.run_id))) == [run_id]


def test_an_answer_that_is_not_stored_leaves_nothing_in_the_outbox(database):
    run_id = add_run(database)
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012 - the loss comes after the answer
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_outcome(session, run_id, refused(run.attempt), LEASES)
        raise RuntimeError
    with database.read() as session:
        assert session.scalars(select(OutboxRow)).first() is None
        assert session.scalars(select(RunRow.status)).one() == "queued"


def test_a_fault_of_ours_is_no_answer(database):
    answered(database, lambda attempt: failed(attempt, retryable=False))
    with database.read() as session:
        assert not outbox.has_answers(session)


def test_each_object_of_each_destination_is_planned_once(database):
    run_id = answered(database)
    targets = (destination(kinds=(Kind.SR, Kind.PDF)), destination("webhook:his", (Kind.EVENT,)))
    assert planned(database, *targets) == 3
    assert planned(database, *targets) == 0
    with database.write() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == run_id)).one()
        assert outbox.plan_run(session, run, targets, PATIENCE) == 0
    assert {(row.kind, row.destination) for row in rows(database)} == {
        ("sr", "dimse:pacs"),
        ("pdf", "dimse:pacs"),
        ("event", "webhook:his"),
    }


def test_nothing_is_planned_and_nothing_is_left_where_nothing_is_configured(database):
    answered(database)
    assert planned(database) == 0
    with database.read() as session:
        assert not outbox.has_answers(session)
    assert planned(database, destination()) == 0, "a peer that is configured later does not get the past"


def test_a_cohort_run_goes_to_those_who_want_cohorts(database):
    answered(database, priority=Priority.COHORT)
    assert planned(database, destination(), destination("dimse:research", cohort=True)) == 1
    assert rows(database)[0].destination == "dimse:research"


def test_dicom_objects_are_planned_for_dicom_studies_only(database):
    answered(database, is_dicom=False)
    assert (
        planned(
            database,
            destination(kinds=(Kind.SR, Kind.PDF, Kind.SC, Kind.ORU)),
            destination("webhook:his", (Kind.EVENT,)),
        )
        == 1
    )


def test_an_object_has_the_same_uid_for_ever():
    assert object_uid("run-1", Kind.SR) == object_uid("run-1", Kind.SR) == own_uid("run-1", "sr")
    assert len({object_uid(run, kind) for run in ("run-1", "run-2") for kind in Kind}) == 2 * len(Kind)


def test_own_uids_are_known_again_and_fit_into_a_uid():
    uids = [own_uid("run", str(number)) for number in range(1000)]
    assert all(is_own(uid) and len(uid) <= 64 for uid in uids)
    assert len(set(uids)) == 1000
    assert not is_own(OWN_UID_ROOT + "1.2")
    assert not is_own("1.2.840.113619.1")


# --- how it is sent ---


def test_two_senders_never_have_one_delivery(database):
    answered(database)
    planned(database, destination())
    assert claim(database) is not None
    assert claim(database) is None


def test_a_delivery_whose_sender_was_lost_is_taken_again_and_the_lost_one_has_no_say(database):
    answered(database)
    planned(database, destination())
    lost = claim(database)
    later(database, PATIENCE.lease_s + 1)
    second = claim(database)
    assert (second.id, second.tries) == (lost.id, 2)
    with database.write() as session:
        outbox.dead(session, lost, "refused:0xA900")
    assert rows(database)[0].status == DeliveryStatus.SENDING
    with database.write() as session:
        outbox.delivered(session, second)
    assert rows(database)[0].status == DeliveryStatus.DELIVERED


def test_a_fault_that_may_pass_is_tried_again_after_its_pause_until_patience_ends(database):
    answered(database)
    planned(database, destination())
    taken = claim(database)
    with database.write() as session:
        assert outbox.postponed(session, taken, "peer_away:x", PATIENCE) == DeliveryStatus.WAITING
    assert claim(database) is None
    later(database, 1.1)
    assert claim(database) is not None
    later(database, PATIENCE.give_up_s)
    taken = claim(database)
    with database.write() as session:
        assert outbox.postponed(session, taken, "peer_away:x", PATIENCE) == DeliveryStatus.DEAD
    assert rows(database)[0].fault == "peer_away:x"


def test_what_waits_for_a_peer_is_due_at_once_when_the_peer_is_back(database):
    answered(database)
    answered(database)
    planned(database, destination())
    for _ in range(2):
        taken = claim(database)
        with database.write() as session:
            outbox.postponed(session, taken, "peer_away:x", PATIENCE)
    assert claim(database) is None
    with database.write() as session:
        outbox.retry(session, rows(database)[0].id, PATIENCE)
    taken = claim(database)
    with database.write() as session:
        outbox.delivered(session, taken)
    assert claim(database) is not None


def test_a_dead_delivery_is_sent_again_when_a_person_says_so(database):
    answered(database)
    planned(database, destination())
    taken = claim(database)
    with database.write() as session:
        outbox.dead(session, taken, "refused:0xA900")
    later(database, PATIENCE.give_up_s * 2)
    assert claim(database) is None
    with database.write() as session:
        outbox.retry(session, taken.id, PATIENCE)
    again = claim(database)
    assert again.object_uid == taken.object_uid
    with database.write() as session, pytest.raises(ServiceError, match="unknown_delivery"):
        outbox.retry(session, "nobody", PATIENCE)


RIS = "hl7:ris"


def test_a_verdict_lets_go_again_what_says_how_an_answer_stands_and_nothing_else(database):
    run_id = answered(database)
    planned(database, destination(kinds=(Kind.PDF,)), destination(RIS, (Kind.ORU,)))
    for name in ("dimse:pacs", RIS):
        taken = claim(database, name)
        with database.write() as session:
            outbox.delivered(session, taken)
    with database.write() as session:
        assert outbox.say_anew(session, session.scalars(select(RunRow).where(RunRow.id == run_id)).one(), PATIENCE) == 1
    assert claim(database) is None
    assert claim(database, RIS).tries == 2


def test_a_verdict_while_the_message_is_under_way_sends_it_once_more(database):
    run_id = answered(database)
    planned(database, destination(RIS, (Kind.ORU,)))
    taken = claim(database, RIS)
    with database.write() as session:
        outbox.say_anew(session, session.scalars(select(RunRow).where(RunRow.id == run_id)).one(), PATIENCE)
    with database.write() as session:
        outbox.delivered(session, taken)
    assert claim(database, RIS).id == taken.id


def test_an_older_answer_never_goes_where_one_of_a_study_is_kept(database):
    older, newer = answered(database), answered(database)
    with database.write() as session:
        run = session.scalars(select(RunRow).where(RunRow.id == older)).one()
        run.superseded_by = newer
        session.flush()
        assert outbox.hindrance(session, older, Kind.ORU) == outbox.SUPERSEDED
        assert outbox.hindrance(session, older, Kind.SR) is None
        assert outbox.hindrance(session, newer, Kind.ORU) is None
        assert outbox.say_anew(session, run, PATIENCE) == 0


class Deliveries(RuleBasedStateMachine):
    """Senders that take, are lost, come late and fail in any order: a destination has one holder, and an end is an end."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = open_database(Path(self.folder.name))
        answered(self.database)
        answered(self.database, refused)
        planned(self.database, destination())
        self.held = []
        self.settled = {}

    def teardown(self):
        self.database.close()
        self.folder.cleanup()

    @rule()
    def somebody_takes(self):
        if (taken := claim(self.database)) is not None:
            self.held.append(taken)

    @rule(index=st.integers(0, 5), how=st.sampled_from(["delivered", "dead", "postponed"]))
    def somebody_says(self, index, how):
        """Also who was thought lost: it has no say."""
        if not self.held:
            return
        taken = self.held[index % len(self.held)]
        with self.database.write() as session:
            before = session.scalars(select(DeliveryRow).where(DeliveryRow.id == taken.id)).one()
            counts = before.status == DeliveryStatus.SENDING and before.tries == taken.tries
            if how == "delivered":
                outbox.delivered(session, taken)
            elif how == "dead":
                outbox.dead(session, taken, "refused:x")
            else:
                outbox.postponed(session, taken, "peer_away:x", PATIENCE)
        if counts and how != "postponed":
            self.settled[taken.id] = how

    @rule(seconds=st.sampled_from([1.5, 31.0]))
    def time_passes(self, seconds):
        later(self.database, seconds)

    @rule()
    def a_person_retries(self):
        with self.database.write() as session:
            dead = session.scalars(select(DeliveryRow).where(DeliveryRow.status == DeliveryStatus.DEAD)).first()
            if dead is not None:
                outbox.retry(session, dead.id, PATIENCE)
                self.settled.pop(dead.id, None)

    @invariant()
    def the_rows_tell_one_story(self):
        found = rows(self.database)
        assert len(found) == 2, "none is lost, none is doubled"
        for row in found:
            assert row.object_uid == own_uid(row.run_id, "sr")
            assert (row.lease_until is not None) == (row.status == DeliveryStatus.SENDING)
            assert (row.ended_at is not None) == (row.status in {DeliveryStatus.DELIVERED, DeliveryStatus.DEAD})
            expected = self.settled.get(row.id)
            assert expected is None or row.status == expected


def test_deliveries_hold_under_any_order_of_events():
    run_state_machine_as_test(
        Deliveries,
        settings=settings(
            max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
