"""Multipart bodies (RFC 2046 5.1) cut into their parts as they stream: what forms and multipart/related share."""

from collections.abc import Mapping
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

Options = Mapping[bytes, bytes]
MOST_HEADERS, LARGEST_HEADER = 16, 4096
"""Of one part; a header of a part names a file or a type."""


class NotMultipartError(Exception):
    """The content type is another one, or names no boundary that could be one."""


class DamagedBodyError(Exception):
    """The body is not multipart, or it ended before its closing boundary."""


class TooManyPartsError(DamagedBodyError):
    """The body has more parts than anybody has files, or more of what is none."""


class Parts(Protocol):
    """Who takes the parts, one after the other."""

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        """Start the next part; the headers' names are in lower case."""

    def write(self, data: bytes) -> None:
        """Take a piece of it."""

    def end(self) -> None:
        """End it."""


def content_type(header: str, wanted: bytes) -> Options:
    """Return the parameters of a content type. Raises NotMultipartError where it is not ``wanted`` with a boundary."""
    kind, options = parse_options_header(header)
    if kind != wanted or not options.get(b"boundary"):
        raise NotMultipartError
    return options


class MultipartBody:
    """Takes the body piece by piece. Raises NotMultipartError at once, and what ``parts`` raises."""

    def __init__(self, boundary: bytes, parts: Parts, most_parts: int) -> None:
        self._parts, self._most_parts, self._begun = parts, most_parts, 0
        self._ended = False
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": lambda: self._parts.begin(self._headers),
                    "on_part_data": lambda data, start, end: self._parts.write(data[start:end]),
                    "on_part_end": parts.end,
                    "on_end": self._end,
                },
                max_header_count=MOST_HEADERS,
                max_header_size=LARGEST_HEADER,
            )
        except FormParserError as error:
            raise NotMultipartError from error

    def write(self, data: bytes) -> None:
        """Take the next piece of the body. Raises DamagedBodyError."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise DamagedBodyError from error

    def finish(self) -> None:
        """End the body. Raises DamagedBodyError where it is not whole."""
        if not self._ended:
            raise DamagedBodyError

    def _begin_part(self) -> None:
        self._headers.clear()
        self._begun += 1
        if self._begun > self._most_parts:
            raise TooManyPartsError

    def _end_header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        self._ended = True
