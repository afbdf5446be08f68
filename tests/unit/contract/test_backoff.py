from hypothesis import given
from hypothesis import strategies as st

from med3d_contract.backoff import Backoff


def test_pauses_double_up_to_the_longest():
    backoff = Backoff(first_s=0.5, longest_s=8.0)
    assert [backoff.pause_s(failures) for failures in (1, 2, 3, 4, 5, 6)] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_child_that_dies_for_hours_still_has_a_pause():
    assert Backoff(first_s=0.5, longest_s=8.0).pause_s(10_000) == 8.0


@given(failures=st.integers(1, 5000))
def test_a_jittered_pause_is_at_least_half_of_the_pause_and_never_longer(failures):
    backoff = Backoff(first_s=0.25, longest_s=4.0)
    assert backoff.pause_s(failures) / 2 <= backoff.jittered_s(failures) <= backoff.pause_s(failures) <= 4.0
