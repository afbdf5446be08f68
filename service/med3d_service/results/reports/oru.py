"""The answer as HL7 v2.5.1 ORU^R01: one order, one observation for each number, limit, reason and fact of the model."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import shorten
from types import MappingProxyType

from highdicom.sr import CodedConcept

from med3d_contract.results import Interval, Result
from med3d_service.results.kinds import Kind
from med3d_service.results.reports import codes
from med3d_service.results.reports.examined import examined_at
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.fhir_transaction import ESTIMATES
from med3d_service.results.reports.hl7_text import (
    ENCODING_CHARACTERS,
    UTF8,
    components,
    escaped,
    moment,
    person,
    segment,
)
from med3d_service.results.reports.printed_page.page import page_pdf
from med3d_service.results.reports.standing import Standing, message_id, standing_of, stands_since

VERSION, APPLICATION = "2.5.1", "INFOVAE-MED3D"
LONGEST_ST = 199
"""Characters of a string (ST, v2.5.1 2.A.74); a text (TX) may be as long as it likes."""
REASON_SCHEME = "99MED3D-REASON"
STATUS: Mapping[Standing, tuple[str, str]] = MappingProxyType(
    {
        Standing.PRELIMINARY: ("P", "P"),
        Standing.FINAL: ("F", "F"),
        Standing.CORRECTED: ("C", "C"),
        Standing.WITHDRAWN: ("C", "W"),
    }
)
"""OBR-25 (table 0123) and OBX-11 (table 0085)."""
DELETED = "D"
STUDY_UID = CodedConcept("110180", "DCM", "Study Instance UID")
ALGORITHM_NAME = CodedConcept("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = CodedConcept("111003", "DCM", "Algorithm Version")


class NoPatientIdError(Exception):
    """The images name no PatientID: a RIS could file the message with nobody."""


@dataclass(frozen=True)
class _Observed:
    """An observation: OBX-2 to OBX-6. group: what belongs together has the same (OBX-4)."""

    type: str
    code: CodedConcept
    group: str
    value: str
    unit: CodedConcept | None = None
    status: str | None = None


def result_message(facts: ReportFacts, kind: Kind) -> bytes:
    """Write the message of an answer, the page within it where ``kind`` says so. Raises NoPatientIdError."""
    if not facts.patient.patient_id:
        raise NoPatientIdError
    observed = [*_numbers(facts), *_taken_back(facts), *_words(facts)]
    if kind is Kind.ORU_PDF:
        observed.append(_page(facts))
    segments = (_header(facts, kind), _patient(facts), _order(facts), *_observations(facts, observed))
    return "".join(f"{one}\r" for one in segments).encode()


def _header(facts: ReportFacts, kind: Kind) -> str:
    written = {
        1: ENCODING_CHARACTERS,
        6: moment(stands_since(facts)),
        8: "ORU^R01^ORU_R01",
        9: message_id(facts, kind),
        10: "P",
        11: VERSION,
        17: UTF8,
    }
    return segment("MSH", written)  # the separator itself is MSH-1, so fields stand one place earlier


def _patient(facts: ReportFacts) -> str:
    patient = facts.patient
    identifier = components(patient.patient_id, "", "", patient.issuer, "PI")
    sex = patient.sex or "U"
    return segment("PID", {1: "1", 3: identifier, 5: person(patient.name), 7: escaped(patient.birth_date), 8: sex})


def _order(facts: ReportFacts) -> str:
    title, examined = codes.BRAIN_AGE_ANALYSIS, examined_at(facts)
    written = {
        1: "1",
        3: components(facts.lineage, APPLICATION),
        4: components(*_coded(title), *_coded(codes.MR_BRAIN)),
        7: "" if examined is None else examined.hl7,
        18: "" if facts.study is None else escaped(facts.study.accession_number),
        22: moment(stands_since(facts)),
        24: "RAD",
        25: STATUS[standing_of(facts)][0],
    }
    if facts.verdict is not None and facts.verdict.reader:
        written[32] = f"&{escaped(facts.verdict.reader)}"
    return segment("OBR", written)


def _coded(concept: CodedConcept) -> tuple[str, str, str]:
    return str(concept.value), str(concept.meaning), str(concept.scheme_designator)


def _observations(facts: ReportFacts, observed: list[_Observed]) -> Iterator[str]:
    examined = examined_at(facts)
    status = STATUS[standing_of(facts)][1]
    for number, one in enumerate(observed, start=1):
        yield segment(
            "OBX",
            {
                1: str(number),
                2: one.type,
                3: components(*_coded(one.code)),
                4: one.group,
                5: one.value,
                6: "" if one.unit is None else components(*_coded(one.unit)),
                11: one.status or status,
                14: "" if examined is None else examined.hl7,
                18: components(facts.bundle.digest[:16], APPLICATION),
                19: moment(facts.answered_at),
            },
        )


def _numbers(facts: ReportFacts) -> Iterator[_Observed]:
    if facts.result is None:
        return
    result, age = facts.result, facts.result.brain_age
    yield from _estimate("1", codes.BRAIN_AGE, age.estimate, codes.YEARS, age.interval)
    if age.chronological_age is not None:
        yield _number("1", codes.SUBJECT_AGE, age.chronological_age.years, codes.YEARS)
    for group, code, gap in (
        ("2", codes.BRAIN_AGE_GAP, age.gap),
        ("3", codes.BRAIN_AGE_GAP_CORRECTED, age.gap_corrected),
    ):
        if gap is not None:
            yield from _estimate(group, code, gap.estimate, codes.YEARS, gap.interval)
    yield from _sdmt(result)
    assessment = result.assessment
    name = codes.OUT_OF_SITE if assessment.calibrated_for else codes.OUT_OF_DISTRIBUTION
    yield _number("5", name, assessment.out_of_distribution.percentile, codes.PERCENT)


def _sdmt(result: Result) -> Iterator[_Observed]:
    if result.sdmt is not None:
        yield from _estimate("4", codes.SDMT_ESTIMATE, result.sdmt.estimate, codes.POINTS, result.sdmt.interval)
        yield _text(codes.EVIDENCE, "4", result.sdmt.evidence)


def _estimate(
    group: str, code: CodedConcept, value: float, unit: CodedConcept, interval: Interval | None
) -> Iterator[_Observed]:
    """Return a number and the limits of its interval: a reference range (OBX-7) would say something else."""
    yield _number(group, code, value, unit)
    if interval is not None:
        yield _number(group, codes.INTERVAL_LOWER, interval.lower, unit)
        yield _number(group, codes.INTERVAL_UPPER, interval.upper, unit)
        yield _number(group, codes.INTERVAL_LEVEL, 100 * interval.level, codes.PERCENT)


def _number(group: str, code: CodedConcept, value: float, unit: CodedConcept) -> _Observed:
    return _Observed("NM", code, group, f"{round(value, 2):g}", unit)


def _taken_back(facts: ReportFacts) -> Iterator[_Observed]:
    """Return what the answer before had and this one has not, to be deleted."""
    for what in sorted(facts.replaced - facts.estimates):
        yield _Observed("NM", ESTIMATES[what], "", "", status=DELETED)


def _words(facts: ReportFacts) -> Iterator[_Observed]:
    decision = codes.DECISIONS[facts.decision]
    yield _Observed("CWE", codes.DECISION, "6", components(*_coded(decision)))
    for reason in facts.reasons:
        sentence = shorten(reason.sentence, LONGEST_ST, placeholder=" ...")
        yield _Observed("CWE", codes.REASON, "6", components(reason.code, sentence, REASON_SCHEME))
        if sentence != reason.sentence:
            yield _text(codes.REASON, "6", reason.sentence)
    if facts.calibrated_for is not None:
        yield _text(codes.CALIBRATED_FOR, "7", facts.calibrated_for)
    yield _text(ALGORITHM_NAME, "7", facts.bundle.name)
    yield _text(ALGORITHM_VERSION, "7", facts.bundle.version)
    if facts.study is not None:
        yield _text(STUDY_UID, "7", facts.study.study_uid)
    yield _text(codes.INTENDED_USE, "7", codes.RESEARCH_USE)


def _text(code: CodedConcept, group: str, value: str) -> _Observed:
    return _Observed("ST" if len(value) <= LONGEST_ST else "TX", code, group, escaped(value))


def _page(facts: ReportFacts) -> _Observed:
    data = base64.b64encode(page_pdf(facts)).decode()
    return _Observed("ED", codes.BRAIN_AGE_ANALYSIS, "8", f"^Application^PDF^Base64^{data}")
