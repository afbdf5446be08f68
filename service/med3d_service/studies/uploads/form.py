"""The multipart form of POST /studies, read as it streams (RFC 7578): nothing waits in memory for the end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from python_multipart.multipart import parse_options_header

from med3d_service.problems import ServiceError
from med3d_service.studies.multipart import (
    DamagedBodyError,
    MultipartBody,
    NotMultipartError,
    TooManyPartsError,
    content_type,
)
from med3d_service.studies.uploads.fields import SubmittedFields, parse_fields
from med3d_service.studies.uploads.form_files import FormFiles
from med3d_service.studies.uploads.limits import Meter
from med3d_service.studies.uploads.receiving import JudgedFile, ReceivedStudy

MAX_FIELD_BYTES = 1000


class _FormParts:
    """The parts in their turn: each is a file, or one of the text fields."""

    def __init__(self, files: FormFiles) -> None:
        self.texts: dict[str, str] = {}
        self._files = files
        self._field: tuple[str, bytearray] | None = None
        self._file: JudgedFile | None = None

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        """Start a part: a file, or one of the fields."""
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "files":
            self._file = self._files.open_part(options.get(b"filename", b"").decode("utf-8", "replace"))
        elif name in SubmittedFields.__dataclass_fields__:
            self._field = (name, bytearray())
        else:
            raise ServiceError("unknown_field")

    def write(self, data: bytes) -> None:
        """Take a piece of the part in hand."""
        if self._file is not None:
            self._file.write(data)
        elif self._field is not None:
            self._field[1].extend(data)
            if len(self._field[1]) > MAX_FIELD_BYTES:
                raise ServiceError("malformed_upload", "A text field is longer than 1000 bytes.")

    def end(self) -> None:
        """End the part in hand."""
        if self._file is not None:
            file, self._file = self._file, None
            if not file.is_empty:  # a part without content: nothing was sent with it
                file.close()
        elif self._field is not None:
            (name, text), self._field = self._field, None
            self.texts[name] = text.decode("utf-8", "replace")
            parse_fields(self.texts)  # a bad field is told before the files have come


class StudyForm:
    """Takes the body piece by piece; ``finish`` gives the fields and the received study, ``discard`` leaves nothing.

    ``site``: whose study it is; it is sealed as that. Raises ServiceError as soon as something is wrong.
    """

    def __init__(self, header: str, spool_dir: Path, key: bytes, site: str, meter: Meter) -> None:
        self._files = FormFiles(spool_dir, key, site, meter)
        self._parts = _FormParts(self._files)
        self._meter = meter
        most_parts = meter.limits.files + len(SubmittedFields.__dataclass_fields__)
        try:
            boundary = content_type(header, b"multipart/form-data")[b"boundary"]
            self._body = MultipartBody(boundary, self._parts, most_parts)
        except NotMultipartError as error:
            self.discard()  # the caller has nothing yet that it could discard
            raise ServiceError("not_multipart") from error

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        self._meter.require_room()
        with _damage_told():
            self._body.write(data)

    def finish(self) -> tuple[SubmittedFields, ReceivedStudy]:
        """End the body. The study's container is sealed; whoever takes it moves it away."""
        with _damage_told():
            self._body.finish()
        return parse_fields(self._parts.texts), self._files.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._files.discard()


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except TooManyPartsError as error:
        raise ServiceError("too_many_files") from error
    except DamagedBodyError as error:
        raise ServiceError("malformed_upload") from error
