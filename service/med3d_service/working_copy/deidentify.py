"""One DICOM file in, its de-identified copy out: rebuilt from the allow-list, pixel data passed on byte for byte."""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pydicom.config
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_partial
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from med3d_service.working_copy.attributes import RULES, Rule
from med3d_service.working_copy.pseudonyms import Pseudonyms
from med3d_service.working_copy.vocabulary import (
    CODES,
    DESCRIPTIONS,
    MANUFACTURERS,
    MODELS,
    known_agent,
    known_sequence,
    known_words,
)

PIXEL_DATA = Tag(0x7FE00010)
UNDEFINED_LENGTH = 0xFFFFFFFF
MAX_BINARY_BYTES = 256
GE_PRIVATE_SYNTAX = "1.2.840.113619.5.2"
_NUMBER_TEXT = re.compile(rb"[0-9+\-.eE\\ \x00]{0,512}")
_BINARY_VRS = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "AT", "UV", "SV"})
_GE_CREATOR, _GE_IMAGE_KIND = Tag(0x00430010), Tag(0x0043102F)
MALFORMED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that only look like DICOM."""


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
    accession_number: str
    study_uid: str


@contextmanager
def tolerant_reading() -> Iterator[None]:
    """Let pydicom read what scanners really write, and keep its warnings, which quote values, from every log."""
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def deidentify(data: bytes, pseudonyms: Pseudonyms) -> tuple[bytes, Identity]:
    """Rebuild a DICOM file from what the allow-list keeps.

    Raises NotAnImageError, UnreadableError.
    """
    with tolerant_reading():
        try:
            return _deidentified(data, pseudonyms)
        except MALFORMED as error:
            raise UnreadableError from error


def _deidentified(data: bytes, pseudonyms: Pseudonyms) -> tuple[bytes, Identity]:
    file = io.BytesIO(data)
    dataset = read_partial(file, stop_when=lambda tag, _vr, _length: tag >= PIXEL_DATA, force=True)
    syntax = _syntax(dataset)
    if syntax == DeflatedExplicitVRLittleEndian:
        file = io.BytesIO(_inflated(data, dataset))
        dataset = read_partial(file, stop_when=lambda tag, _vr, _length: tag >= PIXEL_DATA, force=True)
        syntax = ExplicitVRLittleEndian
    if dataset.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise NotAnImageError
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    pixels = _pixel_element(file, implicit=implicit, little=little)
    if not pixels and "Rows" not in dataset:
        raise NotAnImageError
    kept = _filtered(dataset, pseudonyms)
    return _written(kept, pixels, syntax, implicit=implicit, little=little), _identity(dataset)


def _syntax(dataset: FileDataset) -> UID:
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        syntax = UID(str(stated))
        if syntax not in UID_dictionary and syntax != GE_PRIVATE_SYNTAX:
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
    group_element = struct.pack(f"{order}HH", PIXEL_DATA.group, PIXEL_DATA.element)
    if bytes(data[start : start + 4]) != group_element:
        return b""
    long_form = not implicit and bytes(data[start + 4 : start + 6]) in {b"OB", b"OW", b"UN"}
    at = start + (12 if long_form else 8)
    if len(data) < at:
        return bytes(data[start:])
    if implicit or long_form:
        (length,) = struct.unpack_from(f"{order}L", data, at - 4)
    else:
        (length,) = struct.unpack_from(f"{order}H", data, at - 2)
    end = _fragments_end(data, at) if length == UNDEFINED_LENGTH else min(at + length, len(data))
    return bytes(data[start:end])


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


def _written(kept: Dataset, pixels: bytes, syntax: UID, *, implicit: bool, little: bool) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kept.get("SOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = kept.get("SOPInstanceUID", "")
    meta.TransferSyntaxUID = syntax
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
    write_dataset(buffer, kept)
    buffer.write(pixels)
    return buffer.getvalue()


def _identity(dataset: Dataset) -> Identity:
    def text(keyword: str) -> str:
        try:
            return str(dataset.get(keyword, "") or "").strip()
        except MALFORMED:
            return ""

    return Identity(
        patient_id=text("PatientID"),
        patient_name=text("PatientName"),
        birth_date=text("PatientBirthDate"),
        patient_age=text("PatientAge"),
        sex=text("PatientSex").upper(),
        study_date=text("StudyDate"),
        accession_number=text("AccessionNumber"),
        study_uid=text("StudyInstanceUID"),
    )


# --- the allow-list at work ---


def _filtered(dataset: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    kept = Dataset()
    for tag in dataset.keys() & RULES.keys():
        _keep(dataset, kept, Tag(tag), RULES[tag], pseudonyms)
    _keep_ge_image_kind(dataset, kept)
    return kept


def _keep(dataset: Dataset, kept: Dataset, tag: BaseTag, rule: Rule, pseudonyms: Pseudonyms) -> None:
    if rule is Rule.NUMBER:
        _keep_number(dataset, kept, tag)
        return
    vr = dictionary_VR(tag)
    try:
        value = dataset[tag].value
        if rule is Rule.ITEMS:
            items = Sequence(_filtered(item, pseudonyms) for item in value)
            kept.add_new(tag, "SQ", items)
            return
        if rule is Rule.EMPTY_ITEM:
            if len(value):
                kept.add_new(tag, "SQ", Sequence([Dataset()]))
            return
    except MALFORMED:
        return  # a malformed value counts as absent
    texts = (
        [str(part).strip() for part in value] if isinstance(value, MultiValue | list) else [str(value or "").strip()]
    )
    cleaned = [_TEXT_RULES[rule](text, pseudonyms) for text in texts]
    if any(cleaned):
        kept.add_new(tag, vr, cleaned if len(cleaned) > 1 else cleaned[0])


def _keep_number(dataset: Dataset, kept: Dataset, tag: BaseTag) -> None:
    """Numbers stay as they were written, unless a text hides where a number is due."""
    vr = dictionary_VR(tag)
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement):
        try:
            texts = str(raw.value if raw is not None else "").strip("[]").replace(", ", "\\").replace("'", "")
        except MALFORMED:
            return
        if raw is not None and _NUMBER_TEXT.fullmatch(texts.encode()):
            kept.add(raw)
        return
    value = raw.value or b""
    if vr in _BINARY_VRS:
        fits = raw.VR in {None, vr} and len(value) <= MAX_BINARY_BYTES
    else:
        fits = raw.VR in {None, vr, "UN"} and _NUMBER_TEXT.fullmatch(value) is not None
    if fits and value:
        kept[tag] = raw if raw.VR in {None, vr} else raw._replace(VR=vr)


def _keep_ge_image_kind(dataset: Dataset, kept: Dataset) -> None:
    """GE says only here whether an image is magnitude, phase, real or imaginary."""
    creator, kind = dataset.get(_GE_CREATOR), dataset.get(_GE_IMAGE_KIND)
    try:
        number = int(kind.value) if kind is not None else -1
        if creator is not None and creator.value == "GEMS_PARM_01" and 0 <= number <= 3:
            kept.add_new(_GE_CREATOR, "LO", "GEMS_PARM_01")
            kept.add_new(_GE_IMAGE_KIND, "SS", number)
    except MALFORMED:
        return


def _code(text: str, pseudonyms: Pseudonyms) -> str:
    if not text:
        return ""
    known = all(word in CODES for word in text.casefold().split()) or re.fullmatch(r"\d{1,4}", text, re.ASCII)
    return text if known else pseudonyms.code(text)


_TEXT_RULES: Mapping[Rule, Callable[[str, Pseudonyms], Any]] = {
    Rule.CODE: _code,
    Rule.UID: lambda text, pseudonyms: pseudonyms.uid(text) if text else "",
    Rule.CLASS_UID: lambda text, pseudonyms: text if text in UID_dictionary else pseudonyms.uid(text),
    Rule.SEX: lambda text, _: text.upper() if text.upper() in {"F", "M", "O"} else "",
    Rule.MANUFACTURER: lambda text, _: known_words(text, MANUFACTURERS),
    Rule.MODEL: lambda text, _: known_words(text, MODELS),
    Rule.DESCRIPTION: lambda text, _: known_words(text, DESCRIPTIONS),
    Rule.SEQUENCE_NAME: lambda text, _: known_sequence(text),
    Rule.AGENT: lambda text, _: known_agent(text),
}
