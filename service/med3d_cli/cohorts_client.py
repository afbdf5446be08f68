"""The results API's cohorts, from the command line."""

import time
from collections.abc import Sequence
from typing import Any

import httpx

from med3d_cli.results_client import UPLOAD_TIMEOUT
from med3d_cli.study_stream import Upload
from med3d_contract.cohorts import CohortDraft, CohortView, MemberEntry, MembersAnswer, MembersRequest
from med3d_contract.problems import ApiUnavailable, RetryPolicy, Sleep, raise_for_problem, request_with_retries


class CohortsClient:
    """Raises ApiUnavailable, ApiError and Superseded as med3d_contract.problems says."""

    def __init__(
        self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=60.0, transport=transport
        )
        self._sleep = sleep
        self._retries = RetryPolicy()

    def create(self, draft: CohortDraft) -> CohortView:
        """Make a cohort; Superseded where there is one of this name."""
        return CohortView.model_validate_json(self._send("POST", "/cohorts", draft.model_dump(mode="json")).content)

    def read(self, cohort: str) -> CohortView:
        """One cohort, by id or name."""
        return CohortView.model_validate_json(self._send("GET", f"/cohorts/{cohort}").content)

    def all(self) -> list[CohortView]:
        """Every cohort, page by page."""
        found: list[CohortView] = []
        params: dict[str, Any] = {"limit": 100}
        while True:
            page = self._send("GET", "/cohorts", params=params).json()
            found += [CohortView.model_validate(item) for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            params["cursor"] = page["next_cursor"]

    def change(self, cohort: str, changed: dict[str, Any]) -> CohortView:
        """Change what ``changed`` names."""
        return CohortView.model_validate_json(self._send("PATCH", f"/cohorts/{cohort}", changed).content)

    def add(self, cohort: str, entries: Sequence[MemberEntry]) -> MembersAnswer:
        """Let studies join that are in the store. Idempotent."""
        body = MembersRequest(entries=tuple(entries)).model_dump(mode="json")
        return MembersAnswer.model_validate_json(self._send("POST", f"/cohorts/{cohort}/members", body).content)

    def send(self, cohort: str, upload: Upload) -> str:
        """Send a study into a cohort; its id. Not repeated on a fault; sending it again is harmless."""
        files = {"files": (upload.name, upload.content, "application/octet-stream")}
        try:
            response = self._http.post(f"/cohorts/{cohort}/studies", files=files, timeout=UPLOAD_TIMEOUT)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            raise ApiUnavailable(f"sending to {self._http.base_url} failed: {type(error).__name__}") from error
        raise_for_problem(response)
        return str(response.json()["study_id"])

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> httpx.Response:
        return request_with_retries(
            self._http, method, path, json=body, params=params, policy=self._retries, sleep=self._sleep
        )
