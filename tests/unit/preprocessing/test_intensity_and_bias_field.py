"""One scale of brightness for every scanner and coil."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_pipeline.preprocessing.bias_field import correct_bias_field
from med3d_pipeline.preprocessing.intensity import scale_robustly
from med3d_pipeline.preprocessing.spec import BiasFieldSpec, IntensitySpec
from med3d_pipeline.preprocessing.working_views import View
from med3d_pipeline.volume import Volume
from rig.science import heads


def tissue() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    return random.normal(100, 20, (16, 16, 16)).astype(np.float32), np.ones((16, 16, 16), dtype=np.float32)


@given(gain=st.floats(0.01, 1000), offset=st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_gain_and_offset_of_the_scanner_fall_out(gain: float, offset: float) -> None:
    voxels, share = tissue()
    expected = scale_robustly(voxels, share, IntensitySpec())
    found = scale_robustly((gain * (voxels + offset)).astype(np.float32), share, IntensitySpec())
    assert np.allclose(found, expected, atol=2e-3)


def test_the_percentiles_become_nought_and_one_and_the_brightest_are_clipped() -> None:
    voxels, share = tissue()
    voxels[0, 0, 0] = 1e6
    scaled = scale_robustly(voxels, share, IntensitySpec())
    assert scaled.dtype == np.float32
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(1.25)
    assert np.percentile(scaled, 98) == pytest.approx(1, abs=0.01)


def test_outside_the_brain_is_nought_and_the_edge_fades() -> None:
    voxels, share = tissue()
    share[:4] = 0
    share[4] = 0.25
    scaled = scale_robustly(voxels, share, IntensitySpec())
    assert not scaled[:4].any()
    assert scaled[4].max() <= 0.25 * 1.25


def test_a_brain_without_contrast_is_an_error() -> None:
    flat = np.full((4, 4, 4), 5, dtype=np.float32)
    with pytest.raises(ValueError, match="no contrast"):
        scale_robustly(flat, np.ones_like(flat), IntensitySpec())
    with pytest.raises(ValueError, match="no contrast"):
        scale_robustly(flat, np.zeros_like(flat), IntensitySpec())


def test_a_smooth_shading_is_taken_off_and_the_brightness_kept() -> None:
    brain = heads.phantom(spacing_mm=4.0)
    # Two tissues: N4 looks for few sharp peaks, and finds none in the phantom's own blobs.
    tissues = np.where(brain.voxels > 70, 100.0, 60.0) * (brain.voxels > 0)
    share = Volume(voxels=(brain.voxels > 0).astype(np.float32), affine=brain.affine)
    axis = np.linspace(-1, 1, brain.shape[0])
    shading = np.exp(0.35 * axis[:, None, None] - 0.25 * axis[None, :, None] ** 2)
    shaded = Volume(voxels=(tissues * shading).astype(np.float32), affine=brain.affine)
    inside = share.voxels > 0
    corrected = correct_bias_field([View(shaded, share)], BiasFieldSpec(grid_mm=8.0))[0].head

    def shading_left(voxels: np.ndarray) -> float:
        return float(np.log(voxels[inside] / tissues[inside]).std())

    assert shading_left(corrected.voxels) < 0.4 * shading_left(shaded.voxels)
    kept = np.log(corrected.voxels[inside]).mean() - np.log(shaded.voxels[inside]).mean()
    assert kept == pytest.approx(0, abs=0.01)
