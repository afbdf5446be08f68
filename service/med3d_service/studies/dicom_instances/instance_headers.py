"""What intake must know of one DICOM instance before it is kept: who it is, and what routing rules ask about.

Only the start of the data set is read, to (0020,000E), and never more of it than HEAD_BYTES: the sandboxed child alone
parses whole files.
"""

import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from med3d_contract.scan_dates import DatesBeside
from med3d_contract.sent_files.content import dataset_offset
from med3d_service.studies.file_meta import read_file_meta
from med3d_service.studies.own_objects import is_own
from med3d_service.studies.working_copy.attributes import MALFORMED_BYTES, tag_of
from med3d_service.studies.working_copy.written_text import read_text

HEAD_BYTES = 1024 * 1024

INPUT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.4",  # MR Image
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image
    }
)
DERIVED_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
        "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
        "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.1",  # and its multi-frame kinds
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    }
)
"""Reports and pictures that travel with a study, ours among them: taken so that no sender stumbles, never an input."""

TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR little endian; the first that the sender offers too is agreed on
    "1.2.840.10008.1.2",  # implicit VR little endian
    "1.2.840.10008.1.2.2",  # explicit VR big endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K lossless, ordered for progressive display
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",
)
"""What the pipeline reads. A lossy original is the sender's choice; its study says so (lossy_compression)."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LAST_TAG = 0x0020000E
_FIRST_PIXEL_TAG = 0x7FE00008
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"OF", b"OD", b"OV"})
_UNDEFINED_LENGTH = 0xFFFFFFFF
HEADERS_READ = {
    "sop_class_uid": "SOPClassUID",
    "sop_uid": "SOPInstanceUID",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "patient_name": "PatientName",
    "patient_sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "character_set": "SpecificCharacterSet",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "patient_age": "PatientAge",
    "birth_date": "PatientBirthDate",
    "study_date": "StudyDate",
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionDateTime",
    "series_date": "SeriesDate",
    "content_date": "ContentDate",
}
"""What is read of each instance as it comes, by our word for it."""
_TAGS = [tag_of(keyword) for keyword in HEADERS_READ.values()]

REFUSALS = {
    "not_dicom": "This is no DICOM file, or one that cannot be read.",
    "missing_uids": "The data set lacks its SOP Class, SOP Instance, Series Instance or Study Instance UID.",
    "invalid_uid": "A UID of the data set is none: up to 64 digits and dots.",
    "unsupported_sop_class": "Objects of this SOP class are not analysed. Send MR images.",
    "unsupported_transfer_syntax": "This transfer syntax is not read. Send the images uncompressed.",
    "other_study": "The instance is of another study than the one that the address names.",
    "instance_too_large": "The instance is larger than this service takes.",
}


class InstanceRefused(Exception):  # noqa: N818 - a finding about the instance, as InputRefused is in the pipeline
    """One instance that is not taken. ``code`` is stable; ``sentence`` says what is wrong and quotes nothing of it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.sentence = REFUSALS[code]


@dataclass(frozen=True)
class InstanceHeaders:
    """Texts as they stand in the data set, empty where absent. They identify: never logged or stored as they are."""

    sop_class_uid: str
    sop_uid: str
    study_uid: str
    series_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    patient_sex: str
    accession_number: str
    character_set: str
    modality: str
    body_part: str
    description: str
    protocol: str
    patient_age: str
    birth_date: str
    study_date: str
    dataset_offset: int
    acquisition_date: str = ""
    acquisition_time: str = ""
    series_date: str = ""
    content_date: str = ""

    @property
    def is_input(self) -> bool:
        """Whether it may be analysed: an image of a class that is read, and none of our own making."""
        return self.sop_class_uid in INPUT_CLASSES and not is_own(self.sop_uid)

    @property
    def dates_beside(self) -> DatesBeside:
        """What dates the scan beside StudyDate."""
        return DatesBeside.written(self.acquisition_date, self.acquisition_time, self.series_date, self.content_date)

    @property
    def identity(self) -> str:
        """Who the patient is and for which order they were examined, in one text: what a correction changes."""
        told = (
            self.patient_id,
            self.issuer,
            _name(self.patient_name, self.character_set),
            self.birth_date,
            self.patient_sex.upper(),
            self.accession_number,
        )
        return "\0".join(told)


def read_headers(head: bytes) -> InstanceHeaders:
    """Read them from the start of a DICOM file (HEAD_BYTES, or all of it). Raises InstanceRefused."""
    offset = dataset_offset(head)
    meta = read_file_meta(head)
    if offset is None or meta.transfer_syntax_uid is None:
        raise InstanceRefused("not_dicom")
    if meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise InstanceRefused("unsupported_transfer_syntax")
    try:
        found = _read(head[offset:], meta.transfer_syntax_uid)
    except MALFORMED_BYTES as error:
        raise InstanceRefused("not_dicom") from error
    uids = [found[name] for name in ("sop_class_uid", "sop_uid", "study_uid", "series_uid")]
    if not all(uids):
        raise InstanceRefused("missing_uids")
    if not all(len(uid) <= 64 and _UID.fullmatch(uid) for uid in uids):
        raise InstanceRefused("invalid_uid")
    if found["sop_class_uid"] not in INPUT_CLASSES | DERIVED_CLASSES:
        raise InstanceRefused("unsupported_sop_class")
    return InstanceHeaders(**found, dataset_offset=offset)


def skip_to_pixels(file: BinaryIO) -> int | None:
    """Go to the pixels of a DICOM file, behind tag, VR and length; their bytes, None for compressed ones.

    They are the same whether the VR is written or not. Raises InstanceRefused, or one of MALFORMED, for what is none.
    """
    head = file.read(HEAD_BYTES)
    offset, syntax = dataset_offset(head), read_file_meta(head).transfer_syntax_uid
    if offset is None or syntax in {None, DeflatedExplicitVRLittleEndian}:
        raise InstanceRefused("not_dicom")
    file.seek(offset)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    read_dataset(file, implicit, little, stop_when=_at_pixels, specific_tags=[])
    element = file.read(8)
    if not element:
        return 0
    order = "<" if little else ">"
    _tag, vr, short = struct.unpack(f"{order}L2sH", element)
    if not implicit and vr in _LONG_VRS:
        (length,) = struct.unpack(f"{order}L", file.read(4))
    else:
        length = int.from_bytes(vr + struct.pack("<H", short), "little") if implicit else short
    return None if length == _UNDEFINED_LENGTH else int(length)


def _read(body: bytes, syntax: str) -> dict[str, str]:
    if syntax == DeflatedExplicitVRLittleEndian:
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, HEAD_BYTES)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dataset = read_dataset(io.BytesIO(body), implicit, little, stop_when=_behind_uids, specific_tags=_TAGS)
    return {name: _text(dataset, tag) for name, tag in zip(HEADERS_READ, _TAGS, strict=True)}


def _name(raw: str, character_set: str) -> str:
    """Return the name as it reads: encoded anew by another system, it is the same name.

    Where nothing says how it reads, Latin-1 tells every name from every other.
    """
    told = read_text(raw.encode("latin-1"), character_set, "ISO_IR 100")
    return "=".join(group.rstrip("^ ") for group in told.split("=")).rstrip("=")


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _FIRST_PIXEL_TAG


def _behind_uids(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) > _LAST_TAG


def _text(dataset: Dataset, tag: int) -> str:
    """Return the value's bytes as they stand: pydicom's conversion warns, with the value, unsafely among threads."""
    element = dataset.get_item(tag)
    value = element.value if isinstance(element, RawDataElement) else None
    return "" if value is None else value.decode("latin-1").strip(" \0")
