"""An attribute by which the pipeline judges must be read from the header, and must be in the working copy; else it is absent in silence."""

import re
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from med3d_pipeline import reading
from med3d_pipeline.reading.dicom_headers import CONVERTED, FUNCTIONAL_GROUPS, HEADER_ATTRIBUTES
from med3d_service.studies.working_copy.attributes import RULES

END_OF_FILE_META = 0x0002FFFF
JUDGING = ("dicom_facts.py", "dicom_headers.py")
IN_GROUPS_ALONE = {
    *("EffectiveEchoTime", "InversionTimes", "RFEchoTrainLength", "InversionRecovery", "FrameAcquisitionNumber"),
    *(
        "TemporalPositionIndex",
        "StackID",
        "InStackPositionNumber",
        "DimensionIndexPointer",
        "DimensionIndexValues",
        "CodeValue",
    ),
}
"""Attributes that only items of sequences have, which are read whole."""
OF_THE_PATIENT = {
    *("PatientID", "PatientAge", "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"),
    *("AcquisitionDateTime", "SpecificCharacterSet"),
}
"""Left out of working copies on purpose: the service reads them, and hands on the age."""


def judged_by():
    """The DICOM keywords that stand in the modules which turn headers into facts."""
    folder = Path(reading.__file__).parent
    quoted = re.findall(r'"([A-Z]\w+)"', "".join((folder / name).read_text(encoding="utf-8") for name in JUDGING))
    return {word for word in quoted if (tag_for_keyword(word) or 0) > END_OF_FILE_META} - {
        *FUNCTIONAL_GROUPS,
        *CONVERTED,
    }


def test_what_a_series_is_judged_by_is_read_from_the_header():
    assert len(judged_by()) > 60
    assert judged_by() - set(HEADER_ATTRIBUTES) == IN_GROUPS_ALONE


def test_what_is_read_from_the_header_is_in_the_working_copy():
    left_out = {word for word in judged_by() | set(HEADER_ATTRIBUTES) if tag_for_keyword(word) not in RULES}
    assert left_out == OF_THE_PATIENT
