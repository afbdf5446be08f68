"""What may be asked of a peer: a study by its UID or accession number, or a search by a few attributes."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from med3d_contract.results import Frozen

SOURCES = ("dicomweb", "dimse")
Uid = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
# Neither wildcards nor the backslash, which separates values in DICOM: one study is meant, not many.
Exact = Annotated[str, StringConstraints(pattern=r"^[^\\*?\x00-\x1f\x7f]+$", max_length=64, strip_whitespace=True)]
DateRange = Annotated[str, StringConstraints(pattern=r"^([0-9]{8}|[0-9]{8}-|-[0-9]{8}|[0-9]{8}-[0-9]{8})$")]


class StudyQuery(Frozen):
    """A search; all that is given must match."""

    patient_id: Exact | None = None
    study_date: Annotated[
        DateRange | None, Field(description="YYYYMMDD, or a range", examples=["20260101-20260107"])
    ] = None
    study_description: Annotated[
        str | None, StringConstraints(pattern=r"^[^\\\x00-\x1f\x7f]+$", max_length=64), Field(examples=["*brain*"])
    ] = None
    modality: Annotated[str | None, StringConstraints(pattern=r"^[A-Z]{2,16}$"), Field(examples=["MR"])] = None

    @model_validator(mode="after")
    def _is_narrow(self) -> "StudyQuery":
        if self.patient_id is None and self.study_date is None:
            raise ValueError("a query needs patient_id or study_date")
        return self


class Wanted(Frozen):
    """Exactly one of the three."""

    study_uid: Uid | None = None
    accession: Exact | None = None
    query: StudyQuery | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "Wanted":
        if sum(given is not None for given in (self.study_uid, self.accession, self.query)) != 1:
            raise ValueError("give exactly one of study_uid, accession and query")
        return self

    def matching(self) -> dict[str, str]:
        """Return the attributes to match, by DICOM keyword."""
        if self.study_uid is not None:
            return {"StudyInstanceUID": self.study_uid}
        if self.accession is not None:
            return {"AccessionNumber": self.accession}
        assert self.query is not None
        given = {
            "PatientID": self.query.patient_id,
            "StudyDate": self.query.study_date,
            "StudyDescription": self.query.study_description,
            "ModalitiesInStudy": self.query.modality,
        }
        return {keyword: value for keyword, value in given.items() if value is not None}


class PullRequest(Wanted):
    """The JSON body of POST /studies: fetch from a configured peer."""

    source: Literal["dicomweb", "dimse"]
    peer: Annotated[
        str, Field(min_length=1, max_length=64, description="as the operator named it", examples=["archive"])
    ]

    def wanted(self) -> Wanted:
        """Return what is asked for, without whom."""
        return Wanted(study_uid=self.study_uid, accession=self.accession, query=self.query)
