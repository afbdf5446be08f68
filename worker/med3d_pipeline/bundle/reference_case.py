"""The bundle's reference case: a head whose tensor, latent and estimates are known, run before any work is taken.

Floats differ between processors and providers, so they are compared within tolerances, never by digest. Wrong weights
must never give a plausible number.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.encoder import Float32
from med3d_pipeline.volume import Volume

FOLDER = "reference_case"
Tolerance = Annotated[float, Field(gt=0, le=1)]


class Tolerances(BaseModel):
    """How far this machine may be from the one that made the bundle: normalised RMSE, years and points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor_nrmse: Tolerance
    latent_nrmse: Tolerance
    brain_age_years: Tolerance
    sdmt_points: Tolerance


@dataclass(frozen=True, eq=False)
class ReferenceCase:
    """Input and expected results. tensor (X, Y, Z) and latent (d,) float32; brain age in years, SDMT in points."""

    volume: Volume
    tensor: Float32
    latent: Float32
    brain_age_years: float
    sdmt_points: float | None
    tolerances: Tolerances

    @classmethod
    def load(cls, bundle: Path) -> Self:
        """Read input.nii.gz, expected.npz and tolerances.json. Raises BundleError where one cannot be read."""
        folder = bundle / FOLDER
        try:
            image = nib.load(folder / "input.nii.gz")
            volume = Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine))
            tolerances = Tolerances.model_validate_json((folder / "tolerances.json").read_bytes())
            with np.load(folder / "expected.npz", allow_pickle=False) as expected:
                tensor, latent = expected["tensor"].astype(np.float32), expected["latent"].astype(np.float32)
                brain_age, sdmt = float(expected["brain_age_years"]), float(expected["sdmt_points"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, ValidationError, ImageFileError) as e:
            raise BundleError(f"the reference case cannot be read: {e}") from e
        return cls(volume, tensor, latent, brain_age, None if np.isnan(sdmt) else sdmt, tolerances)

    def save(self, bundle: Path) -> None:
        """Write expected.npz (tensor in float16, which costs less than the tolerance) and tolerances.json."""
        folder = bundle / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            folder / "expected.npz",
            tensor=self.tensor.astype(np.float16),
            latent=self.latent,
            brain_age_years=np.float64(self.brain_age_years),
            sdmt_points=np.float64(np.nan if self.sdmt_points is None else self.sdmt_points),
        )
        (folder / "tolerances.json").write_text(self.tolerances.model_dump_json(indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class ReferenceReport:
    """How far this machine is from the reference: normalised RMSE, years, points."""

    tensor_nrmse: float
    latent_nrmse: float
    brain_age_years: float
    sdmt_points: float | None

    def outside(self, tolerances: Tolerances) -> tuple[str, ...]:
        """Return names of the measures beyond their tolerance; a value that is not a number is beyond it."""
        measured = {
            "tensor_nrmse": self.tensor_nrmse,
            "latent_nrmse": self.latent_nrmse,
            "brain_age_years": self.brain_age_years,
            "sdmt_points": 0.0 if self.sdmt_points is None else self.sdmt_points,
        }
        return tuple(name for name, value in measured.items() if not value <= getattr(tolerances, name))


class ReferencePipeline(Protocol):
    """What the reference case is run through: the bundle's own preprocessing, encoder and heads."""

    def tensor(self, volume: Volume) -> Float32:
        """Return the preprocessed tensor (X, Y, Z)."""

    def latent(self, tensor: Float32) -> Float32:
        """Return the latent (d,)."""

    def estimates(self, latent: Float32) -> tuple[float, float | None]:
        """Return brain age in years and SDMT in points."""


def run_reference_case(case: ReferenceCase, pipeline: ReferencePipeline) -> ReferenceReport:
    """Run the case from its voxels to its estimates. Raises BundleError that names each measure out of tolerance."""
    tensor = pipeline.tensor(case.volume)
    if tensor.shape != case.tensor.shape:
        raise BundleError(f"the reference case gives a tensor of shape {tensor.shape}, not {case.tensor.shape}")
    latent = pipeline.latent(tensor)
    brain_age, sdmt = pipeline.estimates(latent)
    report = ReferenceReport(
        tensor_nrmse=normalised_rmse(tensor, case.tensor),
        latent_nrmse=normalised_rmse(latent, case.latent),
        brain_age_years=abs(brain_age - case.brain_age_years),
        sdmt_points=None if sdmt is None or case.sdmt_points is None else abs(sdmt - case.sdmt_points),
    )
    outside = report.outside(case.tolerances)
    if outside:
        said = ", ".join(f"{n} {getattr(report, n):.3g} (allowed {getattr(case.tolerances, n):.3g})" for n in outside)
        raise BundleError(
            f"this machine does not reproduce the bundle's reference case: {said}. The bundle's files or the ONNX "
            "Runtime on this machine are not the ones that were released; no study is taken."
        )
    return report


def normalised_rmse(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Root mean square of the difference over that of ``expected``."""
    wanted = expected.astype(np.float64)
    return float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))
