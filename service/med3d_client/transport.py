"""How the HTTP clients speak to the results API: what can go wrong, and how often it is tried again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from med3d_contract.backoff import Backoff

Sleep = Callable[[float], None]


class ApiError(Exception):
    """The results API answered with an error (RFC 9457 problem+json where it came from the service itself).

    ``remedy`` says what to do; empty where the answer came from something in between.
    """

    def __init__(self, status: int, code: str, detail: str, remedy: str = "") -> None:
        super().__init__(" ".join(filter(None, (detail, remedy, f"({code}, HTTP {status})"))))
        self.status = status
        self.code = code
        self.detail = detail
        self.remedy = remedy


class ApiUnavailable(Exception):  # noqa: N818 - a state of the other side, read as such where it is caught
    """The results API could not be reached, or answered 5xx each time that it was asked."""


class Conflict(ApiError):  # noqa: N818 - the caller's word for it, as HTTP's
    """HTTP 409: what was asked for does not go with what is there, such as a second cohort of one name."""


BETWEEN_REQUESTS = Backoff(first_s=0.25, longest_s=4.0)


@dataclass(frozen=True)
class RetryPolicy:
    """At most ``attempts`` requests, with jittered pauses between them."""

    attempts: int = 4
    backoff: Backoff = BETWEEN_REQUESTS


def request_with_retries(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    json: Any = None,
    content: str | None = None,
    params: dict[str, Any] | None = None,
    policy: RetryPolicy,
    sleep: Sleep = time.sleep,
) -> httpx.Response:
    """Return the answer to one request that may safely be repeated; its body is ``json``, or ``content`` as it is.

    Connection errors, timeouts, 429 and 5xx are tried again. Raises ApiUnavailable when the tries are used up,
    Conflict on 409 and ApiError on any other 4xx.
    """
    fault = "no answer"
    for failures in range(policy.attempts):
        if failures:
            sleep(policy.backoff.jittered_s(failures))
        try:
            response = client.request(method, path, json=json, content=content, params=params)
        except httpx.TransportError as error:
            fault = type(error).__name__
            continue
        if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR and response.status_code != _BUSY:
            raise_for_problem(response)
            return response
        fault = f"HTTP {response.status_code}"
    raise ApiUnavailable(f"the results API at {client.base_url} did not answer: {fault}, {policy.attempts} tries")


_BUSY = HTTPStatus.TOO_MANY_REQUESTS


def raise_for_problem(response: httpx.Response) -> None:
    """Raise Conflict or ApiError where ``response`` is an error; its body must have been read."""
    if response.is_success:
        return
    kind = Conflict if response.status_code == HTTPStatus.CONFLICT else ApiError
    raise kind(response.status_code, *_problem(response))


def _problem(response: httpx.Response) -> tuple[str, str, str]:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    status = HTTPStatus(response.status_code)
    code = problem.get("code") or status.name.lower()
    detail = problem.get("detail") or problem.get("title") or status.phrase
    return str(code), str(detail), str(problem.get("remedy") or "")
