from hypothesis import given
from hypothesis import strategies as st

from med3d_contract.work import MOST_AT_ONCE
from med3d_worker.stages.pace import AT_ONCE_S, Pace


def test_nothing_is_known_at_first_so_one_is_claimed():
    assert Pace().limit == 1


def test_what_takes_seconds_is_claimed_one_by_one():
    pace = Pace()
    pace.took(1, 2.5)
    assert pace.limit == 1


def test_what_takes_milliseconds_is_claimed_in_bulk_but_not_without_bounds():
    pace = Pace()
    for _ in range(20):
        pace.took(10, 0.001)
    assert pace.limit == MOST_AT_ONCE


def test_one_slow_claim_is_believed_at_once_and_forgotten_slowly():
    pace = Pace()
    pace.took(10, 0.1)
    pace.took(1, 2.0)
    assert pace.limit == 1
    pace.took(1, 0.01)
    assert pace.limit < 10


@given(st.lists(st.tuples(st.integers(1, MOST_AT_ONCE), st.floats(0, 1000)), min_size=1))
def test_a_claim_is_never_for_longer_than_its_time_by_what_was_measured_last(measured):
    pace = Pace()
    for runs, seconds in measured:
        pace.took(runs, seconds)
    last_s = measured[-1][1] / measured[-1][0]
    assert pace.limit == 1 or pace.limit * last_s <= AT_ONCE_S * 1.000001
