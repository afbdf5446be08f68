"""A loaded model whose science is canned, and a small MR series on disk: for tests of what goes on around the science."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from med3d_cli.embedded.demo_head import write_mr_series
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.site_shifts import SiteShifts
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.preprocess import Preprocessed, Preprocessor
from med3d_pipeline.preprocessing.spec import QualityLimits
from med3d_pipeline.volume import Volume
from med3d_worker.heads.pictures import reference_cohort
from med3d_worker.model.loaded_model import LoadedModel
from rig.science.predictions import GRID, latent_space, predictor
from rig.service.work import BUNDLE

LIMITS = QualityLimits(refuse={"template_overlap": (0.8, None)}, review={"template_overlap": (0.9, None)})


class CannedPreprocessor:
    """Gives the tensor and measures that the test chose; counts how often it was asked."""

    def __init__(
        self,
        tensor: npt.NDArray[np.float32] | None = None,
        overlap: float = 0.95,
        refusal: InputRefused | None = None,
    ) -> None:
        self.tensor = np.zeros(GRID, np.float32) if tensor is None else tensor
        self.overlap = overlap
        self.refusal = refusal
        self.calls = 0
        # not GRID: ITK's B-splines read past an axis of one voxel, which no image that is read has
        whole = Volume(np.ones((4, 4, 4), np.float32), np.diag([3.0, 3.0, 3.0, 1.0]))
        self.template = Template(whole, whole)

    def __call__(self, volume: Volume, on_stage: Callable[[str], None] = lambda _: None) -> Preprocessed:
        self.calls += 1
        on_stage("brain extraction")
        if self.refusal:
            raise self.refusal
        return Preprocessed(
            tensor=self.tensor,
            tensor_affine=np.diag([3.0, 3.0, 3.0, 1.0]),
            template_to_native=np.eye(4),
            brain_mask=np.ones(to_closest_ras(volume).shape, np.uint8),
            native_affine=volume.affine,
            measures={"template_overlap": self.overlap, "registration_similarity": 0.7},
            timings_s={"brain extraction": 1.25},
        )


def loaded_model(
    preprocessor: Callable[..., Preprocessed] | None = None,
    preprocessing_digest: str = "p" * 64,
    site_shifts: SiteShifts | None = None,
    calibrations: tuple[CalibratedSite, ...] = (),
) -> LoadedModel:
    """A model around ``preprocessor``, or what stands in for one, and the predictor of rig.science.predictions."""
    return LoadedModel(
        reference=BUNDLE,
        preprocessor=cast("Preprocessor", preprocessor or CannedPreprocessor()),
        predictor=predictor(site_shifts=site_shifts).calibrated(calibrations),
        quality_limits=LIMITS,
        providers=("FakeExecutionProvider",),
        preprocessing_digest=preprocessing_digest,
        software={"infovae-med3d": "0"},
        cohort=reference_cohort("cohort", latent_space()),
        calibrations=calibrations,
    )


def write_small_series(folder: Path) -> None:
    """A smooth block of the size of a head at 2 mm, as a classic MR series."""
    axes = [np.linspace(-1, 1, count) for count in (70, 88, 88)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    voxels = np.exp(-2 * (x**2 + y**2 + z**2)).astype(np.float32)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-70.0, -88.0, -88.0)
    write_mr_series(Volume(voxels, affine), folder)
