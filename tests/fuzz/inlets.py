"""The code that hostile files meet, and the errors by which each may turn them away. Anything else is a finding."""

import io
import tempfile
from pathlib import Path

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.series_selection import select_series
from med3d_pipeline.study.study import load_series, read_study
from med3d_service.problems import ServiceError
from med3d_service.studies.dicom_instances.instance_headers import HEAD_BYTES, InstanceRefused, read_headers
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Limits, Meter
from med3d_service.studies.working_copy.deidentify import Deidentifier, NotAnImageError, UnreadableError
from med3d_service.studies.working_copy.nifti import UnreadableNiftiError, clean_nifti
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from rig.dicom.uploads import CONTENT_TYPE, files_form

MIB = 1024**2
LIMITS = Limits(upload_bytes=16 * MIB, unpacked_bytes=64 * MIB, unpack_ratio=50.0, files=1000)


def by_c_store(data: bytes, _folder: Path) -> str:
    """The header of a single instance, as listener and STOW read it."""
    try:
        read_headers(data[:HEAD_BYTES])
    except InstanceRefused as refused:
        return refused.code
    return "taken"


def by_post(data: bytes, folder: Path) -> str:
    """POST /studies: sniffed, unpacked, sealed."""
    form = StudyForm(CONTENT_TYPE, folder, b"k" * 32, "default", Meter(LIMITS))
    try:
        form.write(files_form(("study", data)))
        form.finish()
    except ServiceError as refused:
        return refused.code
    finally:
        form.discard()
    return "taken"


def by_copying(data: bytes, _folder: Path) -> str:
    """The de-identified copy, which the sandboxed child makes."""
    try:
        if data[128:132] == b"DICM":
            Deidentifier(Pseudonyms(b"p" * 32)).copy(data)
        else:
            clean_nifti(io.BytesIO(data), io.BytesIO(), compressed=data.startswith(b"\x1f\x8b"))
    except (NotAnImageError, UnreadableError, UnreadableNiftiError) as refused:
        return type(refused).__name__
    return "copied"


def by_worker(data: bytes, folder: Path) -> str:
    """The pipeline's readers, on a file that somehow got that far."""
    name = "1.dcm" if data[128:132] == b"DICM" else "1.nii.gz" if data.startswith(b"\x1f\x8b") else "1.nii"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / name
        path.write_bytes(data)
        try:
            study = read_study([path])
            load_series(study, select_series(study).chosen)
        except InputRefused as refused:
            return refused.code
    return "read"


INLETS = (by_c_store, by_post, by_copying, by_worker)
