"""A study: walk its files, choose the T1-weighted series, load it."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from med3d_pipeline.counting import counted
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.given_paths import AnyPath, as_paths
from med3d_pipeline.reading.dicom_copies import without_copies
from med3d_pipeline.reading.dicom_facts import KnownFacts
from med3d_pipeline.reading.dicom_headers import NotAnImage, UnreadableDicom, read_planes, tolerant_reading
from med3d_pipeline.reading.dicom_pixels import read_stack, truncated
from med3d_pipeline.reading.dicom_plane import PatientAttributes, Plane
from med3d_pipeline.reading.dicom_stacks import stacks_of_study
from med3d_pipeline.reading.refusals import first_fault
from med3d_pipeline.reading.stack_geometry import assemble_stack
from med3d_pipeline.reading.volume_files import nifti
from med3d_pipeline.reading.volume_files.image_formats import ONLY_A_LIST, dangling_link, most_telling, unread_format
from med3d_pipeline.reading.volume_files.nifti import NiftiFile, first_bytes
from med3d_pipeline.study.acquisition import Acquisition, acquisition_of
from med3d_pipeline.study.nifti_choice import JudgedFile, judge_together
from med3d_pipeline.study.patients import refuse_several_patients
from med3d_pipeline.study.series_label import distinct_labels, nifti_label
from med3d_pipeline.study.series_order import in_order
from med3d_pipeline.study.series_ranking import Appraisal, appraise_nifti, typical_facts
from med3d_pipeline.study.series_selection import SeriesCandidate, SeriesSelection, select_series
from med3d_pipeline.study.stack_series import series_of_stack
from med3d_pipeline.study.study_series import Study, StudySeries, find_series
from med3d_pipeline.volume import Volume

__all__ = [
    "Acquisition",
    "LoadedSeries",
    "PatientAttributes",
    "SeriesCandidate",
    "SeriesInstances",
    "SeriesSelection",
    "Study",
    "StudySeries",
    "load_series",
    "load_stack",
    "read_study",
    "select_series",
]


@dataclass(frozen=True)
class SeriesInstances:
    """The DICOM instances that a volume was read from.

    slice_uids, slice_frames: the instance of each slice and its frame's number in it, in the order of the volume.
    """

    series_uid: str
    sop_class_uid: str
    instance_uids: tuple[str, ...]
    slice_uids: tuple[str, ...] = ()
    slice_frames: tuple[int, ...] = ()
    frame_of_reference_uid: str = ""


NOT_OURS_TO_READ = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE})
"""Faults of where a file lies, not of the file."""


@dataclass(frozen=True, eq=False)
class LoadedSeries:
    """A series as a volume. ``instances`` is None for NIfTI.

    patients: what its images say of the subject, each different telling once; none for NIfTI.
    input_digest: sha256 (hex) over the sorted digests of its instances (data set without group 0002), or of the NIfTI
    bytes; names and order of files do not matter.
    """

    volume: Volume
    input_digest: str
    acquisition: Acquisition
    patients: tuple[PatientAttributes, ...]
    instances: SeriesInstances | None


def read_study(paths: AnyPath | Iterable[AnyPath]) -> Study:
    """Read the headers of all files under ``paths`` (files or folders, walked through; one or several), no pixel data.

    Of several NIfTI files the voxels are read as well, to tell heads from masks.

    Raises InputRefused with no_images where nothing is an image, unsupported_format where only images of kinds that are
    not read were found, unreadable_file where only broken DICOM was, several_patients where the images are of more than
    one person; FileNotFoundError where a path does not exist, OSError where a file or folder is closed to us, as a part
    of a study may show what the whole does not; ValueError where a path is empty.
    """
    planes: list[Plane] = []
    niftis: list[NiftiFile] = []
    ignored = unreadable = 0
    others: list[str] = []
    interned: dict[object, object] = {}
    known = KnownFacts()
    with tolerant_reading():
        for path in _files(as_paths(paths)):
            try:
                found = _read_file(path, known)
            except NotAnImage as other:
                ignored += 1
                others += other.args
            except UnreadableDicom:
                unreadable += 1
            except OSError as error:
                if error.errno in NOT_OURS_TO_READ:
                    raise
                unreadable += 1
            else:
                if isinstance(found, NiftiFile):
                    niftis.append(found)
                else:
                    planes.extend(_sharing(found, interned))
    if not planes and not niftis:
        raise _nothing_found(ignored, unreadable, others)
    refuse_several_patients(planes)
    return Study(_labelled(_dicom_series(planes) + _nifti_series(niftis)), ignored, unreadable)


def load_series(study: Study, label: str) -> LoadedSeries:
    """Read the voxels of one series, whether or not it would have been selected.

    Raises InputRefused with unknown_series, a geometry code, or a code of the pixel data (docs/refusals.md).
    """
    series = find_series(study, label)
    if isinstance(series.source, NiftiFile):
        volume, digest = nifti.read_nifti(series.source)
        return LoadedSeries(volume, digest, Acquisition(spacing_mm=volume.spacing_mm), (), None)
    return load_stack(series.source)


def load_stack(planes: Sequence[Plane]) -> LoadedSeries:
    """Assemble and decode planes of one stack; see load_series."""
    if planes[0].facts.samples_per_pixel != 1 or not planes[0].facts.photometric.startswith("MONOCHROME"):
        raise InputRefused("unsupported_colour", "The images are in colour. Send the original grey-value images.")
    if any(plane.pixel_data == "absent" for plane in planes):
        raise InputRefused(
            "no_pixel_data", "Images of the series hold no pixel data. Send the series again, with its images."
        )
    if any(plane.pixel_data == "truncated" for plane in planes):
        raise truncated()
    geometry = assemble_stack(planes)
    volume, digest = read_stack(planes, geometry)
    patients = tuple(sorted({plane.patient for plane in planes}, key=repr))
    uids = tuple(sorted({plane.uid for plane in planes}))
    instances = SeriesInstances(
        planes[0].series_uid,
        planes[0].facts.sop_class,
        uids,
        slice_uids=tuple(planes[index].uid for index in geometry.order),
        slice_frames=tuple(planes[index].frame + 1 for index in geometry.order),
        frame_of_reference_uid=planes[0].frame_of_reference_uid,
    )
    return LoadedSeries(volume, digest, acquisition_of(typical_facts(planes), geometry), patients, instances)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Return regular files under ``paths``, and links to nothing, as git-annex leaves them.

    Linked folders are not entered, the Finder's ``._`` companions are skipped.
    """
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path, onerror=_stop):
                folders.sort()
                kept = sorted(name for name in names if not name.startswith("._"))
                yield from (file for name in kept if (file := Path(folder, name)).is_file() or _leads_nowhere(file))
        elif path.name.upper() == "DICOMDIR" and path.is_file():
            yield from _files([path.absolute().parent])  # it lists the files of its folder
        elif path.is_file() or _leads_nowhere(path):
            yield path
        else:
            raise FileNotFoundError("an input is neither a file nor a folder")


def _stop(error: OSError) -> None:
    raise error


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _read_file(path: Path, known: KnownFacts) -> list[Plane] | NiftiFile:
    """Read a file's header by what it holds. Raises NotAnImage, with a sentence on an image of another kind."""
    if _leads_nowhere(path):
        raise NotAnImage(dangling_link(path))
    head = first_bytes(path)
    if nifti.looks_like_nifti(path, head):
        return nifti.read_nifti_header(path)
    try:
        return read_planes(path, known)
    except NotAnImage:
        raise NotAnImage(*filter(None, [unread_format(path, head)])) from None


def _sharing(planes: Iterable[Plane], interned: dict[object, object]) -> Iterator[Plane]:
    """Replace equal facts and patients by one object each: thousands of slices stay small."""
    for plane in planes:
        object.__setattr__(plane, "facts", interned.setdefault(plane.facts, plane.facts))
        object.__setattr__(plane, "patient", interned.setdefault(plane.patient, plane.patient))
        yield plane


def _dicom_series(planes: Sequence[Plane]) -> list[StudySeries]:
    distinct, copies = without_copies(planes)
    return [series_of_stack(stack, copies) for stack in stacks_of_study(distinct)]


def _nifti_series(niftis: Sequence[NiftiFile]) -> list[StudySeries]:
    return [
        StudySeries(nifti_label(judged.file), judged.file, None, _nifti_appraisal(judged), None)
        for judged in judge_together(niftis)
    ]


def _nifti_appraisal(judged: JudgedFile) -> Appraisal:
    appraisal = appraise_nifti(judged.file)
    review = [*appraisal.review, *filter(None, (judged.file.remark, judged.remark))]
    fault = judged.several
    if fault is None:
        return replace(appraisal, review=tuple(review))
    reasons = (*appraisal.reasons, f"cannot be used ({fault.code}): {fault.reason}")
    first = first_fault(filter(None, (appraisal.fault, fault)))
    return replace(appraisal, fault=first, reasons=reasons, review=tuple(review))


def _labelled(found: Sequence[StudySeries]) -> tuple[StudySeries, ...]:
    ordered = in_order(found)
    labels = distinct_labels([series.label for series in ordered])
    return tuple(replace(series, label=label) for label, series in zip(labels, ordered, strict=True))


def _nothing_found(ignored: int, unreadable: int, others: Sequence[str]) -> InputRefused:
    details = {"ignored_files": ignored, "unreadable_files": unreadable}
    if unreadable:
        return InputRefused(
            "unreadable_file",
            f"{counted(unreadable, 'file is', 'files are')} damaged or cut short, and nothing else is an image. "
            "Send intact files.",
            details,
        )
    if others:
        telling = most_telling(others)
        if telling == ONLY_A_LIST:
            return InputRefused("no_images", telling, details)
        return InputRefused("unsupported_format", telling, details)
    return InputRefused(
        "no_images", "Nothing in the input is a DICOM or NIfTI image. Send a T1-weighted head scan.", details
    )
