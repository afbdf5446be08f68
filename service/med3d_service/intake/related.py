"""multipart/related bodies of DICOM files, read as they stream (RFC 2387, PS3.18 8.6.1.2.1): STOW-RS and WADO-RS."""

from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

DICOM_TYPE = b"application/dicom"


class NotRelatedError(Exception):
    """The content type is not multipart/related of application/dicom, or names no boundary."""


class DamagedBodyError(Exception):
    """The body is not multipart, or it ended before its closing boundary."""


class OtherPartError(Exception):
    """A part is something other than a DICOM file."""


class Parts(Protocol):
    """Who takes the parts, one after the other."""

    def begin(self) -> None:
        """Start the next part."""

    def write(self, data: bytes) -> None:
        """Take a piece of it."""

    def end(self) -> None:
        """End it."""


class RelatedBody:
    """Cuts a body into its parts. Raises NotRelatedError at once, DamagedBodyError and OtherPartError as it goes."""

    def __init__(self, content_type: str, parts: Parts) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/related" or not boundary or options.get(b"type", DICOM_TYPE).lower() != DICOM_TYPE:
            raise NotRelatedError
        self._parts = parts
        self._ended = False
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._type = DICOM_TYPE
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": lambda data, start, end: self._parts.write(data[start:end]),
                    "on_part_end": self._parts.end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise NotRelatedError from error

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise DamagedBodyError from error

    def finish(self) -> None:
        """End the body."""
        if not self._ended:
            raise DamagedBodyError

    def _begin_part(self) -> None:
        self._type = DICOM_TYPE  # what a part without a header is, by the type of the whole

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-type":
            self._type = parse_options_header(bytes(value))[0].lower()
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        if self._type != DICOM_TYPE:
            raise OtherPartError
        self._parts.begin()

    def _end(self) -> None:
        self._ended = True
