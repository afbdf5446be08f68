"""What all DICOM objects of a report share: patient and study as in the images, equipment, UIDs, bytes."""

import io
import re
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from med3d_service.results.reports.codes import SCHEME, SCHEME_NAME
from med3d_service.results.reports.facts import ReportFacts, StudyIdentity
from med3d_service.studies.own_objects import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION, own_uid

MANUFACTURER = "InfoVAE-Med3D"
SERIES_DESCRIPTION = "Brain age analysis"
SERIES_NUMBERS = {"sr": 9901, "pdf": 9902, "sc": 9903, "seg": 9904, "explanation": 9905}
UTF8 = "ISO_IR 192"
_DATE = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_OFFSET = re.compile(r"[+-](0[0-9]|1[0-4])[0-5][0-9]")
_ANY = re.compile(r".+", re.DOTALL)
_STUDY_ATTRIBUTES = {
    "study_description": ("StudyDescription", _ANY),
    "institution_name": ("InstitutionName", _ANY),
    "patient_age": ("PatientAge", re.compile(r"[0-9]{3}[DWMY]")),
    "other_patient_ids": ("OtherPatientIDs", _ANY),
    "requesting_physician": ("RequestingPhysician", _ANY),
    "requested_procedure": ("RequestedProcedureDescription", _ANY),
}
"""A PACS takes what it shows of a study from the object that comes first, which may be ours."""
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?")


class NoDicomStudyError(Exception):
    """The run's images were no DICOM: there is no study that an object could be filed in."""


def study_of(facts: ReportFacts) -> StudyIdentity:
    """Return the study that objects are filed in. Raises NoDicomStudyError."""
    if facts.study is None:
        raise NoDicomStudyError
    return facts.study


def patient_and_study(facts: ReportFacts) -> Dataset:
    """Return patient and General Study as the images have them, in UTF-8. Raises NoDicomStudyError."""
    study, patient = study_of(facts), facts.patient
    dataset = Dataset()
    dataset.SpecificCharacterSet = UTF8
    dataset.PatientName = patient.name
    dataset.PatientID = patient.patient_id
    if patient.issuer:
        dataset.IssuerOfPatientID = patient.issuer
    dataset.PatientBirthDate = _if_valid(_DATE, patient.birth_date)
    dataset.PatientSex = patient.sex
    dataset.StudyInstanceUID = study.study_uid
    dataset.StudyDate = _if_valid(_DATE, study.study_date)
    dataset.StudyTime = _if_valid(_TIME, study.study_time)
    dataset.StudyID = study.study_id
    dataset.AccessionNumber = study.accession_number
    dataset.ReferringPhysicianName = study.referring_physician
    return dataset


def moment_of(facts: ReportFacts, at: datetime) -> datetime:
    """Return a moment in the time zone that the images state, else in the service's."""
    stated = "" if facts.study is None else facts.study.attributes.get("timezone_offset", "")
    if not _OFFSET.fullmatch(stated):
        return at
    minutes = int(stated[1:3]) * 60 + int(stated[3:])
    return at.astimezone(timezone(timedelta(minutes=-minutes if stated[0] == "-" else minutes)))


def _if_valid(pattern: re.Pattern[str], text: str) -> str:
    """Leave out a date or time that DICOM could not hold: what is no date says nothing."""
    return text if pattern.fullmatch(text) else ""


def series_uid(run_id: str, kind: str) -> str:
    """Give each object a series of its own: what comes later never changes a series that a PACS has closed."""
    return own_uid(run_id, kind, "series")


def identify(
    dataset: Dataset, facts: ReportFacts, kind: str, sop_class_uid: str, modality: str, *, name: str = ""
) -> None:
    """Fill SOP Common, study, series, equipment. Times are those of the answer: made again, the object is the same.

    name: tells several objects of a kind from one another; else there is one of a run.
    """
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = own_uid(facts.run_id, name or kind)
    dataset.SeriesInstanceUID = series_uid(facts.run_id, name or kind)
    dataset.SeriesNumber = SERIES_NUMBERS[kind]
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.Modality = modality
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = facts.bundle.name
    dataset.DeviceSerialNumber = facts.bundle.digest[:16]
    dataset.SoftwareVersions = [version("infovae-med3d"), f"bundle {facts.bundle.version}"]
    dataset.ContentQualification = "RESEARCH"
    for attribute, (keyword, pattern) in _STUDY_ATTRIBUTES.items():
        if pattern.fullmatch(value := study_of(facts).attributes.get(attribute, "")):
            setattr(dataset, keyword, value)
    stamp(dataset, facts)


def stamp(dataset: Dataset, facts: ReportFacts) -> None:
    """Set every time of making to that of the answer."""
    at = moment_of(facts, facts.answered_at)
    date, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S")
    dataset.TimezoneOffsetFromUTC = at.strftime("%z")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.SeriesDate, dataset.SeriesTime = date, time
    dataset.ContentDate, dataset.ContentTime = date, time
    for equipment in dataset.get("ContributingEquipmentSequence", []):  # highdicom names itself there, with the time
        equipment.ContributionDateTime = date + time


def own_scheme() -> Dataset:
    """Say what 99MED3D is (Coding Scheme Identification Sequence)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item


def as_file(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Write a DICOM file (PS3.10), its data set in explicit VR little endian; the same gives the same bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    bare = Dataset()
    bare.update(dataset)
    bare.file_meta = meta
    buffer = io.BytesIO()
    bare.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
