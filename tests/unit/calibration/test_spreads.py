import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from med3d_pipeline.calibration.spreads import LogSpread, student_t_below


@given(st.floats(-40, 40), st.integers(1, 500))
def test_student_s_t_is_that_of_another_implementation(value, degrees):
    assert student_t_below(value, degrees) == pytest.approx(student.cdf(value, degrees), abs=1e-6)


def test_a_new_healthy_head_is_beyond_the_98th_percentile_in_two_of_a_hundred_cases():
    rng = np.random.default_rng(3)
    sites = np.exp(rng.normal(2, 0.1, (4000, 21)))
    false_alarms = np.mean([LogSpread.of(site[:20]).percentile(site[20]) > 98 for site in sites])
    assert false_alarms == pytest.approx(0.02, abs=3 * np.sqrt(0.02 * 0.98 / 4000))


def test_nothing_is_nearer_than_the_middle():
    assert LogSpread(0.0, 1.0, 20).percentile(0.0) == 0.0


def test_without_a_degree_of_freedom_there_is_no_distribution():
    with pytest.raises(ValueError, match="degree of freedom"):
        student_t_below(1.0, 0)
