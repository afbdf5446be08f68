"""multipart/related bodies of DICOM files, read as they stream (RFC 2387, PS3.18 8.6.1.2.1): STOW-RS and WADO-RS."""

from collections.abc import Mapping
from typing import Protocol

from python_multipart.multipart import parse_options_header

from med3d_service.studies.multipart import (
    DamagedBodyError,
    MultipartBody,
    NotMultipartError,
    TooManyPartsError,
    content_type,
)

__all__ = ["DamagedBodyError", "NotRelatedError", "OtherPartError", "RelatedBody", "TooManyPartsError"]

DICOM_TYPE = b"application/dicom"


class NotRelatedError(Exception):
    """The content type is not multipart/related of application/dicom, or names no boundary."""


class OtherPartError(Exception):
    """A part is something other than a DICOM file."""


class Files(Protocol):
    """Who takes the files, one after the other."""

    def begin(self) -> None:
        """Start the next file."""

    def write(self, data: bytes) -> None:
        """Take a piece of it."""

    def end(self) -> None:
        """End it."""


class RelatedBody:
    """Cuts a body into its files. Raises NotRelatedError at once, DamagedBodyError and OtherPartError as it goes."""

    def __init__(self, header: str, files: Files, most_files: int) -> None:
        try:
            options = content_type(header, b"multipart/related")
            if options.get(b"type", DICOM_TYPE).lower() != DICOM_TYPE:
                raise NotRelatedError
            self._body = MultipartBody(options[b"boundary"], _DicomParts(files), most_files)
        except NotMultipartError as error:
            raise NotRelatedError from error

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        self._body.write(data)

    def finish(self) -> None:
        """End the body."""
        self._body.finish()


class _DicomParts:
    def __init__(self, files: Files) -> None:
        self._files = files
        self.write = files.write
        self.end = files.end

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        # What a part without a header is, the type of the whole says.
        if parse_options_header(headers.get(b"content-type", DICOM_TYPE))[0].lower() != DICOM_TYPE:
            raise OtherPartError
        self._files.begin()
