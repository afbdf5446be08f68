"""Instances that arrive one by one, on SQLite and PostgreSQL, through several processes' worth of intakes at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from med3d_service.storage.arrival_tables import ArrivalRow, ArrivedInstanceRow
from med3d_service.storage.tables import InstanceRow, RunRow, StudyRow, UploadRow
from med3d_service.studies.arrivals.clock import StabilityClock
from rig.processes.service import new_database
from rig.service.arriving import Intake, saved, slices
from rig.service.parts import MemoryBroker


@pytest.fixture(params=["sqlite", "postgresql"])
def intakes(request, tmp_path):
    """Three intakes on one database, store and site key, as API, listener and fetcher are."""
    url = None if request.param == "sqlite" else new_database(request.getfixturevalue("postgresql_url"))
    made = [Intake(tmp_path, {"quiet_s": 0.0, "database_url": url}) for _ in range(3)]
    yield made
    for intake in made:
        intake.arrivals.close()
        intake.database.close()


def count(intake, table):
    with intake.database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def test_what_comes_through_all_of_them_at_once_is_kept_once(intakes):
    files = [saved(one) for uid in ("1.2.3", "1.2.4") for one in slices(8, series=uid, StudyInstanceUID=uid)]

    def take(number):
        return intakes[number % 3].take(*files[number:], *files[:number])

    with ThreadPoolExecutor(6) as pool:
        outcomes = [outcome for part in pool.map(take, range(6)) for outcome in part]

    assert (outcomes.count("stored"), outcomes.count("known")) == (16, 80)
    assert (count(intakes[0], ArrivalRow), count(intakes[0], ArrivedInstanceRow)) == (2, 16)
    assert intakes[0].originals() == 16


def test_a_study_that_several_settle_at_once_gets_one_run(intakes):
    intakes[0].take(*slices(6))
    clocks = [StabilityClock(one.database, MemoryBroker(), one.settling) for one in intakes]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda clock: clock.settle_due(), clocks))

    assert [count(intakes[0], table) for table in (StudyRow, RunRow, UploadRow, InstanceRow)] == [1, 1, 6, 6]


def test_conflicts_and_faults_are_recorded(intakes):
    one, changed = slices(1)[0], slices(1)[0]
    changed.PixelData = bytes(len(changed.PixelData))
    assert intakes[0].take(one) + intakes[1].take(changed) + intakes[2].take(changed) == ["stored", "conflict", "known"]
    assert intakes[0].row().fault == "inconsistent_study"
