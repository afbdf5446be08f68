"""The answer as FHIR R4 (hl7.org/fhir/R4): a Bundle of DiagnosticReport, Observations, Device and Provenance."""

import json
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from med3d_contract.results import Estimate, Interval, Reason, Result
from med3d_service.results.kinds import EVENTS
from med3d_service.results.reports import codes
from med3d_service.results.reports.examined import examined_at
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.standing import Standing, standing_of, stands_since

Json = dict[str, Any]
MEDIA_TYPE = "application/fhir+json"
OWN_SYSTEM = "https://med3d.invalid/codes"
"""The private scheme as a URI: a name, nowhere to go to (RFC 6761)."""
REASON_SYSTEM = f"{OWN_SYSTEM}/reasons"
"""Codes of refusals and of reasons to look, as docs/refusals.md lists them."""
UCUM = "http://unitsofmeasure.org"
URI = "urn:ietf:rfc:3986"
STATUS: Mapping[Standing, str] = MappingProxyType(
    {
        Standing.PRELIMINARY: "preliminary",
        Standing.FINAL: "final",
        Standing.CORRECTED: "amended",
        Standing.WITHDRAWN: "entered-in-error",
    }
)
"""Of DiagnosticReport and Observation alike."""


def fhir_json(facts: ReportFacts) -> bytes:
    """Write the bundle of an answer; a refused run's has a report that says so, and no observation with a number."""
    report, observations, device = answer_resources(facts)
    resources = [report, *observations, device, _provenance(facts, observations)]
    bundle: Json = {
        "resourceType": "Bundle",
        "id": _id(facts, "bundle"),
        "type": "collection",
        "timestamp": facts.answered_at.isoformat(),
        "entry": [{"fullUrl": f"urn:uuid:{one['id']}", "resource": one} for one in resources],
    }
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def answer_resources(facts: ReportFacts) -> tuple[Json, list[Json], Json]:
    """Make the report, its observations and the device."""
    observations = _observations(facts)
    return _report(facts, observations), observations, _device(facts)


def identifier_of(facts: ReportFacts, what: str) -> Json:
    """Name a resource as what it is through all answers that replace one another: a server keeps one of them."""
    return {"system": URI, "value": f"urn:uuid:{uuid.uuid5(EVENTS, f'{facts.lineage}/fhir/{what}')}"}


def _effective(facts: ReportFacts) -> Json:
    """Tell when the images were made, as far as they say so."""
    found = examined_at(facts)
    return {} if found is None else {"effectiveDateTime": found.fhir}


def _id(facts: ReportFacts, what: str) -> str:
    """Return a resource's id, the same each time."""
    return str(uuid.uuid5(EVENTS, f"{facts.run_id}/fhir/{what}"))


def _reference(facts: ReportFacts, what: str) -> Json:
    return {"reference": f"urn:uuid:{_id(facts, what)}"}


def _own(code: Any) -> Json:
    return {"coding": [{"system": OWN_SYSTEM, "code": code.value, "display": code.meaning}], "text": code.meaning}


def _reason(reason: Reason) -> Json:
    return {"coding": [{"system": REASON_SYSTEM, "code": reason.code}], "text": reason.sentence}


def _subject(facts: ReportFacts) -> Json:
    """Return the patient by the number that the hospital knows; the service has no Patient resource."""
    if not facts.patient.patient_id:
        return {}
    identifier: Json = {"value": facts.patient.patient_id}
    if facts.patient.issuer:
        identifier["assigner"] = {"display": facts.patient.issuer}
    return {"subject": {"type": "Patient", "identifier": identifier}}


def _report(facts: ReportFacts, observations: list[Json]) -> Json:
    study = facts.study
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": _id(facts, "report"),
        "identifier": [identifier_of(facts, "report"), {"system": URI, "value": f"urn:uuid:{facts.run_id}"}],
        "status": STATUS[standing_of(facts)],
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v2-0074",
                        "code": "RAD",
                        "display": "Radiology",
                    }
                ]
            }
        ],
        "code": {
            "coding": [
                {"system": OWN_SYSTEM, "code": codes.BRAIN_AGE_ANALYSIS.value, "display": "Brain age analysis of MR"},
                {"system": "http://loinc.org", "code": codes.MR_BRAIN.value, "display": codes.MR_BRAIN.meaning},
            ]
        },
        **_subject(facts),
        **_effective(facts),
        "issued": stands_since(facts).isoformat(),
        "conclusion": _conclusion(facts),
        "conclusionCode": [_own(codes.DECISIONS[facts.decision]), *map(_reason, facts.reasons)],
    }
    if observations:  # FHIR knows no empty lists
        report["result"] = [{"reference": f"urn:uuid:{one['id']}"} for one in observations]
    if study is not None:
        report["imagingStudy"] = [
            {
                "type": "ImagingStudy",
                "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study.study_uid}"},
            }
        ]
        if study.accession_number:
            accession = {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}],
            }
            report["basedOn"] = [
                {"type": "ServiceRequest", "identifier": {"type": accession, "value": study.accession_number}}
            ]
    return report


def _conclusion(facts: ReportFacts) -> str:
    return " ".join(
        [
            f"{codes.DECISIONS[facts.decision].meaning}.",
            *(reason.sentence for reason in facts.reasons),
            *([] if facts.calibrated_for is None else [f"Calibrated with healthy heads of {facts.calibrated_for}."]),
            codes.RESEARCH_USE,
        ]
    )


def _observations(facts: ReportFacts) -> list[Json]:
    if facts.result is None:
        return []
    result = facts.result
    age = result.brain_age
    made = [_observation(facts, "brain-age", codes.BRAIN_AGE, age.estimate, "years", "a", age.interval)]
    gaps: tuple[tuple[str, Any, Estimate | None], ...] = (
        ("gap", codes.BRAIN_AGE_GAP, age.gap),
        ("gap-corrected", codes.BRAIN_AGE_GAP_CORRECTED, age.gap_corrected),
    )
    for what, code, gap in gaps:
        if gap is not None:
            made.append(_observation(facts, what, code, gap.estimate, "years", "a", gap.interval))
    if facts.calibrated_for is not None:
        for one in made:
            one["component"].append({"code": _own(codes.CALIBRATED_FOR), "valueString": facts.calibrated_for})
    made += _sdmt(facts, result)
    return made


def _sdmt(facts: ReportFacts, result: Result) -> list[Json]:
    if result.sdmt is None:
        return []
    sdmt = result.sdmt
    code = codes.SDMT_ESTIMATE
    made = _observation(facts, "sdmt", code, sdmt.estimate, "points", "{points}", sdmt.interval)
    made["note"].append({"text": f"Estimated from the image, not measured; learned from: {sdmt.evidence}"})
    return [made]


def _observation(
    facts: ReportFacts, what: str, code: Any, value: float, unit: str, ucum: str, interval: Interval | None
) -> Json:
    """Return one estimate.

    The limits of its interval are components, for a reference range would say something else.
    """

    def quantity(number: float, words: str, symbol: str) -> Json:
        return {"value": round(number, 2), "unit": words, "system": UCUM, "code": symbol}

    observation: Json = {
        "resourceType": "Observation",
        "id": _id(facts, what),
        "identifier": [identifier_of(facts, what)],
        "status": STATUS[standing_of(facts)],
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]}
        ],
        "code": _own(code),
        **_subject(facts),
        **_effective(facts),
        "issued": facts.answered_at.isoformat(),
        "valueQuantity": quantity(value, unit, ucum),
        "bodySite": {
            "coding": [{"system": "http://snomed.info/sct", "code": codes.BRAIN.value, "display": "Brain structure"}]
        },
        "device": _reference(facts, "device"),
        "note": [{"text": codes.RESEARCH_USE}],
    }
    if interval is not None:
        limits = (
            (codes.INTERVAL_LOWER, interval.lower, unit, ucum),
            (codes.INTERVAL_UPPER, interval.upper, unit, ucum),
            (codes.INTERVAL_LEVEL, 100 * interval.level, "%", "%"),
        )
        observation["component"] = [
            {"code": _own(name), "valueQuantity": quantity(number, words, symbol)}
            for name, number, words, symbol in limits
        ]
    return observation


def _device(facts: ReportFacts) -> Json:
    return {
        "resourceType": "Device",
        "id": _id(facts, "device"),
        "identifier": [{"system": URI, "value": f"urn:sha256:{facts.bundle.digest}"}],
        "manufacturer": "InfoVAE-Med3D",
        "deviceName": [{"name": facts.bundle.name, "type": "model-name"}],
        "version": [{"value": facts.bundle.version}],
        "note": [{"text": codes.RESEARCH_USE}],
    }


def _provenance(facts: ReportFacts, observations: list[Json]) -> Json:
    provenance: Json = {
        "resourceType": "Provenance",
        "id": _id(facts, "provenance"),
        "target": [
            _reference(facts, "report"),
            *({"reference": f"urn:uuid:{one['id']}"} for one in observations),
        ],
        "recorded": facts.answered_at.isoformat(),
        "agent": [
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                            "code": "assembler",
                        }
                    ]
                },
                "who": _reference(facts, "device"),
            }
        ],
    }
    if facts.source is not None:
        provenance["entity"] = [
            {
                "role": "source",
                "what": {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{facts.source.series_uid}"}},
            }
        ]
    return provenance
