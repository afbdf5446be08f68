"""The results API's cohorts, from the command line."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import httpx

from med3d_client.results import EVENTS_TIMEOUT, UPLOAD_TIMEOUT, server_sent_events
from med3d_client.study_stream import Upload
from med3d_client.transport import ApiUnavailable, RetryPolicy, Sleep, raise_for_problem, request_with_retries
from med3d_contract.cohorts import (
    CohortDraft,
    CohortProgress,
    CohortView,
    MemberEntry,
    MembersAnswer,
    MembersRequest,
    ReprocessingRequest,
    ReprocessingStatus,
    ReprocessingView,
)

REPORT_TIMEOUT = httpx.Timeout(30.0, read=300.0)
UNDER_WAY = (ReprocessingStatus.RUNNING, ReprocessingStatus.WAITING, ReprocessingStatus.PAUSED)


class CohortsClient:
    """Raises ApiUnavailable, ApiError and Conflict as med3d_client.transport says."""

    def __init__(
        self, base_url: str, key: str, *, transport: httpx.BaseTransport | None = None, sleep: Sleep = time.sleep
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=60.0, transport=transport
        )
        self._sleep = sleep
        self._retries = RetryPolicy()

    def create(self, draft: CohortDraft) -> CohortView:
        """Make a cohort; Conflict where there is one of this name."""
        return CohortView.model_validate_json(self._send("POST", "/cohorts", draft.model_dump(mode="json")).content)

    def read(self, cohort: str) -> CohortView:
        """Return one cohort, by id or name."""
        return CohortView.model_validate_json(self._send("GET", f"/cohorts/{cohort}").content)

    def all(self) -> list[CohortView]:
        """Return every cohort, page by page."""
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

    def reprocess(self, cohort: str, wanted: ReprocessingRequest) -> ReprocessingView:
        """Work a cohort through; Conflict where it is being worked through already."""
        answer = self._send("POST", f"/cohorts/{cohort}/reprocess", wanted.model_dump(mode="json"))
        return ReprocessingView.model_validate_json(answer.content)

    def move(self, cohort: str, move: Literal["pause", "resume", "cancel"]) -> ReprocessingView:
        """Pause, resume or cancel what is under way; Conflict where nothing is."""
        return ReprocessingView.model_validate_json(self._send("POST", f"/cohorts/{cohort}/{move}").content)

    def progress(self, cohort: str, bundle: str | None = None) -> CohortProgress:
        """Tell how far a cohort is."""
        params = None if bundle is None else {"bundle": bundle}
        return CohortProgress.model_validate_json(
            self._send("GET", f"/cohorts/{cohort}/progress", params=params).content
        )

    def follow(self, cohort: str, bundle: str | None = None) -> Iterator[CohortProgress]:
        """Return the progress each time that it has changed, until it is over.

        Asks again where the stream breaks off.
        """
        for failures in range(1, self._retries.attempts + 1):
            try:
                for event in self._events(cohort, bundle):
                    progress = CohortProgress.model_validate(event["data"])
                    yield progress
                    if progress.status not in UNDER_WAY:
                        return
            except httpx.TransportError:
                self._sleep(self._retries.backoff.jittered_s(failures))
        raise ApiUnavailable(f"the progress of {cohort} broke off {self._retries.attempts} times")

    def _events(self, cohort: str, bundle: str | None) -> Iterator[dict[str, Any]]:
        params = {} if bundle is None else {"bundle": bundle}
        path, headers = f"/cohorts/{cohort}/events", {"Accept": "text/event-stream"}
        with self._http.stream("GET", path, params=params, headers=headers, timeout=EVENTS_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise_for_problem(response)
            yield from server_sent_events(response.iter_lines())

    def table(self, path: str, params: dict[str, Any]) -> Iterator[bytes]:
        """Return a table, page or picture, in pieces as it comes; nothing is yielded of an error."""
        with self._http.stream("GET", path, params=params, timeout=REPORT_TIMEOUT) as response:
            if not response.is_success:
                response.read()
            raise_for_problem(response)
            yield from response.iter_bytes()

    def diff(self, cohort: str, params: dict[str, str]) -> dict[str, Any]:
        """Return what one bundle says otherwise than another."""
        answer = self._send("GET", f"/cohorts/{cohort}/diff", params=params)
        found: dict[str, Any] = answer.json()
        return found

    def summary(self, cohort: str, params: dict[str, str]) -> dict[str, Any]:
        """Return what one bundle says."""
        found: dict[str, Any] = self._send("GET", f"/cohorts/{cohort}/summary", params=params).json()
        return found

    def subject(self, participant_id: str) -> str:
        """Return the id of whom the sender calls ``participant_id``."""
        return str(self._send("GET", "/subjects", params={"participant_id": participant_id}).json()["subject_id"])

    def trajectory(self, subject_id: str, params: dict[str, str]) -> dict[str, Any]:
        """Return a subject over time."""
        found: dict[str, Any] = self._send("GET", f"/subjects/{subject_id}/trajectory", params=params).json()
        return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> httpx.Response:
        return request_with_retries(
            self._http, method, path, json=body, params=params, policy=self._retries, sleep=self._sleep
        )
