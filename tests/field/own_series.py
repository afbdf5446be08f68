"""Headers and orders of files that need no data, as DICOM."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from field.case import Case, Right, Room, number, refused, same_as
from field.made import NEVER, SAME_DICOM, nothing, series


def scout(dataset: Dataset) -> None:
    """A localizer's header."""
    dataset.SeriesDescription = "AAHead_Scout"
    dataset.SequenceName, dataset.ScanningSequence, dataset.SequenceVariant = "*fl3d1_ns", "GR", "SP"
    dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = 3.15, 1.37, 8
    del dataset.InversionTime


def without_inversion_time(dataset: Dataset) -> None:
    """An MPRAGE of which the time of inversion was taken out."""
    del dataset.InversionTime


def uid_per_slice(dataset: Dataset) -> None:
    """Each slice as if it were a series."""
    dataset.SeriesInstanceUID = generate_uid()


def rounded(dataset: Dataset) -> None:
    """Positions with one decimal."""
    dataset.ImagePositionPatient = [round(float(value), 1) for value in dataset.ImagePositionPatient]


def no_study_date(dataset: Dataset) -> None:
    """A de-identifier took StudyDate out and left the date of acquisition."""
    dataset.PatientBirthDate, dataset.PatientAge, dataset.StudyDate = "19660102", "", ""
    dataset.AcquisitionDateTime = "20130717103000.000000"


def dates_apart(dataset: Dataset) -> None:
    """A de-identifier moved StudyDate and forgot the date of acquisition."""
    dataset.PatientBirthDate, dataset.PatientAge, dataset.StudyDate = "19660102", "", "20130717"
    dataset.AcquisitionDate = "20080301"


def single_precision(dataset: Dataset) -> None:
    """The coordinate along the slices has one decimal, as 32 bits hold it."""
    x, y, z = (float(value) for value in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [f"{x + 0.03125:.6g}", f"{y + 0.03125:.6g}", f"{np.float32(round(z, 1)):.9g}"]


def written_back(dataset: Dataset) -> None:
    """From NIfTI, as converters do: derived, and nothing is left of the acquisition."""
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    for keyword in ("ScanningSequence", "SequenceVariant", "SequenceName", "RepetitionTime", "EchoTime", "FlipAngle"):
        if keyword in dataset:
            del dataset[keyword]
    del dataset.InversionTime


def subtraction(dataset: Dataset) -> None:
    """What a Siemens scanner adds after contrast agent."""
    dataset.ImageType, dataset.SeriesDescription = ["DERIVED", "PRIMARY", "M", "ND"], "t1_vibe_post_SUB"


def agent_in_swedish(dataset: Dataset) -> None:
    """After contrast agent, by the description alone."""
    dataset.SeriesDescription = "T1 med kontrast"


def tomography(dataset: Dataset) -> None:
    """Another modality."""
    dataset.Modality, dataset.SOPClassUID = "CT", "1.2.840.10008.5.1.4.1.1.2"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID


def two_acquisitions(room: Room, folder: Path) -> Path:
    """Under one series, the second half a voxel aside and after a nod."""
    series(nothing, room, folder)
    for path in sorted(folder.iterdir()):
        dataset = dcmread(path)
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 1.0, y, z]
        dataset.PixelData = np.roll(dataset.pixel_array, 4, axis=0).tobytes()
        dataset.save_as(folder / f"second{path.name}")
    return folder


def copies(room: Room, folder: Path) -> Path:
    """Every file twice."""
    series(nothing, room, folder)
    for path in sorted(folder.iterdir()):
        shutil.copy(path, folder / f"{path.stem}(1).dcm")
    return folder


def two_people(room: Room, folder: Path) -> Path:
    """A folder of two people."""

    def named(name: str, dataset: Dataset) -> None:
        dataset.PatientID = name
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
            generate_uid(entropy_srcs=[name]),
            generate_uid(entropy_srcs=[name, "series"]),
        )

    for name in ("A", "B"):
        series(partial(named, name), room, folder / name)
    return folder


def noise_first(room: Room, folder: Path) -> Path:
    """Two series, equal by their headers; of the one with the lower number only noise is left."""
    random = np.random.default_rng(5)

    def spoilt(dataset: Dataset) -> None:
        dataset.PixelData = np.abs(random.normal(0, 30, dataset.pixel_array.shape)).astype(np.uint16).tobytes()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = "2.25.1"

    def second(dataset: Dataset) -> None:
        dataset.SeriesNumber = 2

    series(spoilt, room, folder / "a")
    series(second, room, folder / "b")
    return folder


def own_series() -> list[Case]:
    """All of them."""
    headers: dict[str, tuple[Callable[[Dataset], None], tuple[Right, ...], str]] = {
        "dicom": (nothing, (number(18, 90),), "the head itself"),
        "scout": (scout, NEVER, "a scout is never analysed"),
        "without_inversion_time": (without_inversion_time, SAME_DICOM, "still an MPRAGE"),
        "uid_per_slice": (uid_per_slice, SAME_DICOM, "one volume all the same"),
        "rounded": (rounded, (same_as("own:dicom", 1.0),), "rounded positions are no uneven spacing"),
        "no_study_date": (
            no_study_date,
            (same_as("own:dicom", known_age_years=47.5),),
            "the date of acquisition stands in for StudyDate",
        ),
        "dates_apart": (dates_apart, (same_as("own:dicom", reviews=("age_unusable",)),), "one of two dates is wrong"),
        "single_precision": (single_precision, SAME_DICOM, "32 bits are no uneven spacing"),
        "written_back": (
            written_back,
            (same_as("own:dicom", reviews=("derived_image",)),),
            "a whole scan all the same",
        ),
        "subtraction": (subtraction, (refused("derived_only"),), "no scan any more"),
        "agent_in_swedish": (
            agent_in_swedish,
            (same_as("own:dicom", reviews=("contrast_agent_possible",)),),
            "in whatever language",
        ),
        "tomography": (tomography, (refused("not_mr"),), "no MR"),
    }
    next_series = (same_as("own:dicom", 0.1, series="series 2", review_wanted=True),)
    apart = (same_as("own:dicom", 1.0), refused("duplicate_slices", "several_acquisitions", "uneven_spacing"))
    return [
        *(Case(f"own:{name}", partial(series, how), right, why) for name, (how, right, why) in headers.items()),
        Case("own:two_acquisitions", two_acquisitions, apart, "never one volume of half the spacing"),
        Case("own:copies", copies, SAME_DICOM, "copies are one file"),
        Case("own:two_people", two_people, (refused("several_patients"),), "never one of two people in silence"),
        Case("own:noise_first", noise_first, next_series, "the next series is taken, and both verdicts are told"),
    ]
