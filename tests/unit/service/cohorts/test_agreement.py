"""Formulas against numpy and scipy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from med3d_service.cohorts.agreement import accuracy, agreement, correlation, mean_95

NUMBERS = st.floats(-100, 200, allow_nan=False).map(lambda value: round(value, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=40)


@given(PAIRS)
def test_agreement_is_what_bland_and_altman_wrote(pairs):
    first, second = np.array(pairs).T
    found = agreement(pairs)
    difference = second - first
    assert found.shift.mean == pytest.approx(difference.mean(), abs=1e-9)
    assert found.sd == pytest.approx(difference.std(ddof=1), abs=1e-9)
    reach = 1.959964 * difference.std(ddof=1)
    assert found.limits_of_agreement == pytest.approx((difference.mean() - reach, difference.mean() + reach), abs=1e-4)
    mean = (first + second) / 2
    if mean.std() > 1e-3:
        assert found.slope == pytest.approx(stats.linregress(mean, difference).slope, abs=1e-6)
    if first.std() > 1e-3 and second.std() > 1e-3:
        assert found.correlation == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-6)
    assert found.largest == abs(difference).max()


def test_a_bundle_that_adds_two_years_to_everyone_shifts_by_two_and_agrees_otherwise():
    found = agreement([(age, age + 2) for age in range(20, 80)])
    assert (found.shift.mean, found.sd, found.slope) == (2, 0, pytest.approx(0))
    assert found.correlation == pytest.approx(1)


def test_accuracy_says_which_is_nearer_to_the_truth():
    found = accuracy([(50, 54, 51), (60, 58, 61), (70, 76, 69)])
    assert found.mae == (4, 1)
    assert found.mae_change.mean == -3
    assert found.mae_change.upper < 0
    assert found.bias == (pytest.approx(8 / 3), pytest.approx(1 / 3))


def test_too_few_say_nothing_and_what_does_not_vary_has_no_correlation():
    assert agreement([]) is agreement([(1, 2)]) is accuracy([]) is None
    assert agreement([(1, 2), (1, 3)]).correlation is None
    assert correlation([3.3] * 10, list(range(10))) is None
    assert mean_95([4.0]).lower is None


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 3.0, (2000, 100))
    held = [found.lower <= 1.0 <= found.upper for row in draws if (found := mean_95(row.tolist()))]
    assert 0.93 <= np.mean(held) <= 0.965
