"""Uploads for the results API: tiny DICOM studies, NIfTI images, archives and multipart bodies, all in memory."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset

from rig.dicom.series import head_like, ras_affine, slice_datasets

BOUNDARY = "boundary-of-a-test"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def dicom_files(slices: int = 4, series: str = "series", **header: Any) -> list[bytes]:
    """The slices of one small series as bytes (synthetic)."""
    voxels = head_like((8, 8, slices))
    return [_saved(dataset) for dataset in slice_datasets(voxels, ras_affine(), series=series, **header)]


def _saved(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def nifti_file(
    shape: tuple[int, int, int] = (4, 5, 6),
    text: bytes = b"",
    extension: bytes = b"",
    trailing: bytes = b"",
    order: str = "<",
) -> bytes:
    """A NIfTI-1 image of uint8 ones whose text fields hold ``text``."""
    header = bytearray(348)
    offset = 352 + len(extension)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into(f"{order}hh", header, 70, 2, 8)
    struct.pack_into(f"{order}f", header, 108, float(offset))
    for at, length in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):
        header[at : at + min(length, len(text))] = text[:length]
    header[344:348] = b"n+1\0"
    return (
        bytes(header)
        + (b"\1\0\0\0" if extension else bytes(4))
        + extension
        + bytes([1]) * int(np.prod(shape))
        + trailing
    )


def zip_of(files: Mapping[str, bytes], **options: Any) -> bytes:
    """A .zip of name -> bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_of(files: Mapping[str, bytes | tarfile.TarInfo], mode: Literal["w", "w:gz"] = "w") -> bytes:
    """A .tar of name -> bytes, or of name -> TarInfo for what is no regular file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def tar_entry(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    """A link, a device, a pipe."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = linkname
    return entry


def gzipped(data: bytes) -> bytes:
    """The bytes as .gz."""
    return gzip.compress(data, 1)


def named(files: Sequence[bytes], suffix: str = ".dcm") -> dict[str, bytes]:
    """Files by number, as an archive holds them."""
    return {f"study/{index:03d}{suffix}": data for index, data in enumerate(files)}


def multipart(parts: Iterable[tuple[str, str | None, bytes]]) -> bytes:
    """The body of a form: (name, file name or None, bytes) each."""
    body = b""
    for name, file_name, data in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def files_form(*files: tuple[str, bytes], **fields: object) -> bytes:
    """A form with ``files`` parts, (file name, bytes) each, and text fields."""
    parts: list[tuple[str, str | None, bytes]] = [("files", name, data) for name, data in files]
    return multipart(parts + [(name, None, str(value).encode()) for name, value in fields.items()])
