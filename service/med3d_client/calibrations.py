"""Site calibrations in the service: sent, listed, withdrawn."""

import base64
import time

import httpx

from med3d_client.transport import RetryPolicy, Sleep, request_with_retries
from med3d_contract.calibrations import CalibrationList, CalibrationView


class CalibrationsClient:
    """Raises ApiUnavailable, ApiError and Conflict as med3d_client.transport says."""

    def __init__(
        self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0, transport=transport
        )
        self._sleep = sleep
        self._retries = RetryPolicy()

    def send(self, file: bytes, signature: bytes) -> CalibrationView:
        """Add a calibration, its bytes and its signature's as they are on disk; the same again is no error."""
        body = {name: base64.b64encode(part).decode() for name, part in (("file", file), ("signature", signature))}
        return CalibrationView.model_validate_json(self._request("POST", "/calibrations", body).content)

    def all(self) -> tuple[CalibrationView, ...]:
        """Return those of the caller's site, the newest first; withdrawn ones, too."""
        return CalibrationList.model_validate_json(self._request("GET", "/calibrations").content).items

    def withdraw(self, digest: str) -> None:
        """Let workers have it no more. Again is no error."""
        self._request("DELETE", f"/calibrations/{digest}")

    def _request(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        return request_with_retries(self._http, method, path, json=body, policy=self._retries, sleep=self._sleep)
