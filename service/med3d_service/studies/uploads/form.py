"""The multipart form of POST /studies, read as it streams (RFC 7578): nothing waits in memory for the end."""

import io
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from python_multipart.multipart import parse_options_header

from med3d_contract.archives import unpack
from med3d_contract.content import HEAD_BYTES, Content, sniff
from med3d_contract.results import Priority, Sex
from med3d_service.problems import ServiceError
from med3d_service.storage.sealed import SealedReader, SealedWriter
from med3d_service.studies.multipart import DamagedBodyError, MultipartBody, NotMultipartError, content_type
from med3d_service.studies.series_by_hand import LONGEST_SERIES
from med3d_service.studies.uploads.limits import Meter, archive_faults_told
from med3d_service.studies.uploads.receiving import IncomingFile, ReceivedStudy, StudyFiles

MAX_FIELD_BYTES = 1000
_ARCHIVE_NAME = re.compile(r"\.(zip|tar|tgz|gz|7z|rar|bz2|xz)$", re.IGNORECASE)


@dataclass(frozen=True)
class SubmittedFields:
    """The optional fields of POST /studies; None where the sender said nothing."""

    age: float | None = None
    sex: Sex | None = None
    subject: str | None = None
    priority: Priority | None = None
    bundle: str | None = None
    series: str | None = None


def parse_age(text: str) -> float:
    """Years from 0 to 120. Raises ServiceError("invalid_age")."""
    if not re.fullmatch(r"\d{1,3}(\.\d{1,6})?", text.strip(), re.ASCII) or not 0 <= float(text) <= 120:
        raise ServiceError("invalid_age")
    return float(text)


def parse_fields(texts: dict[str, str]) -> SubmittedFields:
    """Judge the text fields; an empty one counts as left out. Raises ServiceError with the field's own code."""
    given = {name: text.strip() for name, text in texts.items() if text.strip()}
    sex, priority, subject = given.get("sex"), given.get("priority"), given.get("subject")
    if sex is not None and sex not in Sex.__members__.values():
        raise ServiceError("invalid_sex")
    if priority is not None and priority not in Priority.__members__.values():
        raise ServiceError("unknown_priority")
    if subject is not None and len(subject) > 200:
        raise ServiceError("invalid_subject")
    if len(given.get("series", "")) > LONGEST_SERIES:
        raise ServiceError("invalid_series")
    return SubmittedFields(
        age=parse_age(given["age"]) if "age" in given else None,
        sex=Sex(sex) if sex else None,
        subject=subject,
        priority=Priority(priority) if priority else None,
        bundle=given.get("bundle"),
        series=given.get("series"),
    )


class _FilePart:
    """One ``files`` part: an archive is spooled, sealed, to be unpacked at its end; an image goes on at once."""

    def __init__(self, form: "StudyForm", *, named_as_archive: bool) -> None:
        self._form = form
        self._named_as_archive = named_as_archive
        self._head: bytearray | None = bytearray()
        self._content = Content.OTHER
        self._sink: SealedWriter | IncomingFile | None = None

    def write(self, data: bytes) -> None:
        if self._head is None:
            assert self._sink is not None
            self._sink.write(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            self._judge()

    def close(self) -> None:
        if self._head is not None:
            if not self._head:
                return  # a part without content: nothing was sent with it
            self._judge()
        if isinstance(self._sink, SealedWriter):
            self._unpack(self._sink)
        elif self._sink is not None:
            self._sink.close()

    def _judge(self) -> None:
        head, self._head = bytes(self._head or b""), None
        self._content = sniff(head)
        if self._content is Content.OTHER_ARCHIVE:
            raise ServiceError("unsupported_file")
        if self._content.is_archive:
            self._sink = self._form.spool_archive()
        else:
            if self._content is Content.OTHER:
                self._form.unknown_codes.append("not_an_archive" if self._named_as_archive else "unsupported_file")
            else:
                self._form.recognised = True
            self._sink = IncomingFile(self._form.files)
        self._sink.write(head)

    def _unpack(self, spooled: SealedWriter) -> None:
        self._form.recognised = True
        spooled.close()
        sealed = SealedReader(spooled.path, self._form.key)
        with io.BufferedReader(sealed, 1 << 16) as archive, archive_faults_told():
            unpack(archive, spooled.size_bytes, self._content, self._form.files)
        self._form.drop_archive()


class _FormParts:
    """The parts in their turn: each is a file, or one of the text fields."""

    def __init__(self, form: "StudyForm", meter: Meter) -> None:
        self.texts: dict[str, str] = {}
        self._form = form
        self._meter = meter
        self._field: tuple[str, bytearray] | None = None
        self._part: _FilePart | None = None

    def begin(self, headers: Mapping[bytes, bytes]) -> None:
        """Start a part: a file, or one of the fields."""
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == "files":
            self._meter.count_file()
            file_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._part = _FilePart(self._form, named_as_archive=bool(_ARCHIVE_NAME.search(file_name)))
        elif name in SubmittedFields.__dataclass_fields__:
            self._field = (name, bytearray())
        else:
            raise ServiceError("unknown_field")

    def write(self, data: bytes) -> None:
        """Take a piece of the part in hand."""
        if self._part is not None:
            self._part.write(data)
        elif self._field is not None:
            self._field[1].extend(data)
            if len(self._field[1]) > MAX_FIELD_BYTES:
                raise ServiceError("malformed_upload", "A text field is longer than 1000 bytes.")

    def end(self) -> None:
        """End the part in hand."""
        if self._part is not None:
            part, self._part = self._part, None
            part.close()
        elif self._field is not None:
            (name, text), self._field = self._field, None
            self.texts[name] = text.decode("utf-8", "replace")
            parse_fields(self.texts)  # a bad field is told before the files have come


class StudyForm:
    """Takes the body piece by piece; ``finish`` gives the fields and the received study, ``discard`` leaves nothing.

    Raises ServiceError as soon as something is wrong.
    """

    def __init__(self, header: str, spool_dir: Path, key: bytes, meter: Meter) -> None:
        try:
            boundary = content_type(header, b"multipart/form-data")[b"boundary"]
            self._parts = _FormParts(self, meter)
            self._body = MultipartBody(boundary, self._parts)
        except NotMultipartError as error:
            raise ServiceError("not_multipart") from error
        self.key = key
        self.recognised = False  # a part that is DICOM, NIfTI or an archive
        self.unknown_codes: list[str] = []
        self._spool_dir = spool_dir
        self._archive: SealedWriter | None = None
        self.files = StudyFiles(spool_dir, key, meter)

    def write(self, data: bytes) -> None:
        """Take the next piece of the body."""
        with _told():
            self._body.write(data)

    def finish(self) -> tuple[SubmittedFields, ReceivedStudy]:
        """End the body. The study's container is sealed; whoever takes it moves it away."""
        with _told():
            self._body.finish()
        fields = parse_fields(self._parts.texts)
        if self.unknown_codes and not self.recognised:
            raise ServiceError(self.unknown_codes[0])
        return fields, self.files.finish()

    def discard(self) -> None:
        """Leave nothing behind."""
        self.files.discard()
        self.drop_archive()

    def spool_archive(self) -> SealedWriter:
        """Open the place where an archive waits, sealed, to be unpacked."""
        self._archive = SealedWriter(self._spool_dir / f"{secrets.token_hex(16)}.archive", self.key)
        return self._archive

    def drop_archive(self) -> None:
        """Remove the spooled archive."""
        if self._archive is not None:
            self._archive.discard()
            self._archive = None


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except DamagedBodyError as error:
        raise ServiceError("malformed_upload") from error
