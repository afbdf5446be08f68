import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.calibration.lines import fit_line, left_out_lines

ESTIMATES = np.linspace(20, 60, 20)


@given(st.floats(-30, 30), st.integers(20, 60))
def test_a_pure_offset_is_removed(offset, count):
    x = np.linspace(20, 70, count)
    line = fit_line(x, np.full(count, -offset), with_slope=True)
    assert line.at(x) == pytest.approx(-offset, abs=1e-9)


@given(st.floats(-10, 10), st.floats(-0.9, 1.0))
def test_offset_and_slope_without_noise_are_found(offset, slope):
    y = offset + slope * (ESTIMATES - 40)
    assert fit_line(ESTIMATES, y, with_slope=True).at(ESTIMATES) == pytest.approx(y, abs=1e-6)


def test_heads_that_agree_with_the_bundle_change_nothing():
    line = fit_line(ESTIMATES, np.zeros(20), with_slope=True)
    assert (line.offset, line.slope) == (0.0, 0.0)


def test_estimates_that_are_all_the_same_have_no_slope():
    assert fit_line(np.full(20, 40.0), ESTIMATES - 40, with_slope=True).slope == 0.0


def test_without_a_slope_only_the_offset_is_fitted():
    line = fit_line(ESTIMATES, 3 + 0.01 * (ESTIMATES - 40), with_slope=False)
    assert (line.offset, line.slope) == (pytest.approx(3, abs=1e-3), 0.0)


def test_beyond_the_heads_the_correction_stays_what_it_is_at_their_end():
    line = fit_line(ESTIMATES, -0.5 * (ESTIMATES - 40), with_slope=True)
    assert line.at(np.array([10.0, 90.0])) == pytest.approx([10.0, -10.0])


def simulated(seed, count=20):
    """A site whose offset (SD 2 years) and slope (SD 0.1) are small beside the noise of its estimates (SD 7 years)."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(20, 60, count)
    offset, slope = rng.normal(0, 2), rng.normal(0, 0.1)
    return x, offset + slope * (x - 40) + rng.normal(0, 7, count), offset + slope * (ESTIMATES - 40)


def test_with_noise_the_shrinkage_lowers_the_expected_error():
    shrunken, plain = [], []
    for seed in range(300):
        x, y, truth = simulated(seed)
        slope, intercept = np.polyfit(x, y, 1)
        shrunken.append(np.mean((fit_line(x, y, with_slope=True).at(ESTIMATES) - truth) ** 2))
        plain.append(np.mean((intercept + slope * ESTIMATES - truth) ** 2))
    assert np.mean(shrunken) < 0.85 * np.mean(plain)


def test_noisy_heads_change_less_than_many_heads_or_quiet_ones():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(20)
    noise = (noise - noise.mean()) / noise.std()
    offsets = [fit_line(ESTIMATES, 4 + sd * noise, with_slope=False).offset for sd in (0.0, 3.0, 7.0, 30.0)]
    assert offsets == sorted(offsets, reverse=True)
    assert offsets[0] == pytest.approx(4)
    # Noise of 7 years is worth (7 / 5)^2 = 2 heads of the bundle's word (and a little for leaving one out).
    assert offsets[2] == pytest.approx(4 * 20 / (20 + 2), abs=0.1)
    many = fit_line(np.tile(ESTIMATES, 10), np.tile(4 + 30 * noise, 10), with_slope=False).offset
    assert offsets[3] < many < 4


def test_no_head_speaks_for_itself():
    x, y, _ = simulated(4)
    moved = y.copy()
    moved[7] += 100
    assert left_out_lines(x, moved, with_slope=True)[7] == left_out_lines(x, y, with_slope=True)[7]
