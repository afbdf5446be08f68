"""Callers by DICOM that were turned away are in the audit trail, and a flood of them is not."""

import pytest
from sqlalchemy import select

from med3d_service.network.listener.rejections import MOST_IN_A_MINUTE, Rejections
from med3d_service.trust.audit.tables import AuditRow
from rig.service.arriving import Intake


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def intake(tmp_path):
    made = Intake(tmp_path)
    yield made
    made.arrivals.close()
    made.database.close()


def entries(intake):
    with intake.database.read() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.object_kind == "association")).all()
    return [(row.action, row.outcome, row.actor, row.address, row.detail) for row in rows]


def test_a_rejected_caller_is_one_entry_a_minute(intake):
    clock = Clock()
    rejections = Rejections(intake.trail, clock)
    for _ in range(5):
        rejections.note("caller_unknown", "10.0.0.9", "STRANGER")
    assert entries(intake) == [("enter", "denied", "STRANGER", "10.0.0.9", '{"reason":"caller_unknown"}')]
    rejections.note("address_unknown", "10.0.0.9")
    clock.now = 61.0
    rejections.note("caller_unknown", "10.0.0.9", "STRANGER")
    assert len(entries(intake)) == 3


def test_a_flood_of_addresses_fills_no_disk(intake):
    rejections = Rejections(intake.trail, Clock())
    for number in range(MOST_IN_A_MINUTE + 20):
        rejections.note("address_unknown", f"10.0.0.{number}")
    assert len(entries(intake)) == MOST_IN_A_MINUTE
