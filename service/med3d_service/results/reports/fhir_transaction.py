"""The answer for a FHIR server: one transaction that leaves the same resources however often it is sent.

Report and observations are updated where their identifier is found, and made where it is not; so a verdict, and an
answer in the place of an earlier one, change what the server has. Provenance has no identifier, and stays here.
"""

import base64
import json
import uuid

from med3d_service.results.kinds import EVENTS
from med3d_service.results.reports import codes
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.fhir import OWN_SYSTEM, Json, answer_resources, identifier_of
from med3d_service.results.reports.printed_page.page import page_pdf

ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
ESTIMATES = {
    "brain-age": codes.BRAIN_AGE,
    "gap": codes.BRAIN_AGE_GAP,
    "gap-corrected": codes.BRAIN_AGE_GAP_CORRECTED,
    "sdmt": codes.SDMT_ESTIMATE,
}


def fhir_transaction(facts: ReportFacts) -> bytes:
    """Write the transaction of an answer, the page within it."""
    report, observations, device = answer_resources(facts)
    report["presentedForm"] = [_page(facts)]
    entries = [
        _made_once(device),
        *(_kept_one(one) for one in observations),
        *(_kept_one(one) for one in _taken_back(facts)),
        _kept_one(report),
    ]
    bundle: Json = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()


def _page(facts: ReportFacts) -> Json:
    return {
        "contentType": "application/pdf",
        "data": base64.b64encode(page_pdf(facts)).decode(),
        "title": codes.BRAIN_AGE_ANALYSIS.meaning,
        "creation": facts.answered_at.isoformat(),
    }


def _made_once(resource: Json) -> Json:
    """Return an entry that makes the resource unless the server has one of its identifier."""
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": f"identifier={_token(resource)}"}
    return _entry(resource, request)


def _kept_one(resource: Json) -> Json:
    """Return an entry that makes the resource, or puts it in the place of the one of its identifier."""
    return _entry(resource, {"method": "PUT", "url": f"{resource['resourceType']}?identifier={_token(resource)}"})


def _token(resource: Json) -> str:
    first = resource["identifier"][0]
    return f"{first['system']}|{first['value']}"


def _entry(resource: Json, request: Json) -> Json:
    """Return an entry whose id the server gives; references within the transaction go by the entry's own URL."""
    bare = {name: value for name, value in resource.items() if name != "id"}
    return {"fullUrl": f"urn:uuid:{resource['id']}", "resource": bare, "request": request}


def _taken_back(facts: ReportFacts) -> list[Json]:
    """Return what the answer before had and this one has not: a refusal in the place of a number."""
    return [
        {
            "resourceType": "Observation",
            "id": str(uuid.uuid5(EVENTS, f"{facts.run_id}/fhir/{what}")),
            "identifier": [identifier_of(facts, what)],
            "status": "entered-in-error",
            "code": {
                "coding": [{"system": OWN_SYSTEM, "code": ESTIMATES[what].value, "display": ESTIMATES[what].meaning}]
            },
            "dataAbsentReason": {"coding": [{"system": ABSENT, "code": "not-performed"}]},
        }
        for what in sorted(facts.replaced - facts.estimates)
    ]
