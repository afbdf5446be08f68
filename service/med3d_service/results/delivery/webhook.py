"""Signed webhooks: HMAC-SHA256 over time and body, so that the receiver knows who calls and refuses what is old."""

import hashlib
import hmac
import time
from collections.abc import Callable

import httpx

from med3d_service.results.delivery.http_judging import judge
from med3d_service.results.delivery.receivers import Webhook
from med3d_service.results.delivery.sending import NotDeliveredError, Outgoing

ID, SIGNATURE = "Med3d-Event-Id", "Med3d-Signature"


def signature(secret: bytes, at: int, body: bytes) -> str:
    """Return the header's value: ``t=SECONDS,v1=HEX`` with the HMAC-SHA256 of ``SECONDS.BODY``."""
    return f"t={at},v1={hmac.new(secret, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


class WebhookSender:
    """POSTs events to one address. Redirects are not followed: the configured address is the only one."""

    def __init__(self, webhook: Webhook, clock: Callable[[], float] = time.time) -> None:
        self._url = str(webhook.url)
        self._secret = webhook.secret.get_secret_value().encode()
        self._clock = clock
        verify = True if webhook.tls is None else webhook.tls.context()
        self._http = httpx.Client(timeout=webhook.timeout_s, verify=verify, follow_redirects=False, trust_env=False)

    def send(self, outgoing: Outgoing) -> None:
        """POST the event, signed with the present time."""
        headers = {
            "Content-Type": "application/json",
            ID: outgoing.object_uid,
            SIGNATURE: signature(self._secret, int(self._clock()), outgoing.content),
        }
        try:
            response = self._http.post(self._url, content=outgoing.content, headers=headers)
        except httpx.TransportError as error:
            raise NotDeliveredError(f"peer_away:{type(error).__name__}") from error
        judge(response.status_code, response.headers)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
