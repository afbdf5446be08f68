"""One DICOM file in, its de-identified copy out: rebuilt from the allow-list, MR pixel data passed on byte for byte.

Pixels that may show text stay behind (working_copy.shown_text).
"""

import hashlib
import io
import struct
import warnings
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_partial
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from med3d_contract.scan_dates import DatesBeside
from med3d_service.studies.file_meta import file_head
from med3d_service.studies.working_copy.attributes import MALFORMED_BYTES, MAX_BINARY_BYTES, RULES, keep, tag_of
from med3d_service.studies.working_copy.pixels.canonical import digest_of_values
from med3d_service.studies.working_copy.pixels.comments import without_texts
from med3d_service.studies.working_copy.pseudonyms import Pseudonyms
from med3d_service.studies.working_copy.shown_text import READ_TAGS as SHOWN_TAGS
from med3d_service.studies.working_copy.shown_text import SHOWN_CLASSES, may_show_text, without_overlays, without_rest
from med3d_service.studies.working_copy.written_text import read_text

CHARACTER_SET, PIXEL_DATA = 0x00080005, 0x7FE00010
_TEXTS = frozenset({"PN", "LO", "SH", "LT", "ST", "UC", "UT"})
BITS_OF_WORDS = 16
UNDEFINED_LENGTH = 0xFFFFFFFF
GE_PRIVATE_SYNTAX = "1.2.840.113619.5.2"
_IDENTITY_KEYWORDS = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "patient_age": "PatientAge",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionDateTime",
    "series_date": "SeriesDate",
    "content_date": "ContentDate",
    "accession_number": "AccessionNumber",
    "study_uid": "StudyInstanceUID",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "referring_physician": "ReferringPhysicianName",
    "issuer_of_patient_id": "IssuerOfPatientID",
    "series_uid": "SeriesInstanceUID",
    "series_number": "SeriesNumber",
    "series_description": "SeriesDescription",
    "study_description": "StudyDescription",
    "institution_name": "InstitutionName",
    "other_patient_ids": "OtherPatientIDs",
    "requesting_physician": "RequestingPhysician",
    "requested_procedure": "RequestedProcedureDescription",
    "timezone_offset": "TimezoneOffsetFromUTC",
    "identity_removed": "PatientIdentityRemoved",
}
_IDENTITY_TAGS = tuple(tag_of(keyword) for keyword in _IDENTITY_KEYWORDS.values())
_READ_TAGS: list[BaseTag | int] = [*RULES, *_IDENTITY_TAGS, *SHOWN_TAGS]
"""All that is looked at; the reader skips the rest, which is half of a scanner's elements."""


class NotAnImageError(Exception):
    """The file is no image: a directory, a report, a presentation state."""


class UnreadableError(Exception):
    """The file begins as DICOM but cannot be read."""


@dataclass(frozen=True)
class Identity:
    """What the original said of the patient; only the encrypted table ever sees it."""

    patient_id: str
    patient_name: str
    birth_date: str
    patient_age: str
    sex: str
    study_date: str
    acquisition_date: str
    acquisition_time: str
    series_date: str
    content_date: str
    accession_number: str
    study_uid: str
    study_time: str
    study_id: str
    referring_physician: str
    issuer_of_patient_id: str
    series_uid: str
    series_number: str
    series_description: str
    study_description: str
    institution_name: str
    other_patient_ids: str
    requesting_physician: str
    requested_procedure: str
    timezone_offset: str
    identity_removed: str

    @property
    def dates_beside(self) -> DatesBeside:
        """What dates the scan beside StudyDate."""
        return DatesBeside.written(self.acquisition_date, self.acquisition_time, self.series_date, self.content_date)


@contextmanager
def tolerant_reading() -> Iterator[None]:
    """Let pydicom read what scanners really write, and keep its warnings, which quote values, from every log."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Deidentifier:
    """Rebuilds the files of one study. The same element in many files is judged and encoded once."""

    def __init__(self, pseudonyms: Pseudonyms, character_set: str = "") -> None:
        """character_set: of text in files that state none."""
        self._pseudonyms, self._character_set = pseudonyms, character_set
        self._encoded: dict[tuple[object, ...], bytes] = {}
        self._identities: dict[tuple[object, ...], Identity] = {}
        self.shown: set[str] = set()
        """Digests of what the images show, whoever they say that the patient is."""
        self.is_compressed = False
        """Whether some of these digests are of what a codec left, which another transfer syntax does not leave."""

    def copy(self, data: bytes) -> tuple[bytes, Identity]:
        """Rebuild one DICOM file from what the allow-list keeps.

        Raises NotAnImageError, UnreadableError.
        """
        with tolerant_reading():
            try:
                return self._copied(data)
            except MALFORMED_BYTES as error:
                raise UnreadableError from error

    def _copied(self, data: bytes) -> tuple[bytes, Identity]:
        file, dataset, syntax = _read(data)
        if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise NotAnImageError
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pixels = _pixel_element(file, implicit=implicit, little=little)
        self._note_shown(dataset, pixels, syntax)
        class_uid = self._pseudonyms.class_uid(_stated(dataset, "SOPClassUID", "MediaStorageSOPClassUID"))
        if not class_uid and not _text(dataset, "Modality") and not _text(dataset, "SeriesInstanceUID"):
            raise UnreadableError
        if not pixels and "Rows" not in dataset:
            if class_uid in SHOWN_CLASSES:
                raise UnreadableError  # cut short before it says what it holds
            raise NotAnImageError
        identity = self._identity(dataset)
        # Some de-identifiers leave an image no UID of its own; its file needs one all the same.
        instance_uid = _stated(dataset, "SOPInstanceUID", "MediaStorageSOPInstanceUID") or _uid_of_content(data)
        if may_show_text(dataset, class_uid):
            pixels = b""
        else:
            header_bytes = _header_bytes(pixels, implicit=implicit)
            pixels = without_overlays(dataset, pixels, header_bytes, little=little)
            if syntax.is_encapsulated:
                pixels = without_texts(pixels, header_bytes)
            else:
                pixels = without_rest(dataset, pixels, header_bytes)
        head = file_head(class_uid, self._pseudonyms.uid(instance_uid), syntax)
        kept = [
            self._element(dataset, tag, implicit=implicit, little=little)
            for tag in sorted(map(int, dataset.keys()))
            if tag in RULES
        ]
        return b"".join([head, *kept, pixels]), identity

    def _note_shown(self, dataset: Dataset, pixels: bytes, syntax: UID) -> None:
        """Digest the values, however they are written; of compressed ones the code stream."""
        self.is_compressed |= syntax.is_encapsulated
        values = pixels[_header_bytes(pixels, implicit=syntax == ImplicitVRLittleEndian) :]
        if syntax == ExplicitVRBigEndian and dataset.get("BitsAllocated") == BITS_OF_WORDS:
            words = array("H", values[: len(values) // 2 * 2])
            words.byteswap()
            values = words.tobytes()
        self.shown |= {digest_of_values(values)} - {""}

    def _element(self, dataset: Dataset, tag: int, *, implicit: bool, little: bool) -> bytes:
        """Encode what the rules leave of one element; empty where that is nothing."""
        raw = dataset.get_item(tag)
        if not isinstance(raw, RawDataElement) or len(raw.value or b"") > MAX_BINARY_BYTES:
            return _encode(self._kept(dataset, tag), implicit=implicit, little=little)
        key = (tag, raw.VR, raw.value, implicit, little)
        if key not in self._encoded:
            self._encoded[key] = _encode(self._kept(dataset, tag), implicit=implicit, little=little)
        return self._encoded[key]

    def _kept(self, dataset: Dataset, tag: int) -> Dataset:
        kept = Dataset()
        keep(dataset, kept, Tag(tag), self._pseudonyms)
        return kept

    def _identity(self, dataset: Dataset) -> Identity:
        found = [dataset.get_item(tag) for tag in (CHARACTER_SET, *_IDENTITY_TAGS)]
        key = tuple(element.value if isinstance(element, RawDataElement) else str(element) for element in found)
        if key not in self._identities:
            self._identities[key] = Identity(
                **{name: self._told(dataset, keyword) for name, keyword in _IDENTITY_KEYWORDS.items()}
            )
        return self._identities[key]

    def _told(self, dataset: Dataset, keyword: str) -> str:
        """Return what an element says of the patient; of text, as its character set has it."""
        element = dataset.get_item(keyword)
        if not isinstance(element, RawDataElement) or dictionary_VR(element.tag) not in _TEXTS:
            return _text(dataset, keyword)
        stated = dataset.get(CHARACTER_SET)
        terms = "" if stated is None or stated.value is None else stated.value
        named = terms if isinstance(terms, str) else "\\".join(map(str, terms))
        told = read_text(element.value or b"", named, self._character_set).strip()
        return told.rstrip("=") if dictionary_VR(element.tag) == "PN" else told


def _read(data: bytes) -> tuple[io.BytesIO, FileDataset, UID]:
    """Read up to the pixel data, where the file is then positioned."""
    file = io.BytesIO(data)
    dataset = read_partial(file, stop_when=_at_pixel_data, force=True, specific_tags=_READ_TAGS)
    syntax = _syntax(dataset)
    if syntax == DeflatedExplicitVRLittleEndian:
        file = io.BytesIO(_inflated(data, dataset))
        dataset = read_partial(file, stop_when=_at_pixel_data, force=True, specific_tags=_READ_TAGS)
        syntax = ExplicitVRLittleEndian
    return file, dataset, syntax


def _at_pixel_data(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= PIXEL_DATA


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword, "") or "").strip()
    except MALFORMED_BYTES:
        return ""


def _stated(dataset: FileDataset, keyword: str, keyword_of_file: str) -> str:
    """Return what the data set states, else what group 0002 does."""
    return _text(dataset, keyword) or _text(dataset.file_meta, keyword_of_file)


def _uid_of_content(data: bytes) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(data).digest()[:16], 'big')}"


def _syntax(dataset: FileDataset) -> UID:
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        syntax = UID(str(stated))
        if syntax.name == syntax and syntax != GE_PRIVATE_SYNTAX:  # not defined by DICOM
            raise UnreadableError
        return syntax
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _inflated(data: bytes, dataset: FileDataset) -> bytes:
    """Write a deflated file (PS3.5 A.5) as explicit VR little endian."""
    start = 144 + dataset.file_meta.FileMetaInformationGroupLength
    meta = FileMetaDataset()
    meta.update(dataset.file_meta)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=False)
    buffer.write(zlib.decompress(data[start:], -zlib.MAX_WBITS))
    return buffer.getvalue()


def _pixel_element(file: io.BytesIO, *, implicit: bool, little: bool) -> bytes:
    """Return the pixel data element as it stands, header and all, cut where it ends; empty where there is none.

    Announced lengths stay as they are, so that whoever reads the copy sees a truncated original as truncated.
    """
    start = file.tell()
    data = file.getbuffer()
    order = "<" if little else ">"
    group_element = struct.pack(f"{order}HH", *divmod(PIXEL_DATA, 1 << 16))
    if bytes(data[start : start + 4]) != group_element:
        return b""
    at = start + _header_bytes(data[start : start + 8], implicit=implicit)
    if len(data) < at:
        return bytes(data[start:])
    if implicit or at == start + 12:
        (length,) = struct.unpack_from(f"{order}L", data, at - 4)
    else:
        (length,) = struct.unpack_from(f"{order}H", data, at - 2)
    end = _fragments_end(data, at) if length == UNDEFINED_LENGTH else min(at + length, len(data))
    return bytes(data[start:end])


def _header_bytes(element: bytes | memoryview, *, implicit: bool) -> int:
    """Return length of the pixel data element's tag, VR and length."""
    return 12 if not implicit and bytes(element[4:6]) in {b"OB", b"OW", b"UN"} else 8


def _fragments_end(data: memoryview, at: int) -> int:
    """Find the end of encapsulated pixel data (PS3.5 A.4), or of what there is of it."""
    while at + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHL", data, at)
        at += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            return at
        if (group, element) != (0xFFFE, 0xE000):
            return at - 8
        at += length
    return min(at, len(data))


def _encode(kept: Dataset, *, implicit: bool, little: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, kept)
    return buffer.getvalue()
