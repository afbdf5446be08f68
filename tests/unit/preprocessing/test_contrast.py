"""Contrast is measured inside the brain: white against grey matter, whatever surrounds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.preprocessing.measures.contrast import TemplateTissues, find_tissues, measure_contrast
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits
from med3d_pipeline.volume import Volume
from rig.science import heads
from rig.science.tissues import BRIGHTNESS, tissue_labels, tissue_template, with_brightness

SPEC = PreprocessSpec()


@pytest.fixture(scope="module")
def tissues() -> TemplateTissues:
    return find_tissues(tissue_template(), SPEC)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return tissue_labels(SPEC)


def within_limits(measures: dict[str, float]) -> bool:
    limits = QualityLimits().refuse
    return all(value > (limits[name][0] or 0) for name, value in measures.items())


def test_the_template_s_own_brightness_tells_its_tissues_apart(tissues: TemplateTissues, labels: np.ndarray) -> None:
    assert (labels[tissues.white] == 3).mean() > 0.9
    assert (labels[tissues.grey] == 2).mean() > 0.6
    assert not np.any(tissues.white & tissues.grey)
    assert not np.any(tissues.inside & (labels == 0))


@pytest.mark.parametrize(("contrast", "accepted"), [(name, name.startswith("t1")) for name in BRIGHTNESS])
def test_only_t1_contrast_is_within_the_limits(
    tissues: TemplateTissues, labels: np.ndarray, contrast: str, accepted: bool
) -> None:
    assert within_limits(measure_contrast(with_brightness(labels, contrast), tissues)) == accepted


@pytest.mark.parametrize("contrast", BRIGHTNESS)
def test_grown_ventricles_do_not_turn_one_contrast_into_another(
    tissues: TemplateTissues, labels: np.ndarray, contrast: str
) -> None:
    """A third of what is white matter in the template is fluid in this head, as in some old people's."""
    away = np.sqrt(((np.indices(labels.shape).T - np.argwhere(tissues.white).mean(axis=0)) ** 2).sum(axis=-1)).T
    reach = np.percentile(away[tissues.white], 33)
    grown = np.where((away < reach) & (labels > 0), 1, labels)
    measures = measure_contrast(with_brightness(grown, contrast), tissues)
    assert within_limits(measures) == contrast.startswith("t1")


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.5, 2.0])
def test_a_monitor_s_gamma_does_not_turn_t1_contrast_into_another(
    tissues: TemplateTissues, labels: np.ndarray, gamma: float
) -> None:
    assert within_limits(measure_contrast(with_brightness(labels, "t1") ** gamma, tissues))


@given(gain=st.floats(0.01, 1000), offset=st.floats(-10, 10))
def test_no_gain_and_no_offset_changes_the_measures(
    tissues: TemplateTissues, labels: np.ndarray, gain: float, offset: float
) -> None:
    tensor = with_brightness(labels, "t1")
    changed = (gain * (tensor + np.float32(offset))).astype(np.float32)
    assert measure_contrast(changed, tissues) == pytest.approx(measure_contrast(tensor, tissues), abs=1e-3)


def test_an_inside_without_contrast_is_never_within_the_limits(tissues: TemplateTissues, labels: np.ndarray) -> None:
    assert not within_limits(measure_contrast(np.ones_like(tissues.brightness), tissues))


@pytest.fixture(scope="module")
def judge() -> Callable[[Volume], str]:
    preprocess = Bundle.open(Bundle.default_path(), verify=False).preprocessor()

    def code(volume: Volume) -> str:
        refusal = judge_quality(preprocess(volume).measures, QualityLimits()).refusal
        return refusal.code if refusal else "accepted"

    return code


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("contrasts/patient07_T1", "accepted"),
        ("contrasts/patient07_T2", "not_t1_weighted_voxels"),
        ("contrasts/patient07_FLAIR", "not_t1_weighted_voxels"),
        ("ms_longitudinal/patient19/study2_FLAIR", "not_t1_weighted_voxels"),
    ],
)
def test_brains_in_another_contrast_are_refused_without_headers(
    judge: Callable[[Volume], str], test_data: Path, file: str, code: str
) -> None:
    assert judge(heads.read_head(test_data / "nifti" / f"{file}.nii.gz")) == code


def test_a_negative_of_a_head_is_refused_by_name(judge: Callable[[Volume], str]) -> None:
    head = heads.averaged_by_two(heads.average_head())
    whole = head.voxels > 0.05 * float(np.percentile(head.voxels, 99))
    negative = np.where(whole, 1.4 * float(np.percentile(head.voxels, 99.5)) - head.voxels, 0)
    assert judge(Volume(voxels=negative.astype(np.float32), affine=head.affine)) in {
        "not_t1_weighted_voxels",
        "not_a_head",
    }
