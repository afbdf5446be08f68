"""The results API as its users see it: submit a study, list and read runs, follow one."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from med3d_client.study_stream import Upload
from med3d_client.transport import ApiUnavailable, RetryPolicy, Sleep, raise_for_problem, request_with_retries
from med3d_contract.arrivals import ArrivalPage
from med3d_contract.explanations import Explanation
from med3d_contract.results import Priority, RunStatus, RunView, Sex

UPLOAD_TIMEOUT = httpx.Timeout(30.0, read=120.0)
# The API sends a comment every 15 s or sooner, so silence for a minute means that nobody is there.
EVENTS_TIMEOUT = httpx.Timeout(10.0, read=60.0)

RUN_ID_BEGINNING = re.compile(r"[0-9a-f-]{4,35}")


@dataclass(frozen=True)
class Submitted:
    """The answer to POST /studies. ``known`` is true where the same study had been sent before."""

    study_id: str
    run_id: str
    status: RunStatus
    known: bool


@dataclass(frozen=True)
class StudyOptions:
    """What the sender says of a study; None where nothing is said."""

    age_years: float | None = None
    sex: Sex | None = None
    subject: str | None = None
    priority: Priority | None = None
    bundle: str | None = None
    series: str | None = None

    def form(self) -> dict[str, str]:
        """Return the fields of the multipart form."""
        fields = {
            "age": None if self.age_years is None else str(self.age_years),
            "sex": self.sex and self.sex.value,
            "subject": self.subject,
            "priority": self.priority and self.priority.value,
            "bundle": self.bundle,
            "series": self.series,
        }
        return {name: value for name, value in fields.items() if value is not None}


class NoSuchRun(ApiUnavailable):
    """The beginning of an id names no run, or several."""


class ExplanationLate(ApiUnavailable):
    """No worker has made an explanation in time: none is there, or those there are carry another bundle."""


class ResultsClient:
    """Raises ApiUnavailable, ApiError and Conflict as med3d_client.transport says."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0, transport=transport
        )
        self._sleep = sleep
        self._retries = RetryPolicy()

    def submit(self, upload: Upload, options: StudyOptions) -> Submitted:
        """Send one study. Not repeated on a fault: the stream has been read. Sending it again is harmless."""
        files = {"files": (upload.name, upload.content, "application/octet-stream")}
        try:
            response = self._http.post("/studies", data=options.form(), files=files, timeout=UPLOAD_TIMEOUT)  # type: ignore[arg-type]
        except httpx.TransportError as error:
            raise ApiUnavailable(f"sending to {self._http.base_url} failed: {type(error).__name__}") from error
        raise_for_problem(response)
        body = response.json()
        return Submitted(body["study_id"], body["run_id"], RunStatus(body["status"]), known=response.status_code == 200)

    def run(self, run_id: str) -> RunView:
        """Return one run as it stands."""
        return RunView.model_validate_json(self._get(f"/runs/{run_id}").content)

    def whole_run_id(self, beginning: str) -> str:
        """Complete the beginning of a run's id. Raises NoSuchRun where none begins so, or several do."""
        if RUN_ID_BEGINNING.fullmatch(beginning) is None:
            return beginning  # whole, or none: the API says so
        found = [item["run_id"] for item in self._get("/runs", {"id_begins": beginning, "limit": 2}).json()["items"]]
        if len(found) != 1:
            many = "no run's id begins" if not found else "the ids of several runs begin"
            raise NoSuchRun(f"{many} with {beginning}; `med3d runs` lists them")
        return str(found[0])

    def arrivals(self, limit: int = 50) -> ArrivalPage:
        """Return what came in or was announced lately, and who was turned away."""
        return ArrivalPage.model_validate_json(self._get("/arrivals", {"limit": limit}).content)

    def explanation(self, run_id: str, patience_s: float = 60.0) -> Explanation:
        """Return what adds years to a run's brain age. Raises ExplanationLate where no worker has made it in time."""
        return Explanation.model_validate_json(self._when_made(f"/runs/{run_id}/explanation", patience_s).content)

    def explanation_picture(self, run_id: str, patience_s: float = 60.0) -> bytes:
        """Return the PNG of a run's explanation, which takes the clinical grant. Raises ExplanationLate."""
        return self._when_made(f"/runs/{run_id}/explanation/picture", patience_s).content

    def _when_made(self, path: str, patience_s: float) -> httpx.Response:
        waited_s = 0.0
        while (answer := self._get(path)).status_code == httpx.codes.ACCEPTED:
            if waited_s >= patience_s:
                raise ExplanationLate(f"no worker has made the explanation in {patience_s:.0f} s: ask again later")
            pause_s = float(answer.headers.get("Retry-After", "1"))
            self._sleep(pause_s)
            waited_s += pause_s
        return answer

    def sign_in_link(self, to: str = "") -> str:
        """Return a new address that signs one browser in with this client's key, once, and leads on ``to`` a page."""
        try:
            response = self._http.post("/sign-in-links")
        except httpx.TransportError as error:
            raise ApiUnavailable(f"{self._http.base_url} does not answer: {type(error).__name__}") from error
        raise_for_problem(response)
        address = self._http.base_url.join(response.json()["path"])
        return str(address.copy_merge_params({"to": to}) if to else address)

    def requeue(self, run_id: str) -> RunView:
        """Return the new run in place of one that failed.

        Not repeated on a fault: the second call would find it done.
        """
        try:
            response = self._http.post(f"/runs/{run_id}/requeue")
        except httpx.TransportError as error:
            raise ApiUnavailable(f"{self._http.base_url} does not answer: {type(error).__name__}") from error
        raise_for_problem(response)
        return RunView.model_validate_json(response.content)

    def runs(self, *, status: RunStatus | None = None, limit: int = 20) -> list[RunView]:
        """Return the newest runs, up to ``limit``, page by page."""
        found: list[RunView] = []
        cursor: str | None = None
        while len(found) < limit:
            params = {"limit": min(100, limit - len(found)), "status": status and status.value, "cursor": cursor}
            given = {name: value for name, value in params.items() if value is not None}
            page = self._get("/runs", given).json()
            found += [RunView.model_validate(item) for item in page["items"]]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found

    def follow(self, run_id: str) -> Iterator[dict[str, Any]]:
        """Return the run's events as they come (GET /runs/{id}/events, SSE) until it is over.

        Reconnects where it breaks.
        """
        last_id: str | None = None
        for failures in range(1, self._retries.attempts + 1):
            try:
                for event in self._events(run_id, last_id):
                    last_id = event.get("id", last_id)
                    yield event
            except httpx.TransportError:
                self._sleep(self._retries.backoff.jittered_s(failures))
            if self.run(run_id).status.is_terminal:
                return
        raise ApiUnavailable(f"the events of run {run_id} broke off {self._retries.attempts} times")

    def _events(self, run_id: str, last_id: str | None) -> Iterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        path = f"/runs/{run_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=EVENTS_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise_for_problem(response)
            yield from server_sent_events(response.iter_lines())

    def _get(self, path: str, params: dict[str, Any] | None = None) -> httpx.Response:
        return request_with_retries(self._http, "GET", path, params=params, policy=self._retries, sleep=self._sleep)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def server_sent_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Return events of a text/event-stream (WHATWG HTML 9.2): keys ``event``, ``id`` and ``data`` (decoded JSON)."""
    event: dict[str, Any] = {}
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield {"event": "message"} | event | {"data": json.loads("\n".join(data))}
            event, data = {}, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field in {"event", "id"}:
            event[field] = value
