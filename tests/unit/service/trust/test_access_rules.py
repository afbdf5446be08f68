"""What each role may do, and whose things a caller sees."""

import pytest
from sqlalchemy.dialects import sqlite

from med3d_service.storage.tables import StudyRow
from med3d_service.trust.access.roles import EVERY_SITE, Caller, Grant, Role

FOR_PEOPLE = [Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN]
RISING = [Role.METRICS, *FOR_PEOPLE]


def caller(**known):
    return Caller(
        **({"kind": "key", "name": "abc", "role": Role.VIEWER, "clinical": False, "site": "north", "every_site": False,
            "address": ""} | known)
    )  # fmt: skip


@pytest.mark.parametrize(("rank", "role"), list(enumerate(RISING)))
def test_a_role_may_what_those_below_it_may_and_nothing_above(rank, role):
    assert [one for one in Role if role.covers(one)] == RISING[: rank + 1]


def test_a_worker_s_key_opens_nothing_else_and_no_other_key_a_worker_s_doors():
    assert [one for one in Role if Role.WORKER.covers(one)] == [Role.WORKER]
    assert [one for one in Role if one.covers(Role.WORKER)] == [Role.WORKER]


def test_metrics_and_workers_are_no_people():
    assert [one for one in Role if one.is_for_people] == FOR_PEOPLE


def test_a_grant_names_no_patient_unless_it_says_so():
    assert Grant(Role.ADMIN) == Grant(Role.ADMIN, clinical=False, site=EVERY_SITE)


def condition(one):
    return str(one.sees(StudyRow.site).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))


def test_a_caller_of_one_site_sees_its_rows_alone():
    assert condition(caller()) == "studies.site = 'north'"
    assert caller().only_site == "north"


def test_a_caller_of_every_site_sees_all_rows():
    assert condition(caller(every_site=True)) == "1"
    assert caller(every_site=True).only_site is None


@pytest.mark.parametrize(("kind", "prefix"), [("session", "abc"), ("key", "abc.def"), ("token", "abc.def")])
def test_the_prefix_is_that_of_the_key_also_of_its_session_and_a_token_keeps_its_dots(kind, prefix):
    read = kind.encode().decode()  # as from a database: equal, not the same object
    assert caller(kind=read, name="abc.def").prefix == prefix


def test_grants_and_callers_are_not_changed():
    with pytest.raises(AttributeError):
        caller().every_site = True
    with pytest.raises(AttributeError):
        Grant(Role.VIEWER).clinical = True
