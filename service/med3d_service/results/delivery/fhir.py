"""Transactions to a FHIR server: all of an answer is taken, or nothing of it."""

import json
from typing import Any

import httpx

from med3d_contract.json_files import read_json
from med3d_service.results.delivery.http_judging import judge
from med3d_service.results.delivery.receivers import FhirServer
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing

MEDIA_TYPE = "application/fhir+json"
ISSUES = frozenset(
    {
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "security",
        "login",
        "expired",
        "forbidden",
        "suppressed",
    }
    | {"processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long"}
    | {"code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store"}
    | {"exception", "timeout", "incomplete", "throttled", "unknown"}
)
"""Codes of FHIR's value set IssueType: the only words of the server's that are kept."""
FAULTS = frozenset({"error", "fatal"})


class FhirSender:
    """POSTs transactions to one base URL. Redirects are not followed: the configured address is the only one."""

    def __init__(self, server: FhirServer) -> None:
        self._url = str(server.url)
        self._http = httpx.Client(
            timeout=server.timeout_s,
            verify=server.verify,
            auth=server.basic_auth,
            headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE, **server.headers},
            follow_redirects=False,
            trust_env=False,
        )

    def send(self, outgoing: Outgoing) -> None:
        """POST the transaction; the server has it when it says so for each of its entries."""
        try:
            response = self._http.post(self._url, content=outgoing.content)
        except httpx.TransportError as error:
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        judge(response.status_code, response.headers, told=_issue(_resource(response)))
        answers = _answers(response)
        if len(answers) != len(json.loads(outgoing.content)["entry"]):
            raise NotDeliveredError("peer_failed:incomplete_response")
        for status, outcome in answers:
            judge(status, response.headers, told=_issue(outcome))
            if fault := _issue(outcome):  # it says that all is well, and that it is not
                raise NotDeliveredError(f"peer_failed:http_{status}{fault}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _resource(response: httpx.Response) -> Any:
    try:
        return read_json(response.content)
    except ValueError:
        return None


def _answers(response: httpx.Response) -> list[tuple[int, Any]]:
    """Return status and outcome of each entry.

    Raises NotDeliveredError where the answer is no response to a transaction.
    """
    answer = _resource(response)
    try:
        if answer["resourceType"] == "Bundle" and answer["type"] == "transaction-response":
            told = [entry["response"] for entry in answer["entry"]]
            return [(int(str(one["status"])[:3]), one.get("outcome")) for one in told]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotDeliveredError(f"peer_failed:no_transaction_response{_issue(answer)}") from error
    raise NotDeliveredError(f"peer_failed:no_transaction_response{_issue(answer)}")


def _issue(outcome: Any) -> str:
    """Return the first fault that an OperationOutcome tells, as an ending of our code; empty where it tells none."""
    try:
        if outcome["resourceType"] != "OperationOutcome":
            return ""
        faults = [str(issue["code"]) for issue in outcome["issue"] if issue["severity"] in FAULTS]
    except (KeyError, TypeError):
        return ""
    return "" if not faults else f"_{faults[0]}" if faults[0] in ISSUES else "_unknown"
