"""What a worker shows beside its numbers: the brain's outline, and the cohort that a person is compared with.

Both lie in the store as JSON and hold no identifier: pixels cut to the brain's surroundings, numbers of the bundle.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from med3d_contract.results import Frozen

Base64Png = Annotated[str, StringConstraints(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$", max_length=400_000)]

Positive = Annotated[int, Field(ge=1, le=4096)]


class BrainPicture(Frozen):
    """One slice through the brain with its outline, square pixels, radiological view (the patient's right is left)."""

    plane: Literal["axial", "coronal", "sagittal"]
    width: int = Field(ge=1, le=1024)
    height: int = Field(ge=1, le=1024)
    pixel_mm: float = Field(gt=0)
    png_base64: Base64Png


class BrainMask(Frozen):
    """Where the brain was found, on the very grid of the images that were read.

    shape: (columns, rows, slices). affine: voxel indices to RAS+ mm, row by row. packed_base64: zlib of a bit for each
    voxel, the highest first, slice by slice and row by row. UIDs are the working copy's stand-ins; slice_uids and
    slice_frames (from 1; () by earlier workers) in the order of the slices.
    """

    shape: tuple[Positive, Positive, Positive]
    affine: tuple[tuple[float, float, float, float], ...] = Field(min_length=4, max_length=4)
    packed_base64: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=8_000_000)]
    slice_uids: tuple[str, ...]
    slice_frames: tuple[Positive, ...] = ()
    frame_of_reference_uid: str


class BrainPictures(Frozen):
    """The slices that show whether the brain was found. mask: None of heads that were no DICOM."""

    pictures: tuple[BrainPicture, ...]
    mask: BrainMask | None = None
    defaced: bool = False  # of a head whose face was taken away before


class ReferenceCohort(Frozen):
    """Held-out estimates and map coordinates of the subjects that a bundle was calibrated on, in one order.

    ``pls_age`` is empty where the bundle keeps its coordinates private.
    """

    name: str
    ages: tuple[float, ...]
    brain_ages: tuple[float, ...]
    pls_age: tuple[tuple[float, float], ...]
    within_subject_sd: dict[Literal["brain_age", "sdmt"], float] = Field(
        {}, description="test-retest error that the bundle states: standard deviation of one person's repeated scans"
    )


def reference_cohort_key(bundle_digest: str) -> str:
    """Tell where a bundle's cohort lies in the store."""
    return f"bundles/{bundle_digest}/reference_cohort.json"
