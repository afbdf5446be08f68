"""What an administrator is shown of arrivals: whence, how many, which rule, why no run; and who was turned away."""

import json

import pytest
from prometheus_client import generate_latest
from sqlalchemy import select, true

from med3d_cli.processes.arrivals import tell
from med3d_contract.arrivals import ArrivalPage, ArrivalState
from med3d_service.api.metrics import Metrics
from med3d_service.network.listener.counts import ListenerCounts
from med3d_service.network.pulls import arriving
from med3d_service.network.pulls.line import Origin, PullLine
from med3d_service.network.pulls.wanted import Wanted
from med3d_service.runs.parking import park_study
from med3d_service.storage.arrival_tables import ArrivalRow
from med3d_service.storage.counters import note_turned_away
from med3d_service.studies.arrivals.arrivals import Source
from med3d_service.studies.arrivals.routing import RoutingRules, Rule
from rig.service.arriving import slices
from rig.service.ward import Ward

SCANNER = Source("dimse", "default", "SCANNER", "10.1.2.3", called="STROKE")
RULES = RoutingRules(
    (
        Rule(name="no scouts", action="ignore", description=("*scout*",)),
        Rule(name="heads", modality=("MR",)),
    )
)


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path, rules=RULES)
    yield made
    made.close()


def shown(ward):
    with ward.database.read() as session:
        rows = session.scalars(select(ArrivalRow).order_by(ArrivalRow.last_at)).all()
        return arriving.reports(session, rows, 60.0)


def test_a_study_tells_whence_it_came_how_much_and_what_rule_matched(ward):
    ward.take(*slices(4, SeriesDescription="t1"), *slices(2, series="b", SeriesDescription="scout"), source=SCANNER)
    (coming,) = shown(ward)
    assert (coming.state, coming.ae_title, coming.address, coming.called_ae_title, coming.inlet) == (
        ArrivalState.RECEIVING,
        "SCANNER",
        "10.1.2.3",
        "STROKE",
        "dimse",
    )
    assert [(rule.rule, rule.instances) for rule in coming.rules] == [("heads", 4), (None, 2)]
    assert coming.until is not None
    ward.arrivals.mark_complete("default", "1.2.3")
    assert shown(ward)[0].state is ArrivalState.IN_WORK
    while ward.courier.copy_next():
        pass
    ward.answer()
    assert shown(ward)[0].state is ArrivalState.ANSWERED


def test_why_there_is_no_run_is_said(ward):
    ward.send(*slices(4, SeriesDescription="scout"), source=SCANNER)
    assert shown(ward)[0].state is ArrivalState.IGNORED
    ward.send(*slices(2, series="c", SeriesDescription="t2"), source=SCANNER)
    with ward.database.write() as session:
        park_study(session, ward.row().study_id)
    (waiting,) = shown(ward)
    assert (waiting.state, waiting.until is not None) == (ArrivalState.WAITING_FOR_T1, True)
    ward.send(*slices(1, series="d", SeriesDescription="t2", PatientID="P-9"), source=SCANNER)
    (doubtful,) = shown(ward)
    assert (doubtful.state, doubtful.code) == (ArrivalState.AT_FAULT, "several_patients")


def test_what_was_announced_and_has_not_come_is_told(ward):
    line = PullLine(ward.database, ward.vault, ward.settings)
    origin = Origin(site="default", kind="hook", source="dicomweb", peer="ward")
    with ward.database.write() as session:
        line.ask(session, origin, Wanted(study_uid="1.2.3"), urgency=0)
    with ward.database.read() as session:
        (told,) = arriving.announced(session, true())
    assert (told.state, told.inlet, told.ae_title, told.arrival_id) == (ArrivalState.ANNOUNCED, "hook", "ward", None)
    ward.take(*slices(1))
    with ward.database.read() as session:
        assert arriving.announced(session, true()) == ()


def test_callers_that_are_turned_away_are_counted_and_few_are_kept(ward):
    with ward.database.write() as session:
        for number in range(5):
            note_turned_away(session, {("address_unknown", f"10.0.0.{number}", ""): 1}, float(number), most=3)
        assert [one.address for one in arriving.turned_away(session, 10)] == ["10.0.0.4", "10.0.0.3", "10.0.0.2"]


def test_what_came_and_who_was_turned_away_are_metrics(ward):
    counts = ListenerCounts(ward.database)
    counts.turned_away("caller_unknown", "10.1.2.3", "OTHER")
    counts.turned_away("caller_unknown", "10.1.2.3", "OTHER")
    counts.association("released")
    counts.write()
    with ward.database.read() as session:
        told = [(one.reason, one.ae_title, one.count) for one in arriving.turned_away(session, 10)]
    assert told == [("caller_unknown", "OTHER", 2)]
    ward.take(*slices(3), *slices(3)[:1], source=SCANNER)
    said = generate_latest(Metrics(ward.database, 20.0, 600.0).registry).decode()
    assert 'med3d_rejections_total{reason="caller_unknown"} 2.0' in said
    assert 'med3d_associations_total{how="released"} 1.0' in said
    assert 'med3d_arrived_instances_total{inlet="dimse"} 3.0' in said
    assert 'med3d_known_instances_total{inlet="dimse"} 1.0' in said


def test_the_command_shows_all_of_it_as_a_table_or_as_json(ward, capsys):
    ward.send(*slices(4, SeriesDescription="t1"), source=SCANNER)
    counts = ListenerCounts(ward.database)
    counts.turned_away("caller_unknown", "10.1.2.9", "OTHER")
    counts.write()
    with ward.database.read() as session:
        page = ArrivalPage(
            items=shown(ward), announced=(), turned_away=arriving.turned_away(session, 10), next_cursor=None
        )

    tell(page, as_json=False)
    said = capsys.readouterr().out
    for words in ("SCANNER@10.1.2.3", "heads: 4", "in_work", "OTHER@10.1.2.9", "caller_unknown"):
        assert words in said
    tell(page, as_json=True)
    assert json.loads(capsys.readouterr().out)["items"][0]["state"] == "in_work"
