"""The folders of the public sample data, as they are."""

import csv
from functools import partial
from pathlib import Path

from field.case import COMPLETED, Case, Right, Room, number, refused

EVERY = 4  # of many alike, one in so many
NOT_A_HEAD = refused("not_a_head", "registration_failed", "brain_volume_implausible", "too_noisy", "brain_cut_off")

FOLDERS: dict[str, tuple[tuple[Right, ...], str]] = {
    "dicom/siemens_trio_study": (
        (number(30, 45, series="series 19: 3D T1w 1.00 x 1.00 x 1.00 mm, 176 slices"),),
        "an MPRAGE of a person of 39.7 years beside field maps",
    ),
    "dicom/siemens_enhanced_multiframe": ((number(15, 85),), "two enhanced multi-frame T1w series"),
    "dicom/siemens_enhanced_multiframe/5_anat-T1w_acq-tfl": ((number(15, 85),), "one of them"),
    "dicom/siemens_enhanced_multiframe/6_anat-T1w_acq-tfl": ((number(15, 85),), "the other"),
    "dicom/siemens_2d_t1": ((refused("through_plane_too_coarse"),), "slices 4.8 mm apart"),
    "dicom/ge_fruit_not_a_head": ((NOT_A_HEAD,), "headers say T1w, the object is a fruit"),
    "dicom/fragments/failing/gantrytilting": ((refused("not_mr", "gantry_tilt"),), "a CT that leans"),
    "dicom/fragments/failing/slicecount": (
        (refused("insufficient_coverage", "missing_slices"),),
        "four images of two series",
    ),
    "dicom/fragments/failing/sliceincrement": (
        (refused("not_mr", "insufficient_coverage", "missing_slices", "uneven_spacing"),),
        "pieces of CT with gaps, of three series",
    ),
    "dicom/fragments/failing/sliceorientation": (
        (refused("no_t1w_series", "mixed_orientation"),),
        "slices of a spin echo that face different ways",
    ),
    "dicom/fragments/failing/notavolume": ((refused(),), "not a volume"),
    "nifti/head_with_mask/Scan1_T1.nii.gz": ((number(18, 90),), "a head of another scanner"),
    "nifti/head_with_mask/Scan1_T1_BRAINMASK.nii.gz": ((refused(),), "a mask is no head"),
    "nifti/contrasts/patient07_T1.nii.gz": ((number(18, 90), refused()), "a T1 without its skull, with lesions"),
    "nifti/contrasts/patient07_T2.nii.gz": ((refused(),), "a T2 without headers"),
    "nifti/contrasts/patient07_FLAIR.nii.gz": ((refused(),), "a FLAIR without headers"),
}


def as_it_is(name: str, room: Room, _: Path) -> Path:
    """An input that needs no making."""
    assert room.data is not None
    return room.data / name


def head_of(room: Room, _: Path) -> Path:
    """The MPRAGE of the sample study as NIfTI."""
    assert room.head is not None
    return room.head


def sample_data(data: Path) -> list[Case]:
    """What the data hold."""
    named = [Case(f"sample:{name.rpartition('/')[2]}", partial(as_it_is, name), *of) for name, of in FOLDERS.items()]
    fragments = sorted({path.parent for path in (data / "dicom/fragments").rglob("*") if path.is_file()})
    pieces = [path for path in fragments if "failing" not in path.parts]
    thick = sorted((data / "nifti/ms_longitudinal").rglob("*.nii.gz"))
    return [
        *named,
        Case("sample:trio_as_nifti", head_of, (number(30, 45),), "the same MPRAGE, without its headers"),
        *(_refused(data, path, "a piece of 4 to 8 slices is no head") for path in pieces),
        *(_refused(data, path, "no T1") for path in thick if "T1W" not in path.name),
        *(_flagged(data, path) for path in thick if "T1W" in path.name),
        *_cohort(data, "ixi_hh", 25),
        *_cohort(data, "ds002748", 30),
    ]


def _refused(data: Path, path: Path, why: str) -> Case:
    name = str(path.relative_to(data))
    return Case(f"sample:{name.split('/', 1)[1]}", partial(as_it_is, name), (refused(),), why)


def _flagged(data: Path, path: Path) -> Case:
    """Slices of exactly 3 mm cost about a year or two: a number for a person to look at, where nothing else is wrong."""
    name = str(path.relative_to(data))
    right = (refused(), Right(COMPLETED, reviews=frozenset({"thick_slices"})))
    return Case(f"sample:{name.split('/', 1)[1]}", partial(as_it_is, name), right, "two-dimensional, slices of 3.0 mm")


def _cohort(data: Path, name: str, most_years_off: float) -> list[Case]:
    """Heads of people whose age is known; so far off is a fault of the input, not of the model."""
    with (data / name / "participants.csv").open() as file:
        people = list(csv.DictReader(file))[::EVERY]
    return [
        Case(
            f"{name}:{person['participant_id']}",
            partial(as_it_is, f"{name}/{person['t1w']}"),
            (number(float(person["age"]) - most_years_off, float(person["age"]) + most_years_off),),
            f"a healthy head of {float(person['age']):.0f} years",
        )
        for person in people
    ]
