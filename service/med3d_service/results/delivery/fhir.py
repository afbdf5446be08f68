"""Transactions to a FHIR server: all of an answer is taken, or nothing of it."""

from typing import Any

import httpx

from med3d_service.results.delivery.receivers import FhirServer
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing, RefusedByPeerError

MEDIA_TYPE = "application/fhir+json"
_PASSING = frozenset({401, 403, 404, 408, 409, 423, 425, 429})
"""Client errors that the server's operator may mend without a change of the transaction."""


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
        _judge(response.status_code)
        for status in _statuses(response):
            _judge(status)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in _PASSING:
        raise RefusedByPeerError(f"refused:http_{status}")
    raise NotDeliveredError(f"peer_failed:http_{status}")


def _statuses(response: httpx.Response) -> list[int]:
    """The statuses of the entries. Raises NotDeliveredError where the answer is no response to a transaction."""
    try:
        answer: Any = response.json()
        if answer["resourceType"] == "Bundle" and answer["type"] == "transaction-response":
            return [int(str(entry["response"]["status"])[:3]) for entry in answer["entry"]]
    except (KeyError, TypeError, ValueError) as error:
        raise NotDeliveredError("peer_failed:no_transaction_response") from error
    raise NotDeliveredError("peer_failed:no_transaction_response")
