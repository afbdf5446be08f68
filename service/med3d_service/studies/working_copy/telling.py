"""What images say of their patient, put right by what messages have said since."""

from collections.abc import Sequence
from contextlib import suppress

from med3d_contract.ages import read_age, storable_age
from med3d_contract.scan_dates import DatesBeside
from med3d_service.studies.patient_corrections import (
    BIRTH_DATE,
    ID,
    ISSUER,
    KINDS,
    PatientUpdate,
    UpdateRefusedError,
    same_patients,
)
from med3d_service.studies.working_copy.messages import Report


def updated(report: Report, updates: Sequence[PatientUpdate], authority: str) -> Report:
    """Return what the child found, with what messages have said since. authority: of images that name no issuer."""
    found = {kind: str(getattr(report, kind)) for kind in KINDS}
    sex, applied = report.sex, []
    for update in updates:
        for one in (update, update.of_who_stays()):  # late images may come under the id of who stays
            known = one.means(found[ID], found[ISSUER] or authority)
            if known is not None:
                with suppress(UpdateRefusedError):  # it came before anybody could know of which authority they are
                    found |= one.changes(known, found)
                    sex = sex if one.sex is None else one.sex
                    applied.append(one)
                break
    if not updates:
        return report
    changed: dict[str, object] = {**found, "sex": sex}
    if any(update.birth_date is not None for update in applied) or same_patients(updates):
        changed |= _age_of(report, found[BIRTH_DATE])
    return report.model_copy(update=changed)


def _age_of(report: Report, birth_date: str) -> dict[str, object]:
    """Return the age by the birth date alone: what the images state may be the old one's."""
    beside = DatesBeside(report.scan_date)
    age = storable_age(read_age(birth_date=birth_date, study_date=report.study_date, beside=beside))
    attributes = {name: text for name, text in report.study_attributes.items() if name != "patient_age"}
    return {"age": age, "series_ages": dict.fromkeys(report.series_ages, age), "study_attributes": attributes}
