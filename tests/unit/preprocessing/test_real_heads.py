"""Preprocessing and the quality gate of the released bundle, on real heads and on what is sent in their place."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.black_level import raise_to_black
from med3d_pipeline.preprocessing.cropping import crop
from med3d_pipeline.preprocessing.image_content import find_content
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.runtime.onnx_sessions import processor_flags
from med3d_pipeline.study.study import load_series, read_study
from med3d_pipeline.volume import Volume
from med3d_worker.model.loaded_model import preprocessing_digest
from rig.science import heads

Judge = Callable[[Volume], str]


@cache
def released(threads: int) -> Bundle:
    return Bundle.open(Bundle.default_path(), threads=threads, verify=False)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return released(2)


@pytest.fixture(scope="module")
def preprocess(bundle: Bundle) -> Callable[[Volume], Preprocessed]:
    return bundle.preprocessor()


@pytest.fixture(scope="module")
def judge(bundle: Bundle) -> Judge:
    """The code with which a volume is refused, or "accepted"."""

    def code(volume: Volume) -> str:
        try:
            measures = bundle.preprocessor()(volume).measures
        except InputRefused as refusal:
            return refusal.code
        refusal = judge_quality(measures, bundle.quality_limits).refusal
        return refusal.code if refusal else "accepted"

    return code


@pytest.fixture(scope="module")
def average() -> Volume:
    """One averaged to 2 mm, which is all that the steps after reading look at and quicker to make variants of."""
    return heads.averaged_by_two(heads.average_head())


@pytest.fixture(scope="module")
def prepared(preprocess: Callable[[Volume], Preprocessed], average: Volume) -> Preprocessed:
    return preprocess(average)


def normalised_rmse(found: Preprocessed, expected: Preprocessed) -> float:
    difference = found.tensor - expected.tensor
    return float(np.sqrt((difference**2).mean() / (expected.tensor**2).mean()))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


def test_the_average_head_is_accepted(bundle: Bundle, prepared: Preprocessed) -> None:
    assert judge_quality(prepared.measures, bundle.quality_limits).refusal is None


@pytest.mark.parametrize("seed", [0, 3])
def test_the_last_digits_of_the_header_change_nothing(
    preprocess: Callable[[Volume], Preprocessed], prepared: Preprocessed, average: Volume, seed: int
) -> None:
    affine = average.affine.copy()
    affine[:3] += np.random.default_rng(seed).uniform(-1e-6, 1e-6, (3, 4))
    assert normalised_rmse(preprocess(Volume(voxels=average.voxels, affine=affine)), prepared) < 1e-3


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 1000.0), (0.004, -0.5), (3.0, -1024.0)])
def test_gain_and_offset_of_the_brightness_change_nothing(
    preprocess: Callable[[Volume], Preprocessed], prepared: Preprocessed, average: Volume, gain: float, offset: float
) -> None:
    changed = Volume(voxels=(gain * average.voxels + offset).astype(np.float32), affine=average.affine)
    assert normalised_rmse(preprocess(changed), prepared) < 1e-3


def test_an_already_stripped_brain_is_accepted(judge: Judge, prepared: Preprocessed, average: Volume) -> None:
    mask = heads.stored_as(prepared, average)
    assert judge(heads.stripped(average, mask)) == "accepted"


def test_a_bottle_is_not_a_head(judge: Judge) -> None:
    assert judge(heads.cylinder()) == "not_a_head"


def test_pure_noise_is_too_noisy(judge: Judge) -> None:
    assert judge(heads.noise()) == "too_noisy"


def test_a_head_under_its_own_weight_of_noise_is_too_noisy(judge: Judge, average: Volume) -> None:
    assert judge(heads.noisy(average, 0.5)) == "too_noisy"


@pytest.mark.parametrize(
    ("axis", "keep"),
    [(2, slice(0, 88)), (2, slice(75, None)), (1, slice(0, 80)), (0, slice(0, 60))],
    ids=["crown", "neck and cerebellum", "front", "side"],
)
def test_a_head_whose_brain_is_cut_is_refused_as_such(judge: Judge, axis: int, keep: slice) -> None:
    head = heads.canonical(heads.averaged_by_two(heads.average_head()))
    assert judge(heads.cut_off(head, axis=axis, keep=keep)) == "brain_cut_off"


def test_the_tensor_is_the_same_twice_and_with_one_thread_or_two(
    preprocess: Callable[[Volume], Preprocessed], prepared: Preprocessed, average: Volume
) -> None:
    assert preprocess(average).digest() == prepared.digest()
    assert released(1).preprocessor()(average).digest() == prepared.digest()


@pytest.mark.skipif(
    not processor_flags() & {"avx512_bf16", "amx_bf16"}, reason="this processor does not multiply bfloat16"
)
def test_a_mask_in_bfloat16_is_the_same_mask_and_says_so(
    bundle: Bundle, prepared: Preprocessed, average: Volume
) -> None:
    found = []
    for threads in (1, 2):
        shorter = Bundle.open(bundle.path, "openvino", threads, verify=False, mask_precision="bfloat16")
        assert shorter.providers == (*bundle.providers, "brain mask in bfloat16")
        found.append(shorter.preprocessor()(average))
        shorter.run_reference_case()
    np.testing.assert_array_equal(found[0].tensor, found[1].tensor)
    assert overlap(found[0].brain_mask > 0, prepared.brain_mask > 0) > 0.999
    assert preprocessing_digest(shorter) != preprocessing_digest(bundle)


def test_flips_and_permutations_leave_the_tensor_alone(
    preprocess: Callable[[Volume], Preprocessed], prepared: Preprocessed, average: Volume
) -> None:
    turned = preprocess(heads.stored_otherwise(average, (2, 0, 1), (True, False, True)))
    assert turned.digest() == prepared.digest()


def test_where_the_working_grid_begins_moves_a_fine_head_less_than_its_averages(
    preprocess: Callable[[Volume], Preprocessed],
) -> None:
    """Averages whose blocks begin a voxel apart are two pictures; the head of 1 mm is looked at in both ways."""
    head = heads.canonical(heads.average_head())
    fine = crop(head, find_content(raise_to_black(head).volume).box)
    later = crop(fine, tuple(slice(1, size) for size in fine.shape))
    averages = [preprocess(heads.averaged_by_two(begun)) for begun in (fine, later)]
    apart = normalised_rmse(*averages)
    first, second = preprocess(fine), preprocess(later)
    assert normalised_rmse(first, second) < min(0.75 * apart, 0.015)
    assert max(normalised_rmse(average, first) for average in averages) < apart


@pytest.mark.realdata
def test_brain_extraction_agrees_with_the_mask_of_head_with_mask(
    preprocess: Callable[[Volume], Preprocessed], test_data: Path
) -> None:
    folder = test_data / "nifti" / "head_with_mask"
    found = preprocess(heads.read_head(folder / "Scan1_T1.nii.gz")).brain_mask > 0
    truth = heads.canonical(heads.read_head(folder / "Scan1_T1_BRAINMASK.nii.gz")).voxels > 0
    assert overlap(found, truth) > 0.95


@pytest.mark.realdata
@pytest.mark.parametrize("number", [0, 17])
def test_brain_extraction_agrees_with_the_masks_of_ixi(
    preprocess: Callable[[Volume], Preprocessed], test_data: Path, number: int
) -> None:
    mask = sorted((test_data / "ixi_hh" / "brain_mask").glob("*.nii.gz"))[number]
    head = test_data / "ixi_hh" / "t1w" / mask.name.replace("_mask", "_T1w")
    found = preprocess(heads.read_head(head)).brain_mask > 0
    assert overlap(found, heads.canonical(heads.read_head(mask)).voxels > 0) > 0.97


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("dicom/siemens_trio_study/t1_MPRAGEcr_noGRAPPA_19", "accepted"),
        ("dicom/siemens_enhanced_multiframe/5_anat-T1w_acq-tfl", "accepted"),
        ("dicom/siemens_enhanced_multiframe/6_anat-T1w_acq-tfl", "accepted"),
        ("dicom/ge_fruit_not_a_head", "not_a_head"),
    ],
)
def test_real_scanners_heads_pass_and_the_fruit_does_not(judge: Judge, test_data: Path, folder: str, code: str) -> None:
    study = read_study([test_data / folder])
    (series,) = study.series
    assert judge(load_series(study, series.label).volume) == code


@pytest.mark.realdata
def test_a_clinical_head_is_no_stranger_to_the_model_for_being_sharper(bundle: Bundle, test_data: Path) -> None:
    study = read_study([test_data / "dicom/siemens_trio_study/t1_MPRAGEcr_noGRAPPA_19"])
    (series,) = study.series
    sharp = load_series(study, series.label).volume
    distances = [
        float(bundle.predictor().space.distance(bundle.latent(bundle.tensor(head))[None])[0])
        for head in (sharp, heads.averaged_by_two(sharp))
    ]
    assert distances[0] < 1.01 * distances[1]
    assert max(distances) < 0.7 * bundle.manifest.decision.refuse_distance
