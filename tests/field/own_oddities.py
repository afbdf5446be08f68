"""Pictures and orders of files that are odd: spoilt, interpolated, encoded or chosen as few people do it."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, generate_uid
from scipy.ndimage import gaussian_filter, zoom

from field.case import Case, Right, Room, refused, same_as
from field.made import NEAR, NEVER, SAME, SAME_DICOM, head, nothing, save, series
from field.own_series import scout
from rig.dicom.series import write_enhanced

Voxels = np.ndarray
ALTERED = (refused("brightness_altered", "not_t1_weighted_voxels"),)
NO_WRONG_NUMBER = (refused(), same_as("own:nifti", 2.0))


def bright(voxels: Voxels) -> float:
    """About as bright as white matter."""
    return float(np.percentile(voxels[voxels > 0.2 * voxels.max()], 80))


def slice_repeated(voxels: Voxels) -> Voxels:
    """One slice in place of all."""
    return np.repeat(voxels[:, :, 45:46], voxels.shape[2], axis=2)


def largest_intensity(voxels: Voxels) -> Voxels:
    """A sliding maximum of 30 mm, as of a thick MIP."""
    return np.max([np.roll(voxels, shift, axis=2) for shift in range(-7, 8)], axis=0)


def slices_missing(voxels: Voxels) -> Voxels:
    """Two centimetres in the middle are not there, and what is left was pushed together."""
    return np.delete(voxels, slice(40, 50), axis=2)


def one_channel_bright(voxels: Voxels) -> Voxels:
    """One coil element five times as bright as the others, on the right."""
    across = np.linspace(0, 1, voxels.shape[0])[:, None, None]
    return voxels * (1 + 4 * np.exp(-across * 6))


def two_heads(voxels: Voxels) -> Voxels:
    """Two people beside each other."""
    return np.concatenate([voxels, voxels], axis=0)


def turned_header(voxels: Voxels) -> Voxels:
    """Turned by a quarter about the axis of the body, which the header does not say."""
    return np.rot90(voxels, axes=(0, 1)).copy()


def without_head(voxels: Voxels) -> Voxels:
    """Air and noise."""
    return np.abs(np.random.default_rng(2).normal(0, 20, voxels.shape))


def phase_like(voxels: Voxels) -> Voxels:
    """A phase image: from -4096 to 4094, noise around the head."""
    random = np.random.default_rng(3)
    inside = gaussian_filter(voxels, 1) > 0.2 * voxels.max()
    phase = 900 * gaussian_filter(random.normal(0, 1, voxels.shape), 8) / 0.01
    return np.where(inside, (phase + 4096) % 8190 - 4096, random.uniform(-4096, 4094, voxels.shape))


def subtracted(voxels: Voxels) -> Voxels:
    """After contrast agent less before: edges and vessels about zero."""
    return voxels - np.roll(voxels, 1, axis=0) + np.random.default_rng(4).normal(0, 10, voxels.shape)


def relaxation_time(voxels: Voxels) -> Voxels:
    """A T1 map: fluid longest, white matter shortest."""
    inside = gaussian_filter(voxels, 1) > 0.15 * voxels.max()
    return np.where(inside, 4000 * np.exp(-1.8 * voxels / bright(voxels)), 0)


def window_of_display(voxels: Voxels) -> Voxels:
    """Eight bits between fluid and white matter, as a screen shows them."""
    low, high = 0.35 * bright(voxels), bright(voxels)
    return np.round(255 * np.clip((voxels - low) / (high - low), 0, 1))


def second_inversion(voxels: Voxels) -> Voxels:
    """Tissues pressed together, as MP2RAGE's INV2 has them."""
    return np.tanh(3 * voxels / bright(voxels))


def large_ventricles(voxels: Voxels) -> Voxels:
    """Hydrocephalus: a ball of fluid of 35 mm in the middle of the brain."""
    places = np.indices(voxels.shape).T * 2.0 - np.array(voxels.shape) - np.array([0, 0, 14])
    ball = (np.sqrt((places**2).sum(axis=-1)) < 35).T
    return np.where(ball, 0.25 * bright(voxels), voxels)


def resected(voxels: Voxels) -> Voxels:
    """A cavity of 25 mm radius in one frontal lobe."""
    centre = np.array(voxels.shape) * [0.35, 0.72, 0.62]
    away = np.sqrt((((np.indices(voxels.shape).T - centre) * 2.0) ** 2).sum(axis=-1)).T
    return np.where(away < 25, 0.2 * bright(voxels), voxels)


PICTURES: dict[str, tuple[Callable[[Voxels], Voxels], tuple[Right, ...], str]] = {
    "slice_repeated": (slice_repeated, (refused("slice_repeated"),), "one slice is no head"),
    "largest_intensity": (largest_intensity, NEVER, "a thick MIP is no scan"),
    "slices_missing": (slices_missing, (refused(), same_as("own:nifti", 6.0)), "two centimetres are gone"),
    "one_channel_bright": (one_channel_bright, NO_WRONG_NUMBER, "shading is taken off, or it is refused"),
    "two_heads": (
        two_heads,
        (refused(), same_as("own:nifti", 3.0)),
        "never a mixture of two: one of them, here of the same",
    ),
    "turned_header": (turned_header, NO_WRONG_NUMBER, "righted by the alignment, or refused"),
    "noise_alone": (without_head, NEVER, "no head"),
    "phase_like": (phase_like, NEVER, "phase is no magnitude"),
    "subtracted": (subtracted, NEVER, "a difference is no scan"),
    "relaxation_time": (relaxation_time, NEVER, "a T1 map has white matter darkest"),
    "window_of_display": (window_of_display, ALTERED, "a window of a display is no scan"),
    "second_inversion": (second_inversion, ALTERED, "INV2 is no T1-weighted scan"),
    "large_ventricles": (
        large_ventricles,
        (refused(), Right("completed", review_wanted=True)),
        "nobody like it was learned from",
    ),
    "resected": (resected, (refused(), Right("completed", review_wanted=True)), "nobody like it was learned from"),
}


def picture(change: Callable[[Voxels], Voxels], _: Room, folder: Path) -> Path:
    """The head with other voxels, on the same grid."""
    voxels, affine = head()
    return save(change(voxels), affine, folder)


def stored_as(kind: str, _: Room, folder: Path) -> Path:
    """The head in a rare form of NIfTI."""
    voxels, affine = head()
    path = save(voxels, affine, folder)
    image = nib.load(path)
    if kind == "nifti2":
        nib.save(nib.Nifti2Image(voxels, affine, image.header), folder / "t1.nii")
    elif kind == "extension":
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"made by a script" * 40))
        nib.save(image, folder / "t1.nii")
    elif kind == "one_time_point":
        nib.save(nib.Nifti1Image(voxels[..., None], affine, image.header), folder / "t1.nii")
    elif kind == "two_time_points":
        nib.save(nib.Nifti1Image(np.stack([voxels, voxels], axis=-1), affine, image.header), folder / "t1.nii")
    elif kind == "complex":
        nib.save(nib.Nifti1Image(voxels.astype(np.complex64), affine), folder / "t1.nii")
    elif kind == "gzip_of_gzip":
        (folder / "twice.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        return folder / "twice.nii.gz"
    elif kind == "float64_big_endian":
        big = nib.Nifti1Image(voxels.astype(">f8"), affine, image.header.as_byteswapped(">"))
        nib.save(big, folder / "t1.nii")
    elif kind == "negative_pixdim":
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[80:92] = np.array([-2.0, -2.0, -2.0], "<f4").tobytes()
        (folder / "t1.nii").write_bytes(content)
    elif kind == "nearest_neighbour":
        fine = zoom(voxels, 2, order=0)
        moved = affine @ np.diag([0.5, 0.5, 0.5, 1.0])
        moved[:3, 3] -= affine[:3, :3] @ np.full(3, 0.25)
        return save(fine, moved, folder)
    return folder / "t1.nii"


FORMS: dict[str, tuple[tuple[Right, ...], str]] = {
    "nifti2": (SAME, "the second version"),
    "extension": (SAME, "an extension is a comment"),
    "one_time_point": (SAME, "an axis of one entry is none"),
    "two_time_points": ((refused("nifti_not_one_volume"),), "one of two is not chosen in silence"),
    "complex": ((refused("unsupported_colour"),), "complex numbers are no grey values"),
    "gzip_of_gzip": ((refused("nifti_unreadable"), *SAME), "compressed twice"),
    "float64_big_endian": (SAME, "so are they stored"),
    "negative_pixdim": ((*SAME, refused()), "the sform says where it lies"),
    "nearest_neighbour": ((same_as("own:nifti", 1.0),), "twice as many voxels, nothing new"),
}


def odd_pictures() -> list[Case]:
    """Return the NIfTI cases."""
    return [
        *(Case(f"odd:{name}", partial(picture, how), right, why) for name, (how, right, why) in PICTURES.items()),
        *(Case(f"odd:{name}", partial(stored_as, name), right, why) for name, (right, why) in FORMS.items()),
    ]


def big_endian(room: Room, folder: Path) -> Path:
    """As a scanner of the nineties wrote them."""
    series(nothing, room, folder)
    for path in sorted(folder.iterdir()):
        dataset = dcmread(path)
        dataset.decode()  # what is still bytes would stay little-endian
        dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    return folder


def float_pixels(dataset: Dataset) -> None:
    """FloatPixelData in place of PixelData, as some maps have."""
    values = dataset.pixel_array.astype("<f4")
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    dataset.BitsAllocated = 32


def neighbours_swapped(room: Room, folder: Path) -> Path:
    """Interleaved slices under each other's positions."""
    series(nothing, room, folder)
    paths = sorted(folder.iterdir())
    for one, other in zip(paths[::2], paths[1::2], strict=False):
        first, second = dcmread(one), dcmread(other)
        first.PixelData, second.PixelData = second.PixelData, first.PixelData
        first.save_as(one)
        second.save_as(other)
    return folder


def middle_missing(room: Room, folder: Path) -> Path:
    """Five slices in the middle did not arrive."""
    series(nothing, room, folder)
    for path in sorted(folder.iterdir())[40:45]:
        path.unlink()
    return folder


def stacks_in_one_object(count: int, _: Room, folder: Path) -> Path:
    """An enhanced object of as many volumes, the second an echo of 30 ms."""
    voxels, affine = head()
    stored = np.round(voxels * (4000 / voxels.max())).astype(np.uint16)
    frames = [{"EffectiveEchoTime": 3.0}, {"EffectiveEchoTime": 30.0}][:count]
    write_enhanced(folder / "enhanced.dcm", [stored, stored // 2][:count], affine, frames=frames)
    return folder


def ages_apart(within_series: str, room: Room, folder: Path) -> Path:
    """PatientAge 045Y and 060Y: of two series, or within the one."""

    def young(dataset: Dataset) -> None:
        odd = within_series == "yes" and int(dataset.InstanceNumber) % 2
        dataset.PatientAge = "060Y" if odd else "045Y"

    def old(dataset: Dataset) -> None:
        dataset.PatientAge, dataset.SeriesNumber = "060Y", 2
        dataset.SeriesInstanceUID = "2.25.2"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ContrastBolusAgent = "Gadovist"

    series(young, room, folder / "a")
    if within_series != "yes":
        series(old, room, folder / "b")
    return folder


def scout_and_head(room: Room, folder: Path) -> Path:
    """Series 1 the head, series 2 and 3 scouts; 3 has the number of 2."""

    def of(uid: str, dataset: Dataset) -> None:
        scout(dataset)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid, 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()

    series(nothing, room, folder / "a")
    series(partial(of, "2.25.22"), room, folder / "b")
    series(partial(of, "2.25.23"), room, folder / "c")
    return folder


BY_HAND: dict[str, tuple[str, tuple[Right, ...], str]] = {
    "uid_of_nothing": ("2.25.99", (refused("unknown_series"),), "a series of another study"),
    "number_of_nothing": ("7", (refused("unknown_series"),), "no series has the number"),
    "text_of_nothing": ("1' OR 1=1", (refused("unknown_series"),), "no number, UID or label"),
    "number_of_the_head": ("1", (same_as("own:dicom", reviews=("chosen_by_hand",)),), "as it would be chosen"),
    "number_of_two_scouts": (
        "2",
        (same_as("own:dicom", reviews=("chosen_by_hand", "not_eligible")),),
        "a person overrules what headers say; the first of two is taken",
    ),
    "uid_of_a_scout": (
        "2.25.23",
        (same_as("own:dicom", reviews=("chosen_by_hand", "not_eligible")),),
        "a person overrules what headers say",
    ),
}


def odd_series() -> list[Case]:
    """Return the DICOM cases."""
    known = (same_as("own:dicom", known_age_years=45.5),)
    no_age = (same_as("own:dicom", reviews=("age_sources_disagree",)),)
    return [
        Case("odd:big_endian", big_endian, SAME_DICOM, "so were they stored"),
        Case("odd:float_pixels", partial(series, float_pixels), (refused(), *SAME_DICOM), "no PixelData"),
        Case("odd:neighbours_swapped", neighbours_swapped, (refused(), same_as("own:dicom", 8.0)), "known: not seen"),
        Case("odd:middle_missing", middle_missing, (refused("missing_slices"),), "five slices did not arrive"),
        Case("odd:one_enhanced_stack", partial(stacks_in_one_object, 1), NEAR, "one object, one volume"),
        Case("odd:two_enhanced_stacks", partial(stacks_in_one_object, 2), NEAR, "the first echo is taken"),
        Case("odd:ages_apart_between_series", partial(ages_apart, "no"), known, "the age of the series analysed"),
        Case("odd:ages_apart_within_series", partial(ages_apart, "yes"), no_age, "no age of two"),
        *(
            Case(f"odd:by_hand_{name}", scout_and_head, right, why, series=chosen)
            for name, (chosen, right, why) in BY_HAND.items()
        ),
    ]
