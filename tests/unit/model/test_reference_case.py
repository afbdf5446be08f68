import math
from dataclasses import replace

import numpy as np
import pytest

from med3d_pipeline.bundle.reference_case import ReferenceCase, Tolerances, normalised_rmse, run_reference_case
from med3d_pipeline.errors import BundleError
from med3d_pipeline.volume import Volume

TOLERANCES = Tolerances(tensor_nrmse=0.02, latent_nrmse=0.02, brain_age_years=0.5, sdmt_points=0.5)
CASE = ReferenceCase(
    volume=Volume(np.ones((2, 2, 2), np.float32), np.eye(4)),
    tensor=np.ones((2, 2, 2), np.float32),
    latent=np.ones(4, np.float32),
    brain_age_years=40.0,
    sdmt_points=50.0,
    tolerances=TOLERANCES,
)


class Canned:
    def __init__(self, tensor_factor=1.0, latent_factor=1.0, brain_age=40.0, sdmt=50.0):
        self.factors, self.given = (tensor_factor, latent_factor), (brain_age, sdmt)

    def tensor(self, volume):
        return volume.voxels * np.float32(self.factors[0])

    def latent(self, tensor):
        return np.full(4, self.factors[1], np.float32)

    def estimates(self, latent):
        return self.given


def test_a_machine_that_agrees_is_told_how_closely():
    report = run_reference_case(CASE, Canned(tensor_factor=1.01, brain_age=40.1))
    assert report.tensor_nrmse == pytest.approx(0.01, rel=1e-3)
    assert report.brain_age_years == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"tensor_factor": 1.03}, "tensor_nrmse"),
        ({"latent_factor": 0.97}, "latent_nrmse"),
        ({"brain_age": 40.6}, "brain_age_years"),
        ({"brain_age": math.nan}, "brain_age_years"),
        ({"sdmt": 49.4}, "sdmt_points"),
    ],
)
def test_a_machine_out_of_tolerance_takes_no_study_and_says_in_what(wrong, name):
    with pytest.raises(BundleError, match=name):
        run_reference_case(CASE, Canned(**wrong))


def test_a_tensor_of_another_shape_is_refused():
    with pytest.raises(BundleError, match="shape"):
        run_reference_case(replace(CASE, tensor=np.ones((3, 2, 2), np.float32)), Canned())


def test_what_was_saved_is_loaded_within_half_precision(tmp_path):
    import nibabel as nib

    CASE.save(tmp_path)
    nib.save(nib.Nifti1Image(CASE.volume.voxels, np.eye(4)), tmp_path / "reference_case" / "input.nii.gz")
    loaded = ReferenceCase.load(tmp_path)
    assert loaded.tolerances == TOLERANCES
    assert normalised_rmse(loaded.tensor, CASE.tensor) < 1e-3
    assert (loaded.brain_age_years, loaded.sdmt_points) == (40.0, 50.0)


def test_a_missing_or_broken_reference_case_is_named(tmp_path):
    with pytest.raises(BundleError, match="reference case"):
        ReferenceCase.load(tmp_path)
